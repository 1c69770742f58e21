/**
 * Hugging Face folders from other tools: how predict and serve use their config.json, their tokenizer and their
 * labels.
 */
import { expect, test } from 'vitest';
import { openAnswer } from '../../../steps/ml/answering/answer.ts';
import { openBundle } from '../../../steps/ml/answering/bundle.ts';
import { type Folder, folderOf, small } from './bundle.ts';

async function answersOf(folder: string, inputs: Record<string, string>[]): Promise<any[]> {
  const { encode, run, conclude } = await openAnswer(await openBundle(folder), 1);
  return Promise.all(
    inputs.map(async (input) => {
      const encoded = await encode(input);
      return conclude(encoded, await run(encoded.sequences));
    }),
  );
}

const classifier: Folder['start'] = { task: 'text-classification', labels: ['a', 'b'] };

test('an ALBERT with one token type reads pairs, whose tokens have two types', async () => {
  const config = { ...small, model_type: 'albert', embedding_size: 8, type_vocab_size: 1 };
  const folder = await folderOf({ config, tokenizer: 'bert-cased', start: classifier });
  const [answer] = await answersOf(folder, [{ text: 'the cat', text_pair: 'the mat' }]);
  expect(Object.keys(answer.scores)).toEqual(['a', 'b']);
});

test("GPT-2's maximum length is n_positions", async () => {
  const words = (count: number) => 'cat '.repeat(count);
  const of = (n_positions?: number) =>
    folderOf({
      config: { model_type: 'gpt2', n_embd: 12, n_layer: 1, n_head: 2, pad_token_id: 0, ...(n_positions && { n_positions }) },
      tokenizer: 'gpt2',
      start: classifier,
    });
  const [short, shorter] = await answersOf(await of(16), [{ text: words(300) }, { text: words(200) }]);
  expect(short).toEqual(shorter);
  // Each word is at least one token: a model with 1024 positions reads different ends of these two, one with 512
  // would not.
  const [long, longer] = await answersOf(await of(), [{ text: words(120) }, { text: `${words(520)}the` }]);
  expect(long).not.toEqual(longer);
});

test('truncation_side of tokenizer_config.json: a long text is truncated at its beginning', async () => {
  const config = { ...small, model_type: 'bert' };
  const files = { 'tokenizer_config.json': { truncation_side: 'left' } };
  const folder = await folderOf({ config, tokenizer: 'bert-uncased', start: classifier, files });
  const end = 'the cat sat on the mat and the rat sat on the hat the cat sat on the mat and the rat';
  const [one, other, third] = await answersOf(folder, [
    { text: `monday ${'the notes '.repeat(200)} ${end}` },
    { text: end },
    { text: `${end} monday` },
  ]);
  expect(one).toEqual(other);
  expect(third).not.toEqual(other);
});

test('a length that no text fits, or for which the model has no positions', async () => {
  const config = { ...small, model_type: 'bert' };
  const of = (name: string, content: object) =>
    folderOf({ config, tokenizer: 'bert-uncased', start: classifier, files: { [name]: content } });
  const none = openBundle(await of('tokenizer_config.json', { model_max_length: 0 }));
  await expect(none).rejects.toThrow(/tokenizer_config.json of .*: model_max_length 0 leaves no room for a text/);
  const long = openBundle(await of('training.json', { max_length: 21 }));
  await expect(long).rejects.toThrow(/max_length 21 exceeds the 20 tokens for which the model has positions/);
});

test('an ONNX model with other sizes than its config.json is rejected with a message', async () => {
  const folder = await folderOf({ config: { ...small, model_type: 'bert' }, tokenizer: 'bert-uncased', start: classifier });
  const bundle = await openBundle(folder);
  const { encode, run } = await openAnswer({ ...bundle, encoding: { max_length: 60 } }, 1);
  await expect(run((await encode({ text: 'the cat '.repeat(30) })).sequences)).rejects.toThrow(/cannot read a batch of 1 × 60 tokens/);
});

test('masked-lm fills in a special token by its name', async () => {
  const bias = new Array(340).fill(0);
  bias[1] = 100; // [UNK]
  const folder = await folderOf({
    config: { ...small, model_type: 'bert' },
    tokenizer: 'bert-uncased',
    start: { task: 'masked-lm', labels: [] },
    weights: { 'cls.predictions.bias': bias },
  });
  expect(await answersOf(folder, [{ text: 'the [MASK] sat' }])).toMatchObject([{ fill: [{ token: '[UNK]' }] }]);
});

/** transformers' pipeline joins words that all have the last label, except for tags that mark no entities. */
test.each([
  [['O', 'PER'], ['cat sat on']],
  [['LABEL_0', 'LABEL_1'], ['cat sat on']],
  [['O', 'B-PER', 'I-PER'], ['cat sat on']],
  [
    ['O', 'I-PER', 'B-PER'],
    ['cat', 'sat', 'on'],
  ],
  [
    ['VERB', 'NOUN'],
    ['cat', 'sat', 'on'],
  ],
])('words with one label, of %j', async (labels, pieces) => {
  const bias = labels.map((_, i) => (i === labels.length - 1 ? 1 : 0));
  const folder = await folderOf({
    config: { ...small, model_type: 'bert' },
    tokenizer: 'bert-uncased',
    start: { task: 'token-classification', labels },
    weights: { 'classifier.weight': 0, 'classifier.bias': bias },
  });
  const [{ entities }] = await answersOf(folder, [{ text: 'cat sat on' }]);
  expect(entities.map((entity: { text: string }) => entity.text)).toEqual(pieces);
});
