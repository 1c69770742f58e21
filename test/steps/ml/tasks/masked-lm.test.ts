/** Which tokens masked-lm masks. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openTokenizer } from '../../../../steps/ml/models/tokenizer.ts';
import { wordContinuations } from '../../../../steps/ml/models/tokenizer-json.ts';
import type { HostTensors } from '../../../../steps/ml/runtime/runtime.ts';
import { maskedLm } from '../../../../steps/ml/tasks/masked-lm.ts';
import type { Masking } from '../../../../steps/ml/tasks/task.ts';

const [CLS, MASK] = [2, 4];
/** Ids from 50 on continue a word. */
const continuations = new Set(Array.from({ length: 50 }, (_, i) => 50 + i));
const VOCABULARY = 100;

/** Rows of [CLS], words of one to three tokens, and padding. */
function batch(rows: number, words: number): { inputs: HostTensors; words: number[][] } {
  const all: number[][] = [];
  const length = 1 + 3 * words;
  const ids = new Int32Array(rows * length);
  const mask = new Int32Array(rows * length);
  for (let row = 0; row < rows; row++) {
    let at = row * length;
    ids[at] = CLS;
    mask[at++] = 1;
    for (let word = 0; word < words; word++) {
      const places = Array.from({ length: 1 + ((row + word) % 3) }, (_, i) => at + i);
      for (const [i, place] of places.entries()) [ids[place], mask[place]] = [(i === 0 ? 5 : 50) + ((row * 7 + word) % 45), 1];
      all.push(places);
      at += places.length;
    }
  }
  const shape = [rows, length];
  return {
    inputs: { input_ids: { dtype: 'int32', shape, data: ids }, attention_mask: { dtype: 'int32', shape, data: mask } },
    words: all,
  };
}

const masked = (inputs: HostTensors, masking: Partial<Masking> = {}) =>
  maskedLm.lossInputs!(
    inputs,
    Int32Array.from({ length: inputs.input_ids!.shape[0]! }, (_, i) => i),
    { mask_token_id: MASK, special_ids: [0, 1, CLS, 3, MASK] } as never,
    { probability: 0.15, vocabulary: VOCABULARY, seed: 1, epoch: 1, continuations, ...masking },
  );

test('a word is masked as a whole or not at all, in the share that the option sets, and never a special token', () => {
  const { inputs, words } = batch(200, 20);
  const { label_positions, labels } = masked(inputs);
  const chosen = new Set(label_positions!.data);
  const whole = words.filter((places) => places.some((place) => chosen.has(place)));
  expect(whole.flat().sort((a, b) => a - b)).toEqual([...chosen]);
  // 0.15 within four standard errors.
  expect(Math.abs(whole.length / words.length - 0.15)).toBeLessThan(4 * Math.sqrt((0.15 * 0.85) / words.length));
  expect([...labels!.data]).toEqual([...label_positions!.data].map((place) => inputs.input_ids!.data[place]));
});

test('of the chosen tokens 80% become the mask, 10% another token, and 10% stay, token by token as in BERT', () => {
  const { inputs } = batch(400, 20);
  const { input_ids, label_positions } = masked(inputs);
  const places = [...label_positions!.data];
  const share = (kind: (place: number) => boolean) => places.filter(kind).length / places.length;
  const error = (p: number) => 4 * Math.sqrt((p * (1 - p)) / places.length);
  expect(Math.abs(share((place) => input_ids!.data[place] === MASK) - 0.8)).toBeLessThan(error(0.8));
  // One in a hundred random tokens is the original.
  expect(Math.abs(share((place) => input_ids!.data[place] === inputs.input_ids!.data[place]) - 0.1)).toBeLessThan(error(0.1) + 0.001);
});

test('the choice depends on the seed, the epoch and the sequence alone', () => {
  const { inputs } = batch(8, 20);
  const positions = (masking?: Partial<Masking>) => [...masked(inputs, masking).label_positions!.data];
  expect(positions()).toEqual(positions());
  expect(positions({ epoch: 2 })).not.toEqual(positions());
  expect(positions({ seed: 2 })).not.toEqual(positions());
});

test('a window that begins within a word masks the rest of it as a word', () => {
  const ids = Int32Array.from([CLS, 60, 61, 10, 62]);
  const inputs: HostTensors = {
    input_ids: { dtype: 'int32', shape: [1, 5], data: ids },
    attention_mask: { dtype: 'int32', shape: [1, 5], data: new Int32Array(5).fill(1) },
  };
  const found = Array.from({ length: 40 }, (_, seed) => [...masked(inputs, { seed, probability: 0.5 }).label_positions!.data].join());
  expect([...new Set(found)].sort()).toEqual(['0', '1,2', '1,2,3,4', '3,4']);
});

test.each(['bert-uncased', 'roberta', 'xlm-roberta', 'sentencepiece'])('%s: each word has one token that begins it', async (name) => {
  const folder = join(import.meta.dirname, '../../../golden/tokenizer', name);
  const continued = (await wordContinuations(folder))!;
  const tokenizer = await openTokenizer(folder, {});
  const words = ['the', 'theand', 'theat', 'the', 'theafe'];
  const [sequence] = await tokenizer.encode([words.join(' ')]);
  const own = [...sequence!.ids].filter((id) => !tokenizer.specialIds.includes(id));
  const begins = name === 'roberta' ? 1 : 0; // the text begins without a space
  expect(own.length).toBeGreaterThan(words.length);
  expect(own.filter((id) => !continued.has(id)).length).toBe(words.length - begins);
});
