/**
 * The target fastapi: its Dockerfile is played as by a container host, by an unprivileged user in an empty folder, with the packages of its
 * requirements.txt. Each kind of model answers 200 texts as `tunesmith serve` does. Needs PyPI.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { random } from '../../../steps/ml/models/random.ts';
import { startServer } from '../../../steps/serving/serve.ts';
import { buildImage, type Image, type Started } from '../../image.ts';
import { type Folder, folderOf, makeModel, maxLength, remove, small } from '../../steps/serving/bundle.ts';
import { deployFor, freePort, post, ready } from '../../targets.ts';

let image: Image;
let port: number;
beforeAll(async () => {
  const model = await makeModel();
  const folder = await deployFor('fastapi', model);
  port = await freePort();
  image = buildImage(folder, (words) => words.map((word) => word.replaceAll('8080', String(port))));
  remove(model, folder);
});
afterAll(() => image?.remove());

describe('the image', () => {
  let running: Started;
  beforeAll(async () => {
    expect(image.isHealthy()).toBe(false);
    image.makeReadOnly();
    running = image.start();
    await ready(`http://127.0.0.1:${port}/health`, running);
  });
  afterAll(() => void running?.child.kill('SIGKILL'));

  test('is healthy, and has neither pip nor the source of a build', () => {
    expect(image.isHealthy()).toBe(true);
    expect(readdirSync(image.workdir).sort()).toEqual([
      'answers.py',
      'app.py',
      'bundle',
      'cleaning.py',
      'markup.json',
      'model.py',
      'packages',
      'settings.json',
    ]);
    expect(readdirSync(join(image.workdir, 'packages'))).not.toContain('pip');
    const removed = image.final.find(({ name }) => name === 'RUN')!.rest;
    expect(removed).toMatch(/^rm -rf \/usr\/local\/lib\/python3.13\/site-packages .*\/usr\/local\/bin\/pip3 /);
  });

  const long = 'a'.repeat(100_001);
  test.each<[string, number, string, unknown, string?]>([
    ['not JSON', 400, 'the body is not JSON', '{'],
    ['an empty body', 400, 'the body is not JSON', ''],
    ['NaN', 400, 'NaN is not a JSON value', '{"inputs": NaN}'],
    ['deep lists', 400, 'nested too deeply', '['.repeat(100_000)],
    ['another shape', 400, 'the body must be an object', ['a']],
    ['no inputs', 400, 'the field "inputs" is missing', {}],
    ['an unknown field', 400, 'unknown field "input"', { input: 'a' }],
    ['a number', 400, '"inputs[1]" must be a string, not a number', { inputs: ['a', 1] }],
    ['null', 400, '"inputs" must be a string, not null', { inputs: null }],
    ['a field of another task', 400, 'unknown field "context"', { inputs: { text: 'a', context: 'b' } }],
    ['too many inputs', 413, 'at most 1000', { inputs: Array(1001).fill('a') }],
    ['a long text', 413, '100001 characters', { inputs: long }],
    ['a large body', 413, 'larger than', { inputs: Array(110).fill(long) }],
    ['text/plain', 415, 'application/json', '{"inputs": "a"}', 'text/plain'],
  ])('refuses %s', async (_, status, message, body, type) => {
    const answer = await post(`http://127.0.0.1:${port}/predict`, body, type === undefined ? {} : { type });
    expect(answer.type).toBe('application/problem+json');
    expect(answer.json()).toMatchObject({ type: 'about:blank', status, detail: expect.stringContaining(message) });
    expect(answer.status).toBe(status);
    expect(answer.text).not.toMatch(/Traceback|\.py\b|site-packages/);
  });

  test('refuses other paths and methods, and what is not UTF-8', async () => {
    const url = `http://127.0.0.1:${port}`;
    expect((await post(`${url}/generate`, {})).json()).toMatchObject({ status: 404 });
    const get = await fetch(`${url}/predict`);
    expect([get.status, get.headers.get('allow'), (await get.json()).title]).toEqual([405, 'POST', 'Method Not Allowed']);
    const headers = { 'content-type': 'application/json' };
    const bytes = await fetch(`${url}/predict`, { method: 'POST', headers, body: Buffer.from('{"inputs": "\xff"}', 'latin1') });
    expect(bytes.status).toBe(400);
    expect((await post(`${url}/predict`, { inputs: [] })).json()).toEqual({ predictions: [] });
  });

  test('answers a flood, or says that it is overloaded, and loses no request', async () => {
    const flood = Array.from({ length: 400 }, () => post(`http://127.0.0.1:${port}/predict`, { inputs: Array(20).fill('Buy <b>now</b>') }));
    const answers = await Promise.all(flood);
    const [answered, refused] = [200, 503].map((status) => answers.filter((answer) => answer.status === status));
    expect(answered!.length + refused!.length).toBe(400);
    expect(answered!.length).toBeGreaterThan(200);
    for (const answer of refused!) expect(answer.json()).toMatchObject({ status: 503, detail: expect.stringContaining('overloaded') });
    expect(image.isHealthy()).toBe(true);
  });

  test('answers a running request after SIGTERM', async () => {
    const many = post(`http://127.0.0.1:${port}/predict`, { inputs: Array(1000).fill('Buy <b>now</b> '.repeat(20)) });
    await new Promise((resolve) => setTimeout(resolve, 100));
    running.child.kill('SIGTERM');
    expect((await many).json().predictions).toHaveLength(1000);
    // uvicorn repeats the signal for itself once it has ended its work.
    expect(await running.ended).toBe(143);
  });
});

describe('answers 200 texts as serve does', () => {
  const everything = {
    remove: ['html', 'urls', 'emails', 'special_characters', 'numbers'],
    keep_characters: '.!',
    lowercase: true,
    whitespace: 'collapse',
    normalize: 'NFKC',
  };
  const calibration = {
    temperature: 1.7,
    thresholds: { spam: 0.45 },
    group: 'year',
    group_type: 'number',
    group_thresholds: { 2024: { spam: 0.2 }, 7: { spam: 0.8 } },
    fitted_on: 'validation',
    rows: 10,
    ece: { before: 0.1, after: 0.05 },
  };
  const cleaned = (columns: string[], options: object = {}) => ({
    version: 2,
    steps: [{ clean: { ...everything, ...options }, columns }],
  });
  const bert = { ...small, model_type: 'bert' };
  const roberta = { ...small, model_type: 'roberta', type_vocab_size: 1, max_position_embeddings: 32, pad_token_id: 1 };
  const labels = ['O', 'B-PER', 'I-PER', 'B-ORG', 'I-ORG', 'S-X', 'E-PER'];
  const classifier: Folder['start'] = { task: 'text-classification', labels: ['ham', 'spam'] };

  interface Kind {
    /** The folder of the model. */
    make: () => Promise<string>;
    inputs: (text: string, i: number) => unknown;
    quantize?: 'int8' | 'fp16';
  }
  const madeWith = (labels: string[] | undefined, files: Record<string, object>) => async () => {
    const model = await makeModel(labels);
    for (const [name, content] of Object.entries(files)) {
      const before = name === 'config.json' ? JSON.parse(readFileSync(join(model, name), 'utf8')) : {};
      writeFileSync(join(model, name), JSON.stringify({ ...before, ...content }));
    }
    return model;
  };
  const kinds: Record<string, Kind> = {
    'cleaning, temperature and the thresholds of groups': {
      make: madeWith(undefined, { 'preprocessing.json': cleaned(['text']), 'calibration.json': calibration }),
      inputs: (text, year) => ({ text, year: [2024, 2024.0, '7.0', ' 7', null, 'other'][year % 6] }),
    },
    'pairs, cut at the first text': {
      make: madeWith(undefined, {
        'preprocessing.json': cleaned(['text'], { whitespace: 'keep', remove: ['html'] }),
        'training.json': { max_length: maxLength, pairs: true, truncation: 'only_first' },
      }),
      inputs: (text, i) => ({ text: `${text} ${text}`, text_pair: TEXTS[i % 7]!.slice(0, 8) }),
    },
    'pairs, of which the longer text is cut, at its beginning': {
      make: () =>
        folderOf({
          config: bert,
          tokenizer: 'bert-cased',
          start: classifier,
          files: { 'training.json': { max_length: 17, pairs: true }, 'tokenizer_config.json': { truncation_side: 'left' } },
        }),
      inputs: (text, i) => ({ text, text_pair: TEXTS[199 - i]! }),
    },
    'texts or pairs, of a model from elsewhere': {
      make: () => folderOf({ config: roberta, tokenizer: 'roberta', start: classifier }),
      inputs: (text, i) => [text, { text, text_pair: TEXTS[199 - i]! }, { text, text_pair: null }][i % 3],
    },
    'any number of labels': {
      make: madeWith(['a', 'b', 'c'], {
        'config.json': { problem_type: 'multi_label_classification' },
        'training.json': { max_length: maxLength },
        'calibration.json': { temperature: 0.7, thresholds: { a: 0.4, c: 0.6 }, fitted_on: 'validation', rows: 10, ece: calibration.ece },
      }),
      inputs: (text) => text,
    },
    'in int8, where a batch would change the answers': {
      make: () => folderOf({ config: bert, tokenizer: 'bert-cased', start: classifier }),
      inputs: (text) => text,
      quantize: 'int8',
    },
    'entities in fp16': {
      make: () => folderOf({ config: bert, tokenizer: 'bert-cased', start: { task: 'token-classification', labels } }),
      inputs: (text) => text,
      quantize: 'fp16',
    },
    numbers: {
      make: madeWith(['score'], { 'config.json': { problem_type: 'regression' }, 'training.json': { max_length: maxLength } }),
      inputs: (text) => text,
    },
    'entities of texts, in windows': {
      make: () => folderOf({ config: bert, tokenizer: 'bert-cased', start: { task: 'token-classification', labels } }),
      inputs: (text, i) => (i % 2 ? text : { text }),
    },
    'tags of words, whose tokens have a space': {
      make: () => folderOf({ config: roberta, tokenizer: 'roberta-prefix', start: { task: 'token-classification', labels } }),
      inputs: (text, i) => (i % 5 ? { text: i % 3 ? text.split(' ') : text.split(/\s+/u) } : text),
    },
    'tags such as NOUN, counted from the end of the text': {
      make: () =>
        folderOf({
          config: bert,
          tokenizer: 'bert-accents',
          start: { task: 'token-classification', labels: ['NOUN', 'VERB', 'X'] },
          files: { 'tokenizer_config.json': { truncation_side: 'left' } },
        }),
      inputs: (text) => text,
    },
    'answers to questions, in windows': {
      make: () =>
        folderOf({
          config: { ...bert, max_position_embeddings: 40 },
          tokenizer: 'bert-uncased',
          start: { task: 'question-answering', labels: [] },
          files: {
            'preprocessing.json': cleaned(['question']),
            'training.json': { max_length: 40, stride: 9, fields: { question: 'question', context: 'context' } },
          },
          weights: { 'qa_outputs.bias': [-1, 1] },
        }),
      inputs: (text, i) => ({ question: ['Who?', '<b>what</b> 5', '', '🙂'][i % 4], context: text }),
    },
    'answers to questions, with sentencepiece': {
      make: () =>
        folderOf({
          config: { ...roberta, model_type: 'xlm-roberta', max_position_embeddings: 60 },
          tokenizer: 'xlm-roberta',
          start: { task: 'question-answering', labels: [] },
        }),
      inputs: (text, i) => ({ question: ['Who?', 'When', ''][i % 3], context: text }),
    },
    'masked words, which survive cleaning': {
      make: () =>
        folderOf({
          config: bert,
          tokenizer: 'bert-uncased',
          start: { task: 'masked-lm', labels: [] },
          files: { 'preprocessing.json': cleaned(['text']), 'training.json': { max_length: 18, fields: { text: 'text' } } },
        }),
      inputs: (text, i) => `${i % 2 ? '[MASK] ' : ''}${text}[MASK]${text.slice(0, 9)} [MASK]`,
    },
    'masked words of RoBERTa': {
      make: () => folderOf({ config: roberta, tokenizer: 'roberta', start: { task: 'masked-lm', labels: [] } }),
      inputs: (text) => `${text}<mask> and <mask>.`,
    },
  };

  test.each(Object.entries(kinds))('%s', async (_, { make, inputs, quantize }) => {
    const model = await make();
    const folder = await deployFor('fastapi', model, 'Tiny mails', quantize);
    remove(model);
    onTestFinished(() => remove(folder));
    const url = await serveWithPython(folder);
    const server = await startServer(folder, { port: 0, say: () => {} });
    onTestFinished(() => server.close());
    const request = { inputs: TEXTS.map(inputs) };
    const [theirs, ours] = await Promise.all([url, server.url].map((url) => post(`${url}/predict`, request)));
    expect(ours!.status, ours!.text).toBe(200);
    expect(theirs!.status, theirs!.text).toBe(200);
    const [given, expected] = [theirs!.json().predictions, ours!.json().predictions];
    // Not the same answer to everything.
    expect(new Set(expected.map((answer: unknown) => JSON.stringify(answer))).size).toBeGreaterThan(20);
    for (const [i, input] of request.inputs.entries()) expect(given[i], JSON.stringify(input)).toEqual(near(expected[i]));
  });

  test('a question without room for the context, and a text without a mask, are refused', async () => {
    const { make } = kinds['answers to questions, in windows']!;
    const model = await make();
    const folder = await deployFor('fastapi', model);
    onTestFinished(() => remove(model, folder));
    const url = await serveWithPython(folder);
    const refused = await post(`${url}/predict`, {
      inputs: [
        { question: 'who '.repeat(60), context: 'a '.repeat(50) },
        { question: '', context: '' },
      ],
    });
    expect(refused.json()).toMatchObject({ status: 400, detail: expect.stringMatching(/^"inputs\[0\]": the question has \d+ tokens/) });
    const masked = await kinds['masked words of RoBERTa']!.make();
    const other = await deployFor('fastapi', masked);
    onTestFinished(() => remove(masked, other));
    const answer = await post(`${await serveWithPython(other)}/predict`, { inputs: 'no mask' });
    expect(answer.json()).toMatchObject({ status: 400, detail: expect.stringContaining('there is no <mask> in the text') });
  });
});

test.each<[string, string, () => Promise<string>]>([
  [
    'a model whose mails were decoded',
    'cannot decode mails',
    async () => {
      const model = await makeModel();
      writeFileSync(join(model, 'preprocessing.json'), '{"version":2,"steps":[{"decode":"mail","columns":["text"]}]}');
      return model;
    },
  ],
  [
    'a model that generates text',
    'a model for causal-lm generates text token by token',
    () =>
      folderOf({
        config: { model_type: 'gpt2', n_embd: 12, n_layer: 1, n_head: 2, n_positions: 16 },
        tokenizer: 'gpt2',
        start: { task: 'causal-lm', labels: [] },
      }),
  ],
])('deploy refuses %s', async (_, reason, make) => {
  const model = await make();
  onTestFinished(() => remove(model));
  await expect(deployFor('fastapi', model)).rejects.toThrow(reason);
});

/** The packages of the image, in a Python that has no others. Ends with the test. */
async function serveWithPython(folder: string): Promise<string> {
  const port = await freePort();
  const env = { PATH: process.env.PATH, PYTHONPATH: join(image.workdir, 'packages'), PYTHONDONTWRITEBYTECODE: '1' };
  const words = ['-m', 'uvicorn', 'app:app', '--port', String(port)];
  const child: ChildProcess = spawn(python(), words, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (text) => (output += text));
  const ended = new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 143)));
  await ready(`http://127.0.0.1:${port}/health`, { child, output: () => output, ended });
  return `http://127.0.0.1:${port}`;
}

/** The Python for which the image has its packages: the one that the unprivileged user finds. */
let found: string | undefined;
function python(): string {
  const ids = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  found ??= execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8', ...ids }).trim();
  return found;
}

/** Everything exactly, and scores within 1e-5. */
const near = (value: any): any => {
  if (typeof value === 'number')
    return Number.isInteger(value)
      ? value
      : { asymmetricMatch: (given: unknown) => Math.abs((given as number) - value) <= 1e-5, toString: () => String(value) };
  return value !== null && typeof value === 'object' ? mapped(value, near) : value;
};

const mapped = (value: object, map: (each: any) => any): any =>
  Array.isArray(value) ? value.map(map) : Object.fromEntries(Object.entries(value).map(([key, each]) => [key, map(each)]));

const PIECES = [
  'Buy <b>now</b> &amp; save &euro;5, 1,000.50 at https://example.org/a?b=(c). ',
  '<!-- gone --> <script>if (a < b) c()</script>kept <joe@example.org> ',
  'ÇA VA? İstanbul ΣΑΣ ﬁne ｆｕｌｌ e\u0301 ',
  'mail joe.doe+x@mail.example.org, WWW.example.org; mp3 h2o 2002-08-22. ',
  'zero\u200bwidth \u00ad soft\ufeff 日本語 🙂👍🏽 &#150; &#xD800; &unknown; ',
  'a <xyz>b <p>c<br/>d <a href="x>y">e</a> < f <3 </> <!x> <? y> <open ',
  'see you at seven, please! ',
  'the cat sat on the mat with Ada Lovelace 👩‍👩‍👧 and \ud800 half of a pair ',
  '<s> </s> [CLS] [SEP] [UNK] ',
  '\t\n  \u3000 ',
];

/** Random mixtures, some empty and some longer than what the model reads. */
const TEXTS = Array.from({ length: 200 }, (_, i) => {
  const draw = random('fastapi', i);
  return Array.from({ length: i % 9 }, () => PIECES[Math.floor(draw() * PIECES.length)]).join('');
});
