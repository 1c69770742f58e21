/** `tunesmith predict`: thousands of lines, columns that are copied, and folders that are no bundles. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { project } from '../../rig.ts';
import { makeBundle, makeModel, referenceScores, remove } from '../../steps/serving/bundle.ts';

let model: string;

let bundle: string;

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
});

afterAll(() => remove(model, bundle));

test('thousands of lines of all lengths keep their order', async () => {
  const many = Array.from({ length: 5000 }, (_, i) => `${i} ${'word '.repeat(i % 23)}`);
  const { stdout } = await project().feed(many.join('\n'), 'predict', bundle, '-', '--format', 'lines');
  expectScores(stdout, await referenceScores(bundle, many.slice(0, 60)), many.length);
  const again = await project().feed(many.slice(4000).reverse().join('\n'), 'predict', bundle, '-', '--format', 'lines');
  const [last, first] = [stdout.trim().split('\n').at(-1)!, again.stdout.split('\n')[0]!].map((line) => JSON.parse(line));
  for (const label of ['ham', 'spam']) expect(first.scores[label]).toBeCloseTo(last.scores[label], 5);
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
