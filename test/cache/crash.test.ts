import { test } from 'vitest';
import { expectWholeAfterKills } from './kills.ts';
import { compileEngine } from './rig.ts';

const engine = await compileEngine();

// More often: test/optional/chaos/cache.test.ts.
test('killed at any instant, 6 times: every result is complete, no partial files are visible or left behind', () =>
  expectWholeAfterKills(engine, 6));
