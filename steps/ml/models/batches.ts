/** Groups sequences of similar lengths into batches, for little padding. */

import { type HostTensors, IGNORE_INDEX } from '../runtime/runtime.ts';
import { random, shuffle } from './random.ts';
import type { Split, TokensInfo } from './token-dataset.ts';

/** The lengths of all sequences. */
export type Lengths = Pick<Split, 'sequences' | 'length'>;

export interface Batch {
  /** Indices into the split. */
  sequences: Int32Array;
  /** Tokens of each sequence, padding included. */
  length: number;
  /** Tokens of each target; 0 if there are none. */
  targetLength: number;
}

interface Drawing {
  seed: number;
  epoch: number;
  /** The class of each sequence, for balanced sampling: rare classes then repeat. Without it, each sequence occurs once. */
  classes?: Int32Array | undefined;
}

/** The batches of an epoch in their order: a pure function of (seed, epoch). */
export function trainingBatches(split: Lengths, size: number, { seed, epoch, classes }: Drawing): Batch[] {
  const uniform = random('batches', seed, epoch);
  const order = classes ? balanced(classes, uniform) : shuffle(range(split.sequences), uniform);
  const whole = order.length - (order.length % size);
  const batches: Batch[] = whole < order.length ? [batchOf(split, order.subarray(whole))] : [];
  // Sorted within pools of many batches, not as a whole: otherwise the same sequences would always meet.
  for (let from = 0; from < whole; from += POOL * size) {
    const pool = byLength(split, order.subarray(from, Math.min(whole, from + POOL * size)));
    batches.push(...chunks(split, pool, size));
  }
  return shuffle(batches, uniform);
}

/** Divides a batch into parts of at most `size` sequences. `alike`: all are padded like the batch, for a loss that depends on padding. */
export function partsOf(split: Lengths, { sequences, length }: Batch, size: number, alike = false): Batch[] {
  const parts = chunks(split, byLength(split, sequences), size);
  return alike ? parts.map((part) => ({ ...part, length })) : parts;
}

/**
 * The batches of an evaluation in pools: all of a pool come before any of the next, so that putting results into the
 * order of the split needs only one pool in memory. The longest come first in a pool, so that a lack of memory shows
 * at once.
 */
export function evaluationBatches(split: Lengths, size: number): Batch[][] {
  const pools: Batch[][] = [];
  for (let from = 0; from < split.sequences; from += POOL * size) {
    const pool = range(Math.min(POOL * size, split.sequences - from)).map((i) => from + i);
    pools.push(chunks(split, byLength(split, pool), size));
  }
  return pools;
}

/** The inputs of the program: int32 `input_ids` and `attention_mask` [B, length], and those of the other inputs that the tokens have. */
export function inputsOf(split: Split, { sequences, length, targetLength }: Batch, { columns, pad_token_id }: TokensInfo): HostTensors {
  const mask = new Int32Array(sequences.length * length);
  for (const [i, sequence] of sequences.entries()) mask.fill(1, i * length, i * length + split.length(sequence));
  const inputs: HostTensors = { attention_mask: { dtype: 'int32', shape: [sequences.length, length], data: mask } };
  for (const name of PROGRAM_INPUTS) {
    const column = columns[name];
    if (!column) continue;
    if (column.per !== 'sequence') {
      const width = column.per === 'token' ? length : targetLength;
      const data = new Int32Array(sequences.length * width).fill({ input_ids: pad_token_id, labels: IGNORE_INDEX }[name as string] ?? 0);
      for (const [i, sequence] of sequences.entries()) split.read(name, sequence, data, i * width);
      inputs[name] = { dtype: 'int32', shape: [sequences.length, width], data };
    } else {
      const { dtype, width } = column;
      const data = dtype === 'int32' ? new Int32Array(sequences.length * width) : new Float32Array(sequences.length * width);
      for (const [i, sequence] of sequences.entries()) data.set(split.values(name, sequence)!, i * width);
      inputs[name] = { dtype, shape: dtype === 'int32' && width === 1 ? [sequences.length] : [sequences.length, width], data };
    }
  }
  return inputs;
}

/** Tokens of a batch without padding, including those of targets. */
export const realTokens = (split: Split, { sequences }: Batch): number =>
  sequences.reduce((sum, sequence) => sum + split.length(sequence) + split.length(sequence, 'target'), 0);

/** The same with padding. */
export const computedTokens = ({ sequences, length, targetLength }: Batch): number => sequences.length * (length + targetLength);

/** A batch of `size` sequences as if the longest sequence and the longest target of the split met. */
export function largestBatch(split: Lengths, size: number): Batch {
  const longest = (kind: 'token' | 'target') =>
    range(split.sequences).reduce((most, sequence) => (split.length(sequence, kind) > split.length(most, kind) ? sequence : most), 0);
  const [sequence, target] = [longest('token'), longest('target')];
  return {
    sequences: new Int32Array(Math.min(size, split.sequences)).fill(sequence),
    length: split.length(sequence),
    targetLength: split.length(target, 'target'),
  };
}

/** The other inputs are only for evaluation. */
const PROGRAM_INPUTS = ['input_ids', 'token_type_ids', 'labels', 'start_positions', 'end_positions'];

/** Batches in a pool. */
const POOL = 50;

/** As many draws as there are sequences, equally many of each class; none repeats before all of its class have been drawn. */
function balanced(classes: Int32Array, uniform: () => number): Int32Array {
  const members = new Map<number, number[]>();
  for (const [sequence, own] of classes.entries()) {
    const known = members.get(own);
    if (known) known.push(sequence);
    else members.set(own, [sequence]);
  }
  const order: number[] = [];
  for (const [i, own] of [...members.keys()].sort((a, b) => a - b).entries()) {
    const until = Math.floor(((i + 1) * classes.length) / members.size);
    while (order.length < until) order.push(...shuffle([...members.get(own)!], uniform).slice(0, until - order.length));
  }
  return shuffle(Int32Array.from(order), uniform);
}

const range = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);

/** A stable sort, longest first; among equals those with the longest targets. */
const byLength = (split: Lengths, sequences: Int32Array): Int32Array =>
  Int32Array.from(
    [...sequences].sort((a, b) => split.length(b) - split.length(a) || split.length(b, 'target') - split.length(a, 'target')),
  );

const chunks = (split: Lengths, sequences: Int32Array, size: number): Batch[] =>
  Array.from({ length: Math.ceil(sequences.length / size) }, (_, i) => batchOf(split, sequences.subarray(i * size, (i + 1) * size)));

/** As long as the longest of its sequences. */
const batchOf = (split: Lengths, sequences: Int32Array): Batch => ({
  sequences,
  length: sequences.reduce((most, sequence) => Math.max(most, split.length(sequence)), 1),
  targetLength: sequences.reduce((most, sequence) => Math.max(most, split.length(sequence, 'target')), 0),
});
