/**
 * Rows into batches of like lengths: little padding, and few shapes, since each shape is compiled once.
 */
import type { HostTensors } from '../runtime/runtime.ts';
import { random, shuffle } from './random.ts';
import type { Split } from './tokens.ts';

export interface Batch {
  /** Indices into the split. */
  rows: Int32Array;
  /** Tokens of each row, padding included. */
  length: number;
}

/** The batches of an epoch in their order: a pure function of (seed, epoch). Every row comes once. */
export function trainingBatches(split: Split, size: number, { seed, epoch }: { seed: number; epoch: number }): Batch[] {
  const lengths = bucketLengths(split);
  const uniform = random('batches', seed, epoch);
  const order = shuffle(range(split.labels.length), uniform);
  // The rows left over are a batch of their own, of the greatest length: so there is but one shape of that size.
  const whole = order.length - (order.length % size);
  const batches: Batch[] = whole < order.length ? [{ rows: order.subarray(whole), length: lengths.at(-1)! }] : [];
  // Sorted within pools of many batches, not as a whole: else the same rows would always meet.
  for (let from = 0; from < whole; from += POOL * size) {
    const pool = byLength(split, order.subarray(from, Math.min(whole, from + POOL * size)));
    for (let i = 0; i < pool.length; i += size) batches.push(batchOf(split, pool.subarray(i, i + size), lengths));
  }
  return shuffle(batches, uniform);
}

/** Longest first, so that a lack of memory shows at once. */
export function evaluationBatches(split: Split, size: number): Batch[] {
  const lengths = bucketLengths(split);
  const order = byLength(split, range(split.labels.length));
  const batches: Batch[] = [];
  for (let i = 0; i < order.length; i += size) batches.push(batchOf(split, order.subarray(i, i + size), lengths));
  return batches;
}

/** `input_ids` and `attention_mask` [rows, length], `labels` [rows]. */
export function inputsOf(split: Split, { rows, length }: Batch, padding: number): HostTensors {
  const ids = new Int32Array(rows.length * length).fill(padding);
  const mask = new Int32Array(rows.length * length);
  for (const [i, row] of rows.entries()) {
    ids.set(split.inputIds.subarray(split.offsets[row]!, split.offsets[row + 1]!), i * length);
    mask.fill(1, i * length, i * length + lengthOf(split, row));
  }
  const shape = [rows.length, length];
  return {
    input_ids: { dtype: 'int32', shape, data: ids },
    attention_mask: { dtype: 'int32', shape, data: mask },
    labels: { dtype: 'int32', shape: [rows.length], data: Int32Array.from(rows, (row) => split.labels[row]!) },
  };
}

/** Tokens of a batch that are not padding. */
export const realTokens = (split: Split, { rows }: Batch): number => rows.reduce((sum, row) => sum + lengthOf(split, row), 0);

/** Shapes that are compiled for full batches. */
const LENGTHS = 8;

/** Batches in a pool. */
const POOL = 50;

const range = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);

const lengthOf = (split: Split, row: number): number => split.offsets[row + 1]! - split.offsets[row]!;

/** A stable sort, longest first. */
const byLength = (split: Split, rows: Int32Array): Int32Array =>
  Int32Array.from([...rows].sort((a, b) => lengthOf(split, b) - lengthOf(split, a)));

function batchOf(split: Split, rows: Int32Array, lengths: number[]): Batch {
  const longest = rows.reduce((most, row) => Math.max(most, lengthOf(split, row)), 0);
  return { rows, length: lengths.find((length) => length >= longest)! };
}

/**
 * The lengths that batches may have, at most eight, the last that of the longest row: those with which the rows, each
 * padded to the next of them, have the fewest tokens. Found by dynamic programming over the number of lengths.
 */
function bucketLengths(split: Split): number[] {
  const rows = range(split.labels.length);
  const longest = rows.reduce((most, row) => Math.max(most, lengthOf(split, row)), 1);
  const unit = Math.ceil(longest / 256); // so that long rows do not make many candidates
  const ends = Math.ceil(longest / unit);
  const upTo: number[] = new Array(ends + 1).fill(0); // rows of so many units at most
  const longestUpTo: number[] = new Array(ends + 1).fill(0);
  for (const row of rows) {
    const end = Math.ceil(lengthOf(split, row) / unit);
    upTo[end]!++;
    longestUpTo[end] = Math.max(longestUpTo[end]!, lengthOf(split, row));
  }
  for (let end = 1; end <= ends; end++) {
    upTo[end]! += upTo[end - 1]!;
    longestUpTo[end] ||= longestUpTo[end - 1]!;
  }

  // plans[end]: the best lengths, `end` the last of them, for the rows up to it.
  let plans = upTo.map((count, end) => ({ places: count * end, lengths: [end] }));
  for (let n = 1; n < LENGTHS; n++) {
    plans = plans.map((plan, end) => {
      let [places, last] = [plan.places, 0];
      for (let start = 1; start < end; start++) {
        const sum = plans[start]!.places + (upTo[end]! - upTo[start]!) * end;
        if (sum < places) [places, last] = [sum, start];
      }
      return last === 0 ? plan : { places, lengths: [...plans[last]!.lengths, end] };
    });
  }
  return plans.at(-1)!.lengths.map((end) => longestUpTo[end]!);
}
