/** Wrong clocks, of the machine and of file timestamps. Freshness depends only on content. */
import { test } from 'vitest';
import { expectClockWithoutEffect, expectTimestampsWithoutEffect, YEAR } from '../../engine/chaos/clock.ts';

test.each([
  ['a year ahead', YEAR, 0],
  ['set back in the middle of a run', -YEAR, 300],
  ['set forward in the middle of a run', YEAR, 300],
])('the clock is %s: a change runs, fresh cells stay fresh, an edit is detected', (_, hours, after) =>
  expectClockWithoutEffect(hours, after),
);

test('timestamps in the future, all equal: only the content counts', () => expectTimestampsWithoutEffect([Date.now() / 1000 + 1e8, 4e9]));
