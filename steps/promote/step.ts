import { aliasesOf, declareStep } from '../../engine/contract/step.ts';

export default declareStep({
  name: 'promote',
  version: 1,
  description: 'Makes a bundle the deployed one: moves a pointer to it, as the command `promote` does.',
  options: {
    pointer: {
      type: 'string',
      minLength: 1,
      description: 'The path of the pointer, relative to the pipeline. The first promotion creates it.',
    },
  },
  aliases: aliasesOf({ pointer: 'path to target production', bundle: 'model', expect: 'previous deployed' }),
  inputs: {
    bundle: { kind: 'folder', description: 'The bundle, from a deploy step.' },
    expect: {
      kind: 'file',
      optional: true,
      description:
        'The output `promotion` of a deployed step. The step fails if the pointer has been moved since then, because the model was compared with another one.',
    },
  },
  outputs: { receipt: { kind: 'file', description: 'The promotion and the one before it, as JSON.' } },
  outside: 'a pointer',
});
