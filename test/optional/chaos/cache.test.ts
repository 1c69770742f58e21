/** Kills of processes that publish results into a cache. */
import { test } from 'vitest';
import { expectWholeAfterKills } from '../../cache/kills.ts';
import { compileEngine } from '../../cache/rig.ts';

const engine = await compileEngine();

test('killed at any instant, 15 times: every result is complete, no partial files are visible or left behind', () =>
  expectWholeAfterKills(engine, 15));
