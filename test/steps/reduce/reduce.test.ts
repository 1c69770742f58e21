/** Smaller models against transformers: test/golden/reduce.py made the models and the values. */
import { cpSync, existsSync, lstatSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startModel } from '../../../steps/ml/models/model-folder.ts';
import { float32, readSafetensors, toFloat32, writeSafetensors } from '../../../steps/ml/models/safetensors.ts';
import { openTokenizer } from '../../../steps/ml/models/tokenizer.ts';
import step from '../../../steps/reduce/step.ts';
import { difference } from '../ml/models/golden.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { asTable, computed, golden, keepsTokens, read, reduced } from './kept-tokens.ts';

describe.each(['bert', 'gpt2'])('%s', keepsTokens);

describe('layers', () => {
  test.each(['bert', 'electra', 'distilbert', 'roberta', 'camembert', 'xlm-roberta', 'gpt2', 't5', 'modernbert'])(
    '%s: the chosen layers have the weights of their old places, and everything else stays',
    async (family) => {
      const { outputs, metrics } = await reduced(golden(family), undefined, { layers: [1, 3] });
      expect(metrics.layers).toBe(2);
      const [before, after] = [
        await readSafetensors(join(golden(family), 'model.safetensors')),
        await readSafetensors(join(outputs.model!, 'model.safetensors')),
      ];
      for (const [name, { bytes }] of Object.entries(after)) {
        const old = name.replace(/^([^0-9]*\.)1\./, '$12.');
        expect(Buffer.compare(bytes, before[old]!.bytes), name).toBe(0);
      }
      expect(readFileSync(join(outputs.model!, 'tokenizer.json'))).toEqual(readFileSync(join(golden(family), 'tokenizer.json')));
      await computed(outputs.model!, 'the cat');
    },
  );

  test('T5 keeps its relative positions in the first layer, whichever that is', async () => {
    const { outputs } = await reduced(golden('t5'), undefined, { layers: [3, 1] });
    const [before, after] = [
      await readSafetensors(join(golden('t5'), 'model.safetensors')),
      await readSafetensors(join(outputs.model!, 'model.safetensors')),
    ];
    for (const stack of ['encoder', 'decoder']) {
      const name = `${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`;
      expect(Buffer.compare(after[name]!.bytes, before[name]!.bytes)).toBe(0);
      const query = (block: number) => `${stack}.block.${block}.layer.0.SelfAttention.q.weight`;
      expect(Buffer.compare(after[query(0)]!.bytes, before[query(2)]!.bytes)).toBe(0);
      expect(Buffer.compare(after[query(1)]!.bytes, before[query(0)]!.bytes)).toBe(0);
    }
    expect(Object.keys(after).filter((name) => name.includes('relative'))).toHaveLength(2);
    await computed(outputs.model!, 'the cat');
  });

  test('vocabulary and layers together', async () => {
    const { outputs, metrics, result } = await reduced(golden('bert'), ['the cat'], { layers: [2] });
    expect(metrics).toMatchObject({ layers: 1 });
    expect(result).toMatch(/^\d+ of \d+ tokens, 1 of 3 layers, \d+ of \d+ parameters$/);
    await computed(outputs.model!, 'the cat');
  });
});

describe('dtype', () => {
  test.each(['float16', 'bfloat16'] as const)('%s halves the file, and training starts from the rounded weights', async (dtype) => {
    const { outputs, result } = await reduced(golden('bert'), undefined, { dtype });
    expect(result).toMatch(new RegExp(` as ${dtype}$`));
    expect(read(outputs.model!, 'config.json')).toEqual({ ...read(golden('bert'), 'config.json'), dtype });
    expect(readFileSync(join(outputs.model!, 'tokenizer.json'))).toEqual(readFileSync(join(golden('bert'), 'tokenizer.json')));
    const [before, after] = [
      await readSafetensors(join(golden('bert'), 'model.safetensors')),
      await readSafetensors(join(outputs.model!, 'model.safetensors')),
    ];
    expect(Object.keys(after).sort()).toEqual(Object.keys(before).sort());
    const { weights, fresh } = await startModel(outputs.model!, { task: 'masked-lm', labels: [], seed: 1, say: () => {} });
    expect(fresh).toEqual([]);
    for (const [name, { data }] of Object.entries(weights)) {
      expect(after[name]!.bytes.length, name).toBe(before[name]!.bytes.length / 2);
      expect(Buffer.compare(Buffer.from(data.buffer), Buffer.from(toFloat32(after[name]!)!.buffer)), name).toBe(0);
      const original = toFloat32(before[name]!)!;
      const step = dtype === 'float16' ? 2 ** -11 : 2 ** -8;
      const far = (data as Float32Array).filter((value, i) => Math.abs(value - original[i]!) > step * Math.abs(value) + 2 ** -25);
      expect(far, name).toHaveLength(0);
    }
    const wide = await reduced(outputs.model!, undefined, { dtype: 'float32' });
    const again = await reduced(wide.outputs.model!, undefined, { dtype });
    expect(readFileSync(join(again.outputs.model!, 'model.safetensors'))).toEqual(readFileSync(join(outputs.model!, 'model.safetensors')));
  });

  test('with fewer tokens and layers the logits stay those of the rounded weights', async () => {
    const half = await reduced(golden('t5'), undefined, { dtype: 'float16', layers: [1, 3] });
    const both = await reduced(golden('t5'), ['the cat sat on the mat'], { dtype: 'float16', layers: [1, 3] });
    const [[now], [then]] = [await computed(both.outputs.model!, 'the cat sat'), await computed(half.outputs.model!, 'the cat sat')];
    expect(now!.tokens).toEqual(then!.tokens);
    expect(difference(now!.logits, then!.logits)).toBeLessThan(1e-6);
  });

  test('a number that is too large, and a model without weights, are refused', async () => {
    const folder = temporary();
    cpSync(golden('bert'), folder, { recursive: true });
    const file = join(folder, 'model.safetensors');
    const tensors = await readSafetensors(file);
    const name = 'bert.encoder.layer.1.output.LayerNorm.bias';
    await writeSafetensors(file, { ...tensors, [name]: float32(new Float32Array(16).fill(70_000), [16]) });
    await expect(reduced(folder, undefined, { dtype: 'float16' })).rejects.toThrow(
      `model.safetensors: "${name}" contains 70000, which is too large for float16`,
    );
    await reduced(folder, undefined, { dtype: 'bfloat16' });
    rmSync(file);
    await expect(reduced(folder, undefined, { dtype: 'float16' })).rejects.toThrow('has no weights, so they cannot be stored as float16');
  });
});

test('rare tokens go, and the share of tokens that become unknown is told', async () => {
  const texts = ['the cat sat on the mat', 'the cat sat on the mat', 'zebra zoo'];
  const all = await reduced(golden('bert'), texts, { min_count: 2 });
  expect(all.metrics.unknown_share).toBe(0); // single characters are left
  expect(all.warnings).toEqual([]);
  const folder = temporary();
  cpSync(golden('bert'), folder, { recursive: true });
  const tokenizer = read(folder, 'tokenizer.json');
  // Without single characters a rare word becomes unknown.
  tokenizer.model.vocab = Object.fromEntries(
    Object.entries(tokenizer.model.vocab).map(([token, id]) => [/^(##)?[a-z]$/.test(token) ? `${token}${token}-` : token, id]),
  );
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  const { metrics, warnings } = await reduced(folder, ['the the the cat', 'the quick'], { min_count: 3 });
  expect(metrics.unknown_share).toBeGreaterThan(0);
  expect(warnings).toEqual([expect.stringMatching(/tokens of the data \(\d+\.\d\d%\) become \[UNK\] with the reduced vocabulary/)]);
});

test('keep adds tokens, characters: all adds characters', async () => {
  const idOf = async (folder: string, token: string) => (await openTokenizer(folder, {})).idOf(token);
  const plain = await reduced(golden('bert'), ['the cat']);
  expect(await idOf(plain.outputs.model!, 'fox')).toBeUndefined();
  const more = await reduced(golden('bert'), ['the cat'], { keep: ['fox'] });
  expect(await idOf(more.outputs.model!, 'fox')).toBeDefined();
  const all = await reduced(golden('bert'), ['the cat'], { characters: 'all' });
  expect(await idOf(all.outputs.model!, 'q')).toBeDefined();
  await expect(reduced(golden('bert'), ['the cat'], { keep: ['nosuchtoken'] })).rejects.toThrow('the vocabulary has no token nosuchtoken');
});

describe('what the model adds to texts is kept', () => {
  const PREFIX = 'the quick fox jumps: ';

  /** A model whose file `name` has more fields. */
  const withFields = (family: string, name: string, fields: object): string => {
    const folder = temporary();
    cpSync(golden(family), folder, { recursive: true });
    const former = existsSync(join(folder, name)) ? read(folder, name) : {};
    writeFileSync(join(folder, name), JSON.stringify({ ...former, ...fields }));
    return folder;
  };
  const tokensOf = async (folder: string, text: string): Promise<string[]> => {
    const tokenizer = await openTokenizer(folder, {});
    const [sequence] = await tokenizer.encode([text]);
    return Promise.all(sequence!.ids.map((id) => tokenizer.decodeToken(id)));
  };

  test.each([
    ['the prefix in config.json', 't5', 'config.json', { prefix: PREFIX }],
    ['the prefix in training.json', 't5', 'training.json', { prefix: PREFIX }],
    ["the prefixes of T5's tasks", 't5', 'config.json', { task_specific_params: { translation_en_to_de: { prefix: PREFIX } } }],
    ['a prefix of GPT-2, behind which words begin with a space', 'gpt2', 'config.json', { prefix: 'the quick fox jumps:' }],
    ['the prompts of sentence-transformers', 'bert', 'config_sentence_transformers.json', { prompts: { query: PREFIX, document: '' } }],
    [
      'the words of a chat template',
      'gpt2',
      'tokenizer_config.json',
      { chat_template: `{% for m in messages %}the quick {{ 'fox jumps: ' + m.content }}{% endfor %}` },
    ],
    [
      'the words of several chat templates',
      'bert',
      'tokenizer_config.json',
      { chat_template: [{ name: 'default', template: `{{ "${PREFIX}" }}` }] },
    ],
  ])('%s', async (_, family, name, fields) => {
    const folder = withFields(family, name, fields);
    const { prefix = PREFIX } = fields as { prefix?: string };
    const { outputs } = await reduced(folder, ['cat sat', ' sat', ' cat'], { min_count: 1 });
    for (const text of [`${prefix}cat sat`, `${prefix} cat sat`])
      expect(await tokensOf(outputs.model!, text)).toEqual(await tokensOf(golden(family), text));
    const without = await reduced(golden(family), ['cat sat', ' sat', ' cat']);
    expect(await tokensOf(without.outputs.model!, `${prefix}cat sat`)).not.toEqual(await tokensOf(golden(family), `${prefix}cat sat`));
  });

  test('however rare it is, and with its first word as the tokenizer splits it there', async () => {
    const folder = withFields('gpt2', 'config.json', { prefix: 'the cat ' });
    const { outputs } = await reduced(folder, ['jumps', 'jumps'], { min_count: 2 });
    for (const text of ['the cat jumps', 'jumps'])
      expect(await tokensOf(outputs.model!, text)).toEqual(await tokensOf(golden('gpt2'), text));
  });
});

test('several columns and tables count, and empty values do not', async () => {
  const one = await table([
    { id: '1', a: 'the cat', b: null },
    { id: '2', a: null, b: 'the rat' },
  ]);
  const { metrics } = await ranStep(step, { text: ['a', 'b'] }, { model: golden('roberta'), data: [one] });
  const both = await ranStep(step, {}, { model: golden('roberta'), data: [await asTable(['the cat']), await asTable(['the rat'])] });
  expect(metrics.vocabulary).toBe(both.metrics.vocabulary);
});

test('other files are carried over, but neither other weights nor the old vocabulary', async () => {
  const folder = temporary();
  cpSync(golden('gpt2'), folder, { recursive: true });
  for (const name of ['README.md', 'vocab.json', 'merges.txt', 'pytorch_model.bin', 'training.json'])
    writeFileSync(join(folder, name), '{}');
  const { outputs } = await reduced(folder, ['the cat']);
  const left = (name: string) => existsSync(join(outputs.model!, name));
  expect(['README.md', 'training.json', 'generation_config.json'].every(left)).toBe(true);
  expect(['vocab.json', 'merges.txt', 'pytorch_model.bin'].some(left)).toBe(false);
  const end = (await openTokenizer(outputs.model!, {})).idOf('<|endoftext|>');
  expect(read(outputs.model!, 'generation_config.json').eos_token_id).toBe(end);
  expect(read(outputs.model!, 'config.json').eos_token_id).toBe(end);
  expect(Object.keys(read(outputs.model!, 'tokenizer_config.json').added_tokens_decoder ?? { [end!]: 1 })).toContain(String(end));
});

test('a link to a model, whose files are links too, becomes a folder with files', async () => {
  const [links, link] = [temporary(), join(temporary(), 'model')];
  for (const name of readdirSync(golden('bert'))) symlinkSync(join(golden('bert'), name), join(links, name));
  symlinkSync(links, link);
  const { outputs } = await reduced(link, undefined, { layers: [1] });
  expect(readdirSync(outputs.model!).sort()).toEqual(readdirSync(golden('bert')).sort());
  for (const name of readdirSync(outputs.model!)) expect(lstatSync(join(outputs.model!, name)).isFile(), name).toBe(true);
});

test('a default of transformers that moves is written', async () => {
  const folder = temporary();
  cpSync(golden('albert'), folder, { recursive: true });
  const config = read(folder, 'config.json');
  for (const field of Object.keys(config)) if (field.endsWith('_token_id')) delete config[field];
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const { outputs } = await reduced(folder, ['the cat']);
  // <s>, <pad>, </s> and <unk> are 0 to 3 and always stay there; ALBERT's defaults are pad 0, bos 2, eos 3.
  expect(read(outputs.model!, 'config.json')).not.toHaveProperty('pad_token_id');
});

describe('errors', () => {
  const changed = (family: string, name: string, change: (file: any) => void): string => {
    const folder = temporary();
    cpSync(golden(family), folder, { recursive: true });
    const file = read(folder, name);
    change(file);
    writeFileSync(join(folder, name), JSON.stringify(file));
    return folder;
  };

  test.each([
    [
      'nothing to do',
      () => reduced(golden('bert'), undefined),
      'there is nothing to reduce: neither `data` nor `layers` nor `dtype` is given',
    ],
    [
      'an option without data',
      () => reduced(golden('bert'), undefined, { layers: [1], min_count: 3 }),
      '`min_count` is about the vocabulary',
    ],
    [
      'an unknown layer',
      () => reduced(golden('bert'), undefined, { layers: [1, 4, 6] }),
      'the model has 3 layers (num_hidden_layers of config.json), but `layers` names 4, 6',
    ],
    ['shared layers', () => reduced(golden('albert'), undefined, { layers: [1] }), 'the layers of this albert model share their weights'],
    ['another first layer', () => reduced(golden('modernbert'), undefined, { layers: [2, 3] }), 'layer 2 cannot become the first'],
    ['an unknown column', () => reduced(golden('bert'), ['the'], { text: 'body' }), 'the data have no column `body`'],
    [
      'a special token of the config',
      () =>
        reduced(
          changed('bert', 'config.json', (file) => {
            file.pad_token_id = 9999;
            file.vocab_size = 10_000;
          }),
          ['the'],
        ),
      'pad_token_id is 9999, but the tokenizer has no token with this id',
    ],
    [
      'a special token of the post-processor',
      () =>
        reduced(
          changed('bert', 'tokenizer.json', (file) => {
            file.added_tokens = file.added_tokens.filter(({ content }: { content: string }) => content !== '[SEP]');
            file.model.vocab['[sep]'] = file.model.vocab['[SEP]'];
            delete file.model.vocab['[SEP]'];
          }),
          ['the'],
        ),
      'adds [SEP] as',
    ],
    [
      'a role of the tokenizer',
      () =>
        reduced(
          changed('bert', 'tokenizer_config.json', (file) => {
            file.mask_token = '<mask>';
          }),
          ['the'],
        ),
      'names <mask> as mask_token, but the vocabulary does not contain it',
    ],
    [
      'an unknown token that is missing',
      () =>
        reduced(
          changed('bert', 'tokenizer.json', (file) => {
            file.model.unk_token = '[NONE]';
          }),
          ['the'],
        ),
      'the vocabulary does not contain [NONE], its unknown token',
    ],
    [
      'weights of another size',
      () =>
        reduced(
          changed('bert', 'config.json', (file) => {
            file.vocab_size += 3;
          }),
          ['the'],
        ),
      'does not fit its config.json',
    ],
  ])('%s', async (_, run, message) => {
    await expect(run()).rejects.toThrow(message);
  });
});
