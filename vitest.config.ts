import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Folders whose files take long come first: the last ones to run are short, so that no core waits for a long one at the end. */
const LONG = [
  'test/contract/',
  'test/engine/chaos/',
  'test/steps/serving/',
  'test/steps/train/',
  'test/engine/run/',
  'test/steps/tokenize/',
];

class LongOnesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification) => {
      const found = LONG.findIndex((folder) => relative(project.config.root, moduleId).startsWith(folder));
      return found === -1 ? LONG.length : found;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

// The tests' processes keep compiled code where the command keeps its own, because most of them load the same libraries.
process.env.NODE_COMPILE_CACHE ??= join(tmpdir(), 'node-compile-cache');

/** Unit tests whose files leave nothing behind in their process: many files share one, which loads the libraries once. */
const QUICK = [
  'test/steps/{baseline,clean,collect,preview,select}/*.test.ts',
  'test/steps/ml/*.test.ts',
  'test/steps/ml/{data,metrics}/*.test.ts',
];
/** The same, with models that compute and learn. */
const MODELS = ['test/steps/ml/{device,generation,models,runtime,tasks}/*.test.ts'];

const exclude = ['test/optional/**', '**/node_modules/**', 'test/fixtures/**'];

export default defineConfig({
  test: {
    globalSetup: 'test/build.ts',
    // One more than the two cores that this is made for: a test often waits for what it started.
    maxWorkers: 3,
    sequence: { sequencer: LongOnesFirst },
    // Without `extends`, because a project's own `maxWorkers` would take precedence over `--maxWorkers`.
    projects: [
      { test: { name: 'quick', isolate: false, include: QUICK, exclude, ...timeout(30_000) } },
      { test: { name: 'models', isolate: false, include: MODELS, exclude, ...timeout(120_000) } },
      // They start the command, kill it and train for real: a machine that is busy or slow is no failure.
      {
        test: { name: 'processes', include: ['test/**/*.test.ts'], exclude: [...exclude, ...QUICK, ...MODELS], ...timeout(120_000) },
      },
    ],
  },
});

function timeout(ms: number) {
  return { testTimeout: ms, hookTimeout: 3 * ms };
}
