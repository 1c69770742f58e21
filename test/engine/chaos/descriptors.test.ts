/** Few file descriptors: every failure is reported, and with more descriptors the next run is like a clean run. */
import { test } from 'vitest';
import { expectErrorsWithDescriptors } from './descriptors.ts';

// More limits: test/optional/chaos/descriptors.test.ts.
test.skipIf(process.platform === 'win32')('too few for its cells: an error, without delay', () => expectErrorsWithDescriptors([40]));
