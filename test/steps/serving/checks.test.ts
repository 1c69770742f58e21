/** Inconsistent files of a bundle are detected when the server starts; a model accepts what it was trained on. */
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startServer } from '../../../steps/serving/serve.ts';
import { project } from '../../rig.ts';
import { temporary } from '../rig.ts';
import { type Folder, folderOf, makeBundle, makeModel, remove, small } from './bundle.ts';

let model: string;

let bundle: string;

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
});

afterAll(() => remove(model, bundle));

const edited = (name: string, changes: object) => JSON.stringify({ ...JSON.parse(readFileSync(join(bundle, name), 'utf8')), ...changes });

/** A copy of the bundle with one file replaced. */
function withFile(name: string, content: string): string {
  const folder = temporary();
  cpSync(bundle, folder, { recursive: true });
  writeFileSync(join(folder, name), content);
  return folder;
}

test.each<Invalid>([
  ['config.json', () => '{"model_type": "be', /config.json/],
  ['training.json', () => '{"max_length": 1}', /max_length is 1/],
  ['preprocessing.json', () => '{"version": 9}', /version 9/],
  ['tokenizer.json', () => '{"version": "1.0"', /tokenizer/],
  ['tokenizer_config.json', () => 'null', /tokenizer_config.json/],
  ['onnx/model.onnx', () => 'not a model', /ONNX model/],
  ['config.json', () => edited('config.json', { vocab_size: 100 }), /embedding table has only 100 rows/],
])('an invalid %s (%#) is detected at the start', detected);

type Invalid = [file: string, content: () => string, message: RegExp];

async function detected(...[name, content, message]: Invalid): Promise<void> {
  await expect(startServer(withFile(name, content()), { port: 0 })).rejects.toMatchObject({
    name: 'UnusableError',
    message: expect.stringMatching(message),
  });
}

test('an ONNX model with fewer positions than config.json declares is detected at the start; the command exits with 2', async () => {
  const folder = withFile('config.json', edited('config.json', { max_position_embeddings: 64 }));
  writeFileSync(join(folder, 'training.json'), '{"max_length": 64}');
  const p = project();
  const { code, screen } = await p.run('serve', folder, '--port', '0');
  expect({ code, screen }).toEqual({
    code: 2,
    screen: expect.stringMatching(/cannot read a batch of 1 × 64 tokens[\s\S]*deploy the bundle again/),
  });
  expect(screen).not.toMatch(/^\s+at /m);
});

const classifier: Folder = {
  config: { ...small, model_type: 'bert' },
  tokenizer: 'bert-uncased',
  start: { task: 'text-classification', labels: ['a', 'b'] },
};

test.each([
  ['single texts', { max_length: 16 }, { text: 200, pair: 400 }, ['text']],
  ['pairs', { max_length: 16, pairs: true }, { text: 400, pair: 200 }, ['text', 'text_pair']],
  ['what is not known', undefined, { text: 200, pair: 200 }, ['text', 'text_pair']],
])('a model of %s', async (_, training, statuses, fields) => {
  const folder = await folderOf(classifier);
  if (training) writeFileSync(join(folder, 'training.json'), JSON.stringify(training));
  else rmSync(join(folder, 'training.json'), { force: true });
  const server = await startServer(folder, { port: 0 });
  const post = async (inputs: unknown) => {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${server.url}/predict`, { method: 'POST', headers, body: JSON.stringify({ inputs }) });
    return { status: response.status, body: await response.text() };
  };
  const text = await post('the cat');
  const pair = await post({ text: 'the cat', text_pair: 'the mat' });
  expect({ text: text.status, pair: pair.status }).toEqual(statuses);
  if (pair.status === 400) expect(pair.body).toContain('trained on single texts');
  if (text.status === 400) expect(text.body).toContain('text and text_pair');
  const { Request } = (await (await fetch(`${server.url}/openapi.json`)).json()).components.schemas;
  const [input] = Request.properties.inputs.anyOf;
  expect(Object.keys((input.anyOf?.[1] ?? input).properties)).toEqual(fields);
  const page = await (await fetch(server.url)).text();
  expect(page.match(/<textarea id="(\w+)"/g)?.map((one) => one.slice(14, -1))).toEqual(fields);
  await server.close();
});

test('predict rejects a second text if the model was not trained with one', async () => {
  const p = project({ 'pairs.jsonl': '{"text": "a"}\n{"text": "a", "text_pair": "b"}\n' });
  const { code, screen } = await p.run('predict', bundle, 'pairs.jsonl');
  expect(code).toBe(1);
  expect(screen).toContain('trained on single texts, and does not accept text_pair');
});

test('records cannot be written to a file: the command exits with 2', async () => {
  const p = project({ 'records.csv': 'mine' });
  const { code, screen } = await p.run('serve', bundle, '--port', '0', '--record', 'records.csv');
  expect({ code, screen }).toEqual({ code: 2, screen: expect.stringContaining('--record records.csv: it is not a folder') });
  expect(p.read('records.csv')).toBe('mine');
});
