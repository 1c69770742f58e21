/**
 * The groups that need more than `npm ci` gives: a registry, Python, a long time. A group is a file, a folder, or both.
 * `.ci/run` says when each runs.
 */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/optional/**/*.test.ts'],
    globalSetup: 'test/build.ts',
    testTimeout: 2_400_000,
    hookTimeout: 2_400_000,
    fileParallelism: false,
  },
});
