import { aliasesOf, declareStep } from '../../engine/contract/step.ts';
import { modelAhead, modelProblems } from './model-checks.ts';
import { type BehaviorTest, checkOptions, NO_TEXTS, optionSchemas, readsData } from './options.ts';

export default declareStep({
  name: 'behavior',
  version: 2,
  description:
    'Tests the behaviour of a model as CheckList does: minimum functionality, invariance and direction, with templates and changed texts.',
  options: optionSchemas,
  optional: ['split', 'max_failures'],
  aliases: aliasesOf({
    tests: 'test suite checks',
    lexicons: 'lexicon',
    max_failures: 'max_failure_rate threshold thresholds',
    rows: 'n nsamples samples limit',
    seed: 'random_state random_seed',
    data: 'dataset table',
    model: 'bundle checkpoint',
  }),
  inputs: {
    model: { kind: 'folder', description: 'A trained model, or a bundle.' },
    data: {
      kind: 'folder',
      optional: true,
      description: 'The texts for tests with `change` or `add` that have no texts of their own. It needs the columns of the training.',
    },
  },
  outputs: {
    report: { kind: 'file', description: 'The failures of each test with the worst examples, as JSON.' },
    cases: { kind: 'folder', description: 'A table of all cases: the texts before and after the change, the answers, and `failed`.' },
  },
  libraries: ['onnxruntime-node', 'tokenizers', '@duckdb/node-api'],
  threads: 'all',
  check: (options) => checkOptions(options as Parameters<typeof checkOptions>[0]),
  foresee: {
    reads: ['model.tokens'],
    check(options, { model = [] }, paths) {
      const tests = options.tests as Record<string, BehaviorTest>;
      const about = modelAhead(model[0], paths.model?.[0]);
      const problems = about ? modelProblems(tests, about) : [];
      for (const [name, test] of Object.entries(tests))
        if (paths.data === undefined && readsData(test)) problems.push({ option: `tests.${name}`, ...NO_TEXTS });
      return problems;
    },
  },
});
