import { relative } from 'node:path';
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

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/optional/**', '**/node_modules/**', 'test/fixtures/**'],
    globalSetup: 'test/build.ts',
    // The rig starts real processes, and training is done for real: a busy machine is no failure.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // One more than the two cores that this is made for: a test often waits for what it started.
    maxWorkers: 3,
    sequence: { sequencer: LongOnesFirst },
  },
});
