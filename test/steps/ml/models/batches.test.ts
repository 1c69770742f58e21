import { expect, test } from 'vitest';
import { type Batch, evaluationBatches, inputsOf, partsOf, trainingBatches } from '../../../../steps/ml/models/batches.ts';
import { random } from '../../../../steps/ml/models/random.ts';
import { openSplit, type Split, SplitWriter, type TokensInfo } from '../../../../steps/ml/models/token-dataset.ts';
import { temporary } from '../../rig.ts';

const uniform = random('lengths');
const lengths = Array.from({ length: 1003 }, () => 2 + Math.floor(127 * uniform() ** 2));
const info = {
  pad_token_id: 9,
  columns: {
    input_ids: { per: 'token', dtype: 'int32', width: 1 },
    labels: { per: 'sequence', dtype: 'int32', width: 1 },
  },
} as unknown as TokensInfo;

/** A split of these sequences; the label of each is its length modulo 3. */
async function splitOf(sequences: number[][]): Promise<Split> {
  const folder = temporary();
  const writer = new SplitWriter(folder, 'train', info.columns);
  for (const [i, ids] of sequences.entries()) await writer.add({ id: String(i) }, [{ input_ids: ids, labels: [ids.length % 3] }], false);
  await writer.end();
  return openSplit(folder, { ...info, splits: { train: writer.info } }, 'train');
}

const ofLengths = (all: number[]) => splitOf(all.map((length) => new Array(length).fill(5)));
const sequencesOf = (batches: Batch[]) => batches.flatMap(({ sequences }) => [...sequences]);
const every = lengths.map((_, i) => i);
const at = { seed: 3, epoch: 1 };

test('an epoch contains every sequence once, in an order that depends only on seed and epoch', async () => {
  const split = await ofLengths(lengths);
  const batches = trainingBatches(split, 16, at);
  expect(sequencesOf(batches).toSorted((a, b) => a - b)).toEqual(every);
  expect(batches).toHaveLength(63);
  expect(trainingBatches(split, 16, at)).toEqual(batches);
  expect(sequencesOf(trainingBatches(split, 16, { seed: 3, epoch: 2 }))).not.toEqual(sequencesOf(batches));
  expect(sequencesOf(trainingBatches(split, 16, { seed: 4, epoch: 1 }))).not.toEqual(sequencesOf(batches));
});

test('batches have similar lengths, none longer than its longest sequence', async () => {
  const split = await ofLengths(lengths);
  const batches = trainingBatches(split, 16, at);
  const places = batches.reduce((sum, { sequences, length }) => sum + sequences.length * length, 0);
  // In random batches, each padded to its longest sequence, more than half would be padding.
  expect(1 - split.tokens / places).toBeLessThan(0.2);
  for (const { sequences, length } of batches) expect(Math.max(...[...sequences].map((sequence) => lengths[sequence]!))).toBe(length);
});

test('fewer sequences than a batch', async () => {
  const few = await ofLengths([3, 9]);
  expect(trainingBatches(few, 16, at).map(({ sequences, length }) => [sequences.length, length])).toEqual([[2, 9]]);
  expect(evaluationBatches(few, 16)).toEqual([[{ targetLength: 0, sequences: Int32Array.of(1, 0), length: 9 }]]);
});

test('the parts of a batch contain its sequences, each once', async () => {
  const split = await ofLengths(lengths);
  const [batch] = trainingBatches(split, 16, at);
  const parts = partsOf(split, batch!, 6);
  expect(parts.map(({ sequences }) => sequences.length)).toEqual([6, 6, 4]);
  expect(sequencesOf(parts).toSorted()).toEqual([...batch!.sequences].toSorted());
});

test('classes are equally frequent, and none of a class repeats before all of it have come', async () => {
  const split = await ofLengths(lengths);
  const classes = Int32Array.from(lengths, (_, i) => (i < 10 ? 0 : i < 100 ? 1 : 2));
  const drawn = sequencesOf(trainingBatches(split, 16, { ...at, classes }));
  expect(drawn).toHaveLength(1003);
  const often = (sequence: number) => drawn.filter((other) => other === sequence).length;
  const counts = [0, 1, 2].map((own) => drawn.filter((sequence) => classes[sequence] === own).length);
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  for (let sequence = 0; sequence < 10; sequence++) expect([33, 34]).toContain(often(sequence));
  for (let sequence = 100; sequence < 1003; sequence++) expect(often(sequence)).toBeLessThanOrEqual(1);
  expect(sequencesOf(trainingBatches(split, 16, { ...at, classes }))).toEqual(drawn);
});

test('evaluation has every sequence once, pool by pool, the longest first in each', async () => {
  const pools = evaluationBatches(await ofLengths(lengths), 4);
  expect(pools).toHaveLength(6);
  expect(sequencesOf(pools.flat()).toSorted((a, b) => a - b)).toEqual(every);
  for (const [i, pool] of pools.entries()) {
    expect(sequencesOf(pool).toSorted((a, b) => a - b)).toEqual(every.slice(200 * i, 200 * (i + 1)));
    expect(pool.map(({ length }) => length)).toEqual(pool.map(({ length }) => length).toSorted((a, b) => b - a));
  }
});

test('sequences are padded at the end, and masked there', async () => {
  const two = await splitOf([
    [7, 8],
    [4, 5, 6],
  ]);
  const { input_ids, attention_mask, labels } = inputsOf(two, { sequences: Int32Array.of(1, 0), length: 4, targetLength: 0 }, info);
  expect([...input_ids!.data]).toEqual([4, 5, 6, 9, 7, 8, 9, 9]);
  expect([...attention_mask!.data]).toEqual([1, 1, 1, 0, 1, 1, 0, 0]);
  expect([...labels!.data]).toEqual([0, 2]);
  expect(input_ids!.shape).toEqual([2, 4]);
});
