import { expect, test } from 'vitest';
import { type Batch, evaluationBatches, inputsOf, trainingBatches } from '../../../steps/models/batches.ts';
import { random } from '../../../steps/models/random.ts';
import type { Split } from '../../../steps/models/tokens.ts';

const uniform = random('lengths');
const lengths = Array.from({ length: 1003 }, () => 2 + Math.floor(127 * uniform() ** 2));
const offsets = Float64Array.from([0, ...lengths.map((_, i) => lengths.slice(0, i + 1).reduce((a, b) => a + b))]);
const split: Split = {
  ids: lengths.map(String),
  offsets,
  inputIds: Int32Array.from({ length: offsets.at(-1)! }, (_, i) => 1 + (i % 99)),
  labels: Int32Array.from(lengths, (n) => n % 3),
};
const rowsOf = (batches: Batch[]) => batches.flatMap(({ rows }) => [...rows]);
const every = lengths.map((_, i) => i);
const at = { seed: 3, epoch: 1 };

test('an epoch has every row once, in an order that seed and epoch alone decide', () => {
  const batches = trainingBatches(split, 16, at);
  expect(rowsOf(batches).toSorted((a, b) => a - b)).toEqual(every);
  expect(batches).toHaveLength(63);
  expect(trainingBatches(split, 16, at)).toEqual(batches);
  expect(rowsOf(trainingBatches(split, 16, { seed: 3, epoch: 2 }))).not.toEqual(rowsOf(batches));
  expect(rowsOf(trainingBatches(split, 16, { seed: 4, epoch: 1 }))).not.toEqual(rowsOf(batches));
});

test('batches are of like lengths and few shapes', () => {
  const batches = trainingBatches(split, 16, at);
  const shapes = new Set(batches.map(({ rows, length }) => `${rows.length}x${length}`));
  expect(shapes.size).toBeLessThanOrEqual(9);
  const places = batches.reduce((sum, { rows, length }) => sum + rows.length * length, 0);
  // Of batches at random, each padded to its longest row, more than half is padding.
  expect(1 - split.inputIds.length / places).toBeLessThan(0.2);
  for (const { rows, length } of batches) for (const row of rows) expect(lengths[row]).toBeLessThanOrEqual(length);
});

test('fewer rows than a batch', () => {
  const few: Split = {
    ids: ['a', 'b'],
    offsets: Float64Array.of(0, 3, 12),
    inputIds: new Int32Array(12).fill(5),
    labels: Int32Array.of(0, 1),
  };
  expect(trainingBatches(few, 16, at).map(({ rows, length }) => [rows.length, length])).toEqual([[2, 9]]);
  expect(evaluationBatches(few, 16).map(({ rows, length }) => [[...rows], length])).toEqual([[[1, 0], 9]]);
});

test('lengths are those that the rows have: none is padded where all are equal, and a few long ones cost little', () => {
  const of = (all: number[]): Split => ({
    ids: all.map(String),
    offsets: Float64Array.from([0, ...all.map((_, i) => all.slice(0, i + 1).reduce((a, b) => a + b))]),
    inputIds: new Int32Array(all.reduce((a, b) => a + b)),
    labels: new Int32Array(all.length),
  });
  const places = (s: Split) => evaluationBatches(s, 8).reduce((sum, { rows, length }) => sum + rows.length * length, 0);
  const equal = of(new Array(80).fill(9));
  expect(places(equal)).toBe(equal.inputIds.length);
  const tail = of([...new Array(792).fill(9), ...new Array(8).fill(3000)]);
  expect(places(tail)).toBe(tail.inputIds.length);
  expect(new Set(evaluationBatches(of(Array.from({ length: 800 }, (_, i) => 5 * i + 1)), 8).map(({ length }) => length)).size).toBe(8);
});

test('evaluation has every row once, the longest first', () => {
  const batches = evaluationBatches(split, 32);
  expect(rowsOf(batches).toSorted((a, b) => a - b)).toEqual(every);
  expect(batches.map(({ length }) => length)).toEqual(batches.map(({ length }) => length).toSorted((a, b) => b - a));
});

test('rows are padded behind, and the mask tells', () => {
  const two: Split = {
    ids: ['a', 'b'],
    offsets: Float64Array.of(0, 2, 5),
    inputIds: Int32Array.of(7, 8, 4, 5, 6),
    labels: Int32Array.of(1, 0),
  };
  const { input_ids, attention_mask, labels } = inputsOf(two, { rows: Int32Array.of(1, 0), length: 4 }, 9);
  expect([...input_ids!.data]).toEqual([4, 5, 6, 9, 7, 8, 9, 9]);
  expect([...attention_mask!.data]).toEqual([1, 1, 1, 0, 1, 1, 0, 0]);
  expect([...labels!.data]).toEqual([0, 1]);
  expect(input_ids!.shape).toEqual([2, 4]);
});
