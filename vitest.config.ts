import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The projects in the order in which their files start; one after the other, because a process serves the files of one project. */
const PROJECTS = ['processes', 'alone', 'models', 'quick'];

/** Folders and files that take long, in the order in which they start: the last ones to run are short, so that no core waits. */
const LONG = [
  'test/contract/same-answer',
  'test/contract/init',
  'test/contract/',
  'test/engine/chaos/',
  'test/steps/serving/',
  'test/steps/train/',
  'test/engine/run/',
  'test/steps/tokenize/',
  'test/steps/split/',
  'test/steps/ml/models/families',
  'test/steps/ml/tasks/token-prefix',
  'test/steps/ml/runtime/training',
  'test/steps/ml/models/generating',
  'test/steps/ml/generation/golden',
];

class LongOnesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification) => {
      const found = LONG.findIndex((start) => relative(project.config.root, moduleId).startsWith(start));
      return PROJECTS.indexOf(project.name) * 100 + (found === -1 ? LONG.length : found);
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

/**
 * Tests of the cache, of what it downloads and of the engine: each file has its own process, because they replace modules, set the
 * environment or end what they started. The other files that start the command share processes too.
 */
const ALONE = [
  'test/cache/*.test.ts',
  'test/engine/{chaos,fetch,run}/*.test.ts',
  'test/engine/pipeline/{expressions,pipeline-cache}.test.ts',
];

const exclude = ['test/optional/**', '**/node_modules/**', 'test/fixtures/**'];

export default defineConfig({
  test: {
    globalSetup: 'test/build.ts',
    // Three for each of the two cores that this is made for, because a test often waits for a process that it started. The cores were
    // busy for 72% of the time with three workers, 79% with four, and 98% with six.
    maxWorkers: 6,
    sequence: { sequencer: LongOnesFirst },
    // Without `extends`, because a project's own `maxWorkers` would take precedence over `--maxWorkers`.
    projects: [
      { test: { name: 'quick', isolate: false, include: QUICK, exclude, ...timeout(30_000) } },
      { test: { name: 'models', isolate: false, include: MODELS, exclude, ...timeout(120_000) } },
      // They start the command, kill it and train for real: a machine that is busy or slow is no failure.
      { test: { name: 'alone', include: ALONE, exclude, ...timeout(120_000) } },
      {
        test: {
          name: 'processes',
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: [...exclude, ...QUICK, ...MODELS, ...ALONE],
          ...timeout(120_000),
        },
      },
    ],
  },
});

function timeout(ms: number) {
  return { testTimeout: ms, hookTimeout: 3 * ms };
}
