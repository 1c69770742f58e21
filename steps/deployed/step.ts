import { aliasesOf, declareStep } from '../../engine/contract/step.ts';

export default declareStep({
  name: 'deployed',
  version: 1,
  description: 'Copies the bundle that a pointer of `promote` names. The step runs again only if `data` change, not after a promotion.',
  options: {
    pointer: {
      type: 'string',
      minLength: 1,
      description:
        'The path of the pointer, relative to the pipeline. Only the path is part of the fingerprint, not the bundle that it names.',
    },
  },
  aliases: aliasesOf({ pointer: 'path name production', data: 'new_data lot', initial: 'default fallback model otherwise' }),
  inputs: {
    data: {
      kind: 'any',
      many: true,
      description: 'The new data. As long as they are the same, the bundle stays the one that was deployed when they came.',
    },
    initial: {
      kind: 'folder',
      optional: true,
      description: 'The model to take if nothing has been promoted yet. Without it, the step then fails.',
    },
  },
  outputs: {
    model: { kind: 'folder', description: 'A copy of the bundle.' },
    promotion: {
      kind: 'file',
      description: 'The hash of the bundle, and the number and time of its promotion, as JSON. `expect` of promote reads it.',
    },
  },
  reusableProcess: true,
  outside: 'a pointer',
});
