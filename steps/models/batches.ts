/**
 * Sequences into batches of like lengths: little padding, and few shapes, since each shape is compiled once.
 */
import type { HostTensors } from '../runtime/runtime.ts';
import { random, shuffle } from './random.ts';
import type { Split, TokensInfo } from './tokens.ts';

export interface Batch {
  /** Indices into the split. */
  sequences: Int32Array;
  /** Tokens of each, padding included. */
  length: number;
}

/** The batches of an epoch in their order: a pure function of (seed, epoch). Every sequence comes once. */
export function trainingBatches(split: Split, size: number, { seed, epoch }: { seed: number; epoch: number }): Batch[] {
  const lengths = bucketLengths(split);
  const uniform = random('batches', seed, epoch);
  const order = shuffle(range(split.sequences), uniform);
  // The sequences left over are a batch of their own, of the greatest length: so there is but one shape of that size.
  const whole = order.length - (order.length % size);
  const batches: Batch[] = whole < order.length ? [{ sequences: order.subarray(whole), length: lengths.at(-1)! }] : [];
  // Sorted within pools of many batches, not as a whole: else the same sequences would always meet.
  for (let from = 0; from < whole; from += POOL * size) {
    const pool = byLength(split, order.subarray(from, Math.min(whole, from + POOL * size)));
    for (let i = 0; i < pool.length; i += size) batches.push(batchOf(split, pool.subarray(i, i + size), lengths));
  }
  return shuffle(batches, uniform);
}

/**
 * The batches of an evaluation in pools: all of a pool come before any of the next, so that results can be put into the
 * split's order with no more than a pool in memory. In a pool the longest are first: a lack of memory shows at once.
 */
export function evaluationBatches(split: Split, size: number): Batch[][] {
  const lengths = bucketLengths(split);
  const pools: Batch[][] = [];
  for (let from = 0; from < split.sequences; from += POOL * size) {
    const pool = byLength(
      split,
      range(Math.min(POOL * size, split.sequences - from)).map((i) => from + i),
    );
    const batches: Batch[] = [];
    for (let i = 0; i < pool.length; i += size) batches.push(batchOf(split, pool.subarray(i, i + size), lengths));
    pools.push(batches);
  }
  return pools;
}

/** What the program reads: int32 `input_ids` and `attention_mask` [B, length], and of the other inputs those that the tokens have. */
export function inputsOf(split: Split, { sequences, length }: Batch, { columns, pad_token_id }: TokensInfo): HostTensors {
  const mask = new Int32Array(sequences.length * length);
  for (const [i, sequence] of sequences.entries()) mask.fill(1, i * length, i * length + split.length(sequence));
  const inputs: HostTensors = { attention_mask: { dtype: 'int32', shape: [sequences.length, length], data: mask } };
  for (const name of PROGRAM_INPUTS) {
    const column = columns[name];
    if (!column) continue;
    if (column.per === 'token') {
      const data = new Int32Array(sequences.length * length).fill({ input_ids: pad_token_id, labels: -100 }[name as string] ?? 0);
      for (const [i, sequence] of sequences.entries()) split.read(name, sequence, data, i * length);
      inputs[name] = { dtype: 'int32', shape: [sequences.length, length], data };
    } else {
      const { dtype, width } = column;
      const data = dtype === 'int32' ? new Int32Array(sequences.length * width) : new Float32Array(sequences.length * width);
      for (const [i, sequence] of sequences.entries()) data.set(split.values(name, sequence)!, i * width);
      inputs[name] = { dtype, shape: dtype === 'int32' && width === 1 ? [sequences.length] : [sequences.length, width], data };
    }
  }
  return inputs;
}

/** Tokens of a batch that are not padding. */
export const realTokens = (split: Split, { sequences }: Batch): number =>
  sequences.reduce((sum, sequence) => sum + split.length(sequence), 0);

/** The others are for measuring only. */
const PROGRAM_INPUTS = ['input_ids', 'token_type_ids', 'labels', 'start_positions', 'end_positions'];

/** Shapes that are compiled for full batches. */
const LENGTHS = 8;

/** Batches in a pool. */
const POOL = 50;

const range = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);

/** A stable sort, longest first. */
const byLength = (split: Split, sequences: Int32Array): Int32Array =>
  Int32Array.from([...sequences].sort((a, b) => split.length(b) - split.length(a)));

function batchOf(split: Split, sequences: Int32Array, lengths: number[]): Batch {
  const longest = sequences.reduce((most, sequence) => Math.max(most, split.length(sequence)), 0);
  return { sequences, length: lengths.find((length) => length >= longest)! };
}

/**
 * The lengths that batches may have, at most eight, the last that of the longest sequence: those with which the sequences, each
 * padded to the next of them, have the fewest tokens. Found by dynamic programming over the number of lengths.
 */
function bucketLengths(split: Split): number[] {
  const sequences = range(split.sequences);
  const longest = sequences.reduce((most, sequence) => Math.max(most, split.length(sequence)), 1);
  const unit = Math.ceil(longest / 256); // so that long sequences do not make many candidates
  const ends = Math.ceil(longest / unit);
  const upTo: number[] = new Array(ends + 1).fill(0); // sequences of so many units at most
  const longestUpTo: number[] = new Array(ends + 1).fill(0);
  for (const sequence of sequences) {
    const end = Math.ceil(split.length(sequence) / unit);
    upTo[end]!++;
    longestUpTo[end] = Math.max(longestUpTo[end]!, split.length(sequence));
  }
  for (let end = 1; end <= ends; end++) {
    upTo[end]! += upTo[end - 1]!;
    longestUpTo[end] ||= longestUpTo[end - 1]!;
  }

  // plans[end]: the best lengths, `end` the last of them, for the sequences up to it.
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
