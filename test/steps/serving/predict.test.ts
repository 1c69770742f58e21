import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerLines, predict } from '../../../steps/serving/predict.ts';
import { project } from '../../rig.ts';
import { terminal } from '../../terminal.ts';
import { folderOf, makeBundle, makeModel, referenceScores, remove, small } from './bundle.ts';

let model: string;
let bundle: string;

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
});

afterAll(() => remove(model, bundle));

const texts = [
  'Buy NOW, see http://x.example <b>cheap</b>!',
  '',
  'Lunch on Monday?',
  'one "two", three\nfour',
  '😀 \u0000\u0007',
  'long '.repeat(900),
];

test("every format gives one line per input, in order, with the model's own scores", async () => {
  const p = project({
    'a.jsonl': texts.map((text) => `${JSON.stringify({ text })}\n`).join(''),
    'a.csv': `id,text\n${texts.map((text, i) => `${i},"${text.replaceAll('"', '""')}"\n`).join('')}`,
    'a.txt': texts.map((text) => `${text.replaceAll('\n', ' ')}\n`).join(''),
  });
  const reference = await referenceScores(bundle, texts);
  for (const file of ['a.jsonl', 'a.csv', 'a.txt']) {
    const { code, stdout, stderr } = await p.run('predict', bundle, file);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expectScores(stdout, reference);
  }
  expectScores((await p.feed(p.read('a.csv'), 'predict', bundle, '-')).stdout, reference);
});

test('id and other columns are copied, as JSON lines or as CSV, to the screen or to a file', async () => {
  const p = project({
    'a.csv': 'id;text;label;n\n007;Buy NOW;spam;1.10\n8;"Lunch; Monday?";;"x ""y"""\n',
  });
  const lines = async (...args: string[]) => {
    const { code, stdout, stderr } = await p.run('predict', bundle, ...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return stdout.trimEnd().split('\n');
  };
  const plain = (await lines('a.csv')).map((line) => JSON.parse(line));
  expect(plain.map((answer) => Object.keys(answer))).toEqual(Array(2).fill(['id', 'label', 'scores']));
  expect(plain.map(({ id }) => id)).toEqual(['007', '8']);
  const kept = (await lines('a.csv', '--columns', 'n,label')).map((line) => JSON.parse(line));
  expect(kept.map(({ n, input_label, id }) => [n, input_label, id])).toEqual([
    ['1.10', 'spam', undefined],
    ['x "y"', null, undefined],
  ]);
  expect(await lines('a.csv', '--columns', 'id,n', '-o', 'answers.csv')).toEqual(['']);
  const csv = p.read('answers.csv').trimEnd().split('\n');
  expect(csv[0]).toBe('id,n,label,scores.ham,scores.spam');
  expect(csv[1]).toMatch(new RegExp(`^007,1\\.10,${plain[0].label},[\\d.e-]+,[\\d.e-]+$`));
  expect(csv[2]).toMatch(/^8,"x ""y""",/);
  expect((await p.run('predict', bundle, 'a.csv', '-o', 'no/folder.csv')).stderr).toContain('no/folder.csv cannot be written');
});

test('on a terminal every answer has its own line, and control characters are escaped', async () => {
  const p = project({ 'a.jsonl': '{"id":"\\u001b[31m1","text":"one"}\n{"id":"two\\nlines","text":"two"}\n' });
  Object.assign(p.env, terminal(p, 80, 24));
  const json = (await p.run('predict', bundle, 'a.jsonl')).stdout.trimEnd().split('\n');
  expect(json.map((line) => JSON.parse(line).id)).toEqual(['\u001b[31m1', 'two\nlines']);
  const csv = (await p.run('predict', bundle, 'a.jsonl', '--output-format', 'csv')).stdout;
  expect(csv).toMatch(/^id,label,.*\n\\x1b\[31m1,.*\n"two\nlines",/);
  for (const text of [...json, csv]) expect(text).not.toContain('\u001b');
});

test('answers as CSV: nested fields are columns, an empty text is quoted', () => {
  const line = answerLines('csv');
  expect(line({ id: null, note: '' }, { entities: [{ word: 'Ada' }], scores: { a: 0.5, b: 1e-7 } })).toBe(
    'id,note,entities,scores.a,scores.b\n,"","[{""word"":""Ada""}]",0.5,1e-7\n',
  );
  expect(line({ id: ' 7', note: 'a\nb' }, { entities: [], scores: { a: 1 } })).toBe('" 7","a\nb",[],1,\n');
});

test('a model folder without an ONNX model gives the same answers', async () => {
  const { stdout, code } = await project().feed('Buy now\nLunch?\n', 'predict', model, '-');
  expect(code).toBe(0);
  expectScores(stdout, await referenceScores(model, ['Buy now', 'Lunch?']));
});

test('a tokenizer with more tokens than the model has embeddings is rejected', async () => {
  const p = project({ 'a.txt': 'Lunch?\n' });
  cpSync(bundle, p.path('bundle'), { recursive: true });
  p.write('bundle/config.json', JSON.stringify({ ...JSON.parse(p.read('bundle/config.json')), vocab_size: 100 }));
  const { code, stderr } = await p.run('predict', 'bundle', 'a.txt');
  expect(code).toBe(2);
  expect(stderr).toContain("the tokenizer has 30522 tokens, but the model's embedding table has only 100 rows");
});

test('thousands of lines of all lengths keep their order', async () => {
  const many = Array.from({ length: 5000 }, (_, i) => `${i} ${'word '.repeat(i % 23)}`);
  const { stdout } = await project().feed(many.join('\n'), 'predict', bundle, '-', '--format', 'lines');
  expectScores(stdout, await referenceScores(bundle, many.slice(0, 60)), many.length);
  const again = await project().feed(many.slice(4000).reverse().join('\n'), 'predict', bundle, '-', '--format', 'lines');
  const [last, first] = [stdout.trim().split('\n').at(-1)!, again.stdout.split('\n')[0]!].map((line) => JSON.parse(line));
  for (const label of ['ham', 'spam']) expect(first.scores[label]).toBeCloseTo(last.scores[label], 5);
});

test('an invalid line ends it with 1, after the lines before it', async () => {
  const p = project({ 'a.jsonl': '{"text":"x"}\n{"text":"y"}\n{"text":null}\n{"text":"z"}\n' });
  const { code, stdout, stderr } = await p.run('predict', bundle, 'a.jsonl');
  expect(code).toBe(1);
  expect(stdout.trim().split('\n')).toHaveLength(2);
  expect(stderr).toContain('a.jsonl:3: "text" is null, not a string');
  expect(stderr).not.toMatch(/^\s+at /m);
});

test.each([
  ['a.txt', 'the [MASK] sat\n\nno mask\nthe [MASK]\n', 'a.txt:2: there is no [MASK] in ""'],
  ['a.csv', 'id,text\n1,"the\n[MASK] sat"\n2,no mask\n', 'a.csv:4: there is no [MASK] in "no mask"'],
  ['a.jsonl', '{"text":"the [MASK] sat"}\n\n{"text":"no mask"}\n', 'a.jsonl:3: there is no [MASK] in "no mask"'],
  ['a.json', '[{"text":"the [MASK] sat"},{"text":"no mask"}]', 'a.json: row 2: there is no [MASK] in "no mask"'],
])('an input that the model cannot read is reported with its place: %s', async (name, content, message) => {
  const folder = await folderOf({
    config: { ...small, model_type: 'bert' },
    tokenizer: 'bert-uncased',
    start: { task: 'masked-lm', labels: [] },
  });
  const answers: string[] = [];
  const output = new Writable({ write: (text, _, done) => done(void answers.push(String(text))) });
  writeFileSync(join(folder, name), content);
  await expect(predict(folder, join(folder, name), {}, output)).rejects.toThrow(message);
  expect(answers.join('').trim().split('\n')).toHaveLength(1);
});

test('a folder that is not a bundle is rejected with one sentence', async () => {
  const p = project({ 'empty/x': '', 'cut/config.json': '{"model_ty', 'cut/tokenizer.json': '{}', 'in.txt': 'x\n' });
  p.write('broken/config.json', JSON.stringify({ model_type: 'bert', architectures: ['BertForSequenceClassification'] }));
  p.write('broken/tokenizer.json', anyTokenizer());
  p.write('broken/onnx/model.onnx', 'not a model');
  p.write('other/config.json', JSON.stringify({ model_type: 'bart', architectures: ['BartForSequenceClassification'] }));
  p.write('other/tokenizer.json', anyTokenizer());
  for (const [folder, architecture] of Object.entries({ masked: 'BertForMaskedLM', base: 'BertModel', choice: 'BertForMultipleChoice' })) {
    p.write(`${folder}/config.json`, JSON.stringify({ model_type: 'bert', architectures: [architecture] }));
    p.write(`${folder}/tokenizer.json`, anyTokenizer());
  }
  for (const [folder, message] of [
    ['none', 'the folder none does not exist'],
    ['in.txt', 'in.txt is not a folder'],
    ['empty', 'empty has no config.json'],
    ['cut', 'config.json is not a JSON object'],
    ['broken', 'cannot be opened'],
    ['other', 'model_type "bart" is not supported'],
    ['masked', 'masked has no model.safetensors'],
    ['base', 'BertModel, which has no head for a task'],
    ['choice', 'BertForMultipleChoice, which is not supported'],
  ] as const) {
    const { code, stdout, stderr } = await p.run('predict', folder, 'in.txt');
    expect({ folder, code, stdout }).toEqual({ folder, code: 2, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/^\s+at /m);
  }
});

function anyTokenizer(): string {
  return JSON.stringify({ version: '1.0', added_tokens: [], model: { type: 'WordLevel', vocab: { '[UNK]': 0 }, unk_token: '[UNK]' } });
}

function expectScores(stdout: string, reference: number[][], lines = reference.length): void {
  const predictions = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(predictions).toHaveLength(lines);
  for (const [i, [ham, spam]] of reference.entries()) {
    const { label, scores } = predictions[i];
    expect(Math.abs(scores.ham - ham!), `text ${i}`).toBeLessThan(1e-5);
    expect(Math.abs(scores.spam - spam!), `text ${i}`).toBeLessThan(1e-5);
    expect(label).toBe(ham! > spam! ? 'ham' : 'spam');
  }
  for (const { scores } of predictions) expect(Math.abs(scores.ham + scores.spam - 1)).toBeLessThan(1e-6);
}
