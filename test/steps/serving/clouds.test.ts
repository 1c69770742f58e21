/** The protocols of cloud platforms. test/optional/targets.test.ts plays the platforms against the images of `deploy`. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../../../steps/serving/serve.ts';
import { post } from '../../targets.ts';
import { makeBundle, makeModel, remove } from './bundle.ts';

const TEXTS = ['Buy <b>now</b>, "today"', 'See you\nat 7.', ''];

let model: string;
let bundle: string;
let server: RunningServer;
let expected: { label: string; scores: Record<string, number> }[];

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
  process.env.AIP_PREDICT_ROUTE = '/predict';
  server = await startServer(bundle, { port: 0, api: ['sagemaker', 'azureml'], say: () => {} });
  expected = (await post(`${server.url}/predict`, { inputs: TEXTS })).json().predictions;
});
afterAll(async () => {
  delete process.env.AIP_PREDICT_ROUTE;
  await server.close();
  remove(model, bundle);
});

const invoke = (body: unknown, type?: string, accept?: string) =>
  post(`${server.url}/invocations`, body, { ...(type !== undefined && { type }), ...(accept !== undefined && { accept }) });

test('SageMaker: JSON with one record or many', async () => {
  expect((await fetch(`${server.url}/ping`)).status).toBe(200);
  for (const body of [TEXTS, { instances: TEXTS }, { inputs: TEXTS }, { instances: TEXTS.map((text) => ({ text })) }])
    expect((await invoke(body)).json()).toEqual({ predictions: expected });
  for (const body of [JSON.stringify(TEXTS[0]), { text: TEXTS[0] }, { inputs: TEXTS[0] }])
    expect((await invoke(body)).json()).toEqual({ predictions: [expected[0]] });
});

test('SageMaker: JSON Lines and CSV, and the answer in the accepted type', async () => {
  const lines = await invoke(`${JSON.stringify(TEXTS[0])}\n\n${JSON.stringify({ text: TEXTS[1] })}\r\n""`, 'application/jsonlines');
  expect(lines.type).toContain('application/jsonlines');
  expect(
    lines.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual(expected);

  const csv = TEXTS.map((text) => `"${text.replaceAll('"', '""')}"`).join('\r\n');
  const rows = await invoke(csv, 'text/csv');
  expect(rows.type).toContain('text/csv');
  expect(rows.text).toBe(expected.map(({ label, scores }) => `${[label, ...Object.values(scores)].join(',')}\n`).join(''));
  expect((await invoke(`other,text\n1,${csv.split('\r\n')[0]}\n`, 'text/csv; header=present')).json().detail).toContain(
    'unknown field "other"',
  );
  expect((await invoke(`text\n${csv}`, 'text/csv; header=present', 'application/json')).json()).toEqual({ predictions: expected });
  expect((await invoke(TEXTS, 'application/json', 'text/html, text/csv;q=0.5, application/json;q=0.1')).text).toBe(rows.text);
});

test('SageMaker: an invalid record is refused with its place', async () => {
  expect(await invoke(['a', 7])).toMatchObject({ status: 400 });
  expect((await invoke({ instances: ['a', 7] })).json().detail).toBe(
    '"instances[1]" must be a string or an object with text, not a number',
  );
  expect((await invoke('"a"\n{"text": 1}', 'application/jsonlines')).json().detail).toBe('"text" of line 2 must be a string, not a number');
  expect((await invoke('"a"\nb', 'application/jsonlines')).json().detail).toMatch(/^line 2: it is not JSON/);
  expect((await invoke('a\nb,c\n', 'text/csv')).json().detail).toBe('line 2 has 2 columns instead of 1: text');
  expect((await invoke('a\n"b', 'text/csv')).json().detail).toMatch(/^line 2: /);
  expect(await invoke('a', 'text/plain')).toMatchObject({ status: 415 });
  expect(await invoke(['a'], 'application/json', 'image/png')).toMatchObject({ status: 406 });
  expect((await invoke({ instances: ['a'], parameters: { top_k: 1 } })).json().detail).toContain('"parameters.top_k" is not supported');
});

test('Vertex AI: a path of the platform takes precedence over ours', async () => {
  const own = await startServer(bundle, { port: 0, api: ['vertex'], say: () => {} });
  expect((await post(`${own.url}/predict`, { instances: TEXTS, parameters: null })).json()).toEqual({ predictions: expected });
  expect((await fetch(`${own.url}/vertex/health`)).status).toBe(200);
  for (const body of [{}, { instances: 'a' }, { instances: ['a'], more: 1 }, [], { instances: [['a']] }])
    expect((await post(`${own.url}/predict`, body)).status).toBe(400);
  await own.close();
});

test('Azure Machine Learning: lists, and tables as MLflow writes them', async () => {
  const score = (body: unknown) => post(`${server.url}/score`, body);
  const table = { columns: ['text'], index: [0, 1, 2], data: TEXTS.map((text) => [text]) };
  for (const body of [{ input_data: TEXTS }, { data: TEXTS }, { input_data: table }]) expect((await score(body)).json()).toEqual(expected);
  expect((await score({ input_data: { ...table, data: [['a', 'b']] } })).json().detail).toBe(
    '"input_data.data[0]" has 2 values instead of 1',
  );
  for (const path of ['live', 'ready']) expect((await fetch(`${server.url}/${path}`)).status).toBe(200);
});
