import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/optional/**', '**/node_modules/**', 'test/fixtures/**'],
    globalSetup: 'test/build.ts',
    // The rig starts real processes, and training is done for real: a busy machine is no failure.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    maxWorkers: 2,
  },
});
