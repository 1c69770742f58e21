/** Wrong clocks: freshness depends only on content. (More of them: test/optional/chaos/clock.test.ts.) */
import { test } from 'vitest';
import { expectClockWithoutEffect, expectTimestampsWithoutEffect, YEAR } from './clock.ts';

test('the clock is a year behind: a change runs, fresh cells stay fresh, an edit is detected', () => expectClockWithoutEffect(-YEAR));

test('timestamps in the past, all equal: only the content counts', () => expectTimestampsWithoutEffect([0]));
