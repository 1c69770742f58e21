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

test('SageMaker: odd bodies and types', async () => {
  const answers = async (body: string, type: string, accept?: string) => {
    const { status, text } = await invoke(body, type, accept);
    return status === 200 ? text.trimEnd().split('\n').length : status;
  };
  // Lines without a record, a byte order mark, a text with a line break and quotes.
  expect(await answers('\ufeff\n \t\n"a"\n\r\n{"text": "b\\nc"}\n\n', 'application/x-ndjson; charset=utf-8')).toBe(2);
  const one = await invoke(TEXTS[0], 'text/csv; header=absent');
  expect(one.status).toBe(400);
  const quoted = `\ufeff"${TEXTS[0]!.replaceAll('"', '""')}"\n"See you\nat 7."\n""\n`;
  const csv = await invoke(quoted, 'TEXT/CSV; charset=utf-8', 'application/json');
  expect(csv.json()).toEqual({ predictions: expected });
  // Answers are in the order of the records, whatever is accepted.
  for (const [accept, type] of [
    ['*/*', 'text/csv'],
    ['', 'text/csv'],
    ['application/*', 'application/json'],
    ['text/*;q=0.2, application/jsonlines', 'application/jsonlines'],
    ['application/jsonlines;verbose=true', 'application/jsonlines'],
  ])
    expect((await invoke(quoted, 'text/csv', accept)).type, accept).toContain(type);
  expect(await answers('"a"', 'application/jsonlines', 'application/json;q=0')).toBe(406);
  for (const type of ['application/octet-stream', 'text/libsvm', 'multipart/form-data; boundary=x', 'nonsense'])
    expect(await answers('a', type), type).toBe(415);
  expect(await answers('', 'application/jsonlines')).toBe(1);
});

test('SageMaker: a batch has more records than a request for /predict', async () => {
  const texts = Array.from({ length: 2500 }, (_, i) => TEXTS[i % 3]!);
  const { predictions } = (await invoke(texts)).json();
  expect(predictions).toHaveLength(2500);
  expect(predictions.slice(1998, 2001)).toEqual([expected[0], expected[1], expected[2]]);
  expect((await invoke([...texts, 7])).json().detail).toContain('record 2501 must be a string');
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
