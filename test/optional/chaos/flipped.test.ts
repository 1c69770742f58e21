/** Bit flips in both databases. Set FLIPS=500 for a long test. */
import { test } from 'vitest';
import { expectFlipsDetected } from '../../engine/chaos/flips.ts';

const SEEDS = Number(process.env.FLIPS ?? 8);

test(`flipped bits, ${SEEDS} times in each database`, () => expectFlipsDetected(SEEDS), 3_600_000);
