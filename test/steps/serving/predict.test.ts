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
