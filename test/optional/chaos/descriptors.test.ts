/** Few file descriptors: every failure is reported, and with more descriptors the next run is like a clean run. */
import { test } from 'vitest';
import { expectErrorsWithDescriptors } from '../../engine/chaos/descriptors.ts';

test.skipIf(process.platform === 'win32')('from too few to load the engine to too few for its cells: an error, without delay', () =>
  expectErrorsWithDescriptors([24, 64]),
);
