/** Options of train in more combinations. */
import { test } from 'vitest';
import { sameWeights } from '../../steps/train/small-training.ts';

test('gradient checkpointing: the same weights bit for bit, with dropout', () => sameWeights());
