/** Engines that are killed: the next run is immediately like a clean run. (More instants, random ones, and steps: test/optional/chaos.) */
import { test } from 'vitest';
import { KILLS, killedAt } from './instants.ts';

// More instants: test/optional/chaos.test.ts.
test.each(KILLS)('%s, at some instants of a run that %s what replaces other outputs', (what, how) => killedAt(what, how, 12));
