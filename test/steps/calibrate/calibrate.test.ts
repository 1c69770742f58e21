/** A calibrated model by the real command: what calibrate fits is what evaluate, predict and serve apply. */
import { mkdirSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { startServer } from '../../../steps/serving/serve.ts';
import { sharedProject } from '../../rig.ts';
import { allRows } from '../../table.ts';
import { modelOf } from '../small.ts';

const PIPELINE = `
name: calibrated
steps:
  collect: { uses: collect, with: { files: rows.csv } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.4, 0.3, 0.3], key: [id] } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: model, max_length: 16 } }
  train:
    uses: train
    resources: { cpu: 1 }
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: model, task: text-classification, epochs: 6, batch_size: 8, learning_rate: 0.005, dropout: 0 }
  calibrate:
    uses: calibrate
    resources: { cpu: 1 }
    with:
      model: "\${{ steps.train.model }}"
      tokens: "\${{ steps.tokenize.tokens }}"
      data: "\${{ steps.split.data }}"
      threshold: { maximize: f1 }
      group: source
  before: { uses: evaluate, resources: { cpu: 1 }, with: { model: "\${{ steps.train.model }}", tokens: "\${{ steps.tokenize.tokens }}", metrics: [ece, log_loss, f1] } }
  test:
    uses: evaluate
    resources: { cpu: 1 }
    with: { model: "\${{ steps.calibrate.model }}", tokens: "\${{ steps.tokenize.tokens }}", data: "\${{ steps.split.data }}", metrics: [ece, log_loss, f1] }
  deploy: { uses: deploy, resources: { cpu: 1 }, with: { model: "\${{ steps.calibrate.model }}", metrics: "\${{ steps.test.metrics }}" } }
`;

/** Texts of a few words, a quarter of which have the wrong label: a model that learns them by heart is too sure of itself. */
function rows(): string {
  const lines = ['id,source,text,label'];
  for (let i = 0; i < 300; i++) {
    const spam = i % 3 === 0;
    const words = [0, 1, 2].map((k) => `${spam ? 'buy' : 'lunch'}${(i * 7 + k * 3) % 5}`);
    const wrong = (i * 37) % 100 < (i % 2 === 0 ? 15 : 30);
    lines.push(`${i},${i % 10 === 9 ? '' : ['mail', 'web'][i % 2]},${words.join(' ')} n${i},${spam !== wrong ? 'spam' : 'ham'}`);
  }
  return `${lines.join('\n')}\n`;
}

const vocabulary = [
  'buy',
  'lunch',
  'n',
  '0',
  '1',
  '2',
  '3',
  '4',
  '5',
  '6',
  '7',
  '8',
  '9',
  ...Array.from({ length: 300 }, (_, i) => `n${i}`),
];
const words = [...vocabulary, ...[0, 1, 2, 3, 4].flatMap((i) => [`buy${i}`, `lunch${i}`])];
const p = sharedProject({ 'p.yaml': PIPELINE, 'rows.csv': rows() });
const outputs = '.tunesmith/outputs/calibrated';
const json = (file: string) => JSON.parse(p.read(`${outputs}/${file}`));

/** The predictions of an evaluate step: id, text, source, prediction and scores. */
let predictions: { id: string; text: string; source: string | null; prediction: string; scores: Record<string, number> }[];

beforeAll(async () => {
  mkdirSync(p.path('model'));
  const size = { hidden_size: 32, num_hidden_layers: 1, intermediate_size: 32, max_position_embeddings: 32, initializer_range: 0.2 };
  modelOf(words, size, p.path('model'));
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code, screen).toBe(0);
  predictions = (await allRows(p.path(`${outputs}/test/predictions`))) as typeof predictions;
});

test('the calibration error and the loss of a model that is too sure of itself fall, on validation and on test', () => {
  const { temperature, ece, fitted_on } = json('calibrate/model/calibration.json');
  expect(temperature).toBeGreaterThan(1);
  expect(ece.after).toBeLessThan(ece.before);
  expect(fitted_on).toBe('validation');
  const { metrics } = json('calibrate/metrics');
  expect(metrics).toMatchObject({ temperature, ece: ece.after, ece_before: ece.before });
  expect(metrics.log_loss).toBeLessThan(metrics.log_loss_before);
  const [before, after] = [json('before/metrics').metrics, json('test/metrics').metrics];
  expect(after.ece).toBeLessThan(before.ece);
  expect(after.log_loss).toBeLessThan(before.log_loss);
});

test('evaluate predicts by the threshold of the group; its metrics and predictions agree', () => {
  const { group, thresholds, group_thresholds: groups } = json('calibrate/model/calibration.json');
  expect([group, Object.keys(groups), Object.keys(thresholds)]).toEqual(['source', ['mail', 'web'], ['spam']]);
  for (const { source, prediction, scores } of predictions) {
    const { spam } = source === null ? thresholds : groups[source];
    expect(prediction).toBe(scores.spam! >= spam ? 'spam' : 'ham');
  }
  expect(predictions.some(({ source }) => source === null)).toBe(true);
  const { confusion_matrix } = json('test/metrics');
  const claimed = predictions.filter(({ prediction }) => prediction === 'spam').length;
  expect(confusion_matrix[0][1] + confusion_matrix[1][1]).toBe(claimed);
});

test('predict and serve give the labels and the scores of evaluate, from raw texts', async () => {
  const expected = predictions.map(({ id, prediction, scores }) => ({ id, label: prediction, scores: close(scores) }));
  const bundle = `${outputs}/deploy/bundle`;
  const fields = predictions.map(({ id, text, source }) => ({ id, text, source }));
  p.write('test.csv', `id,source,text\n${fields.map(({ id, text, source }) => `${id},${source ?? ''},${text}\n`).join('')}`);
  const { code, stdout, stderr } = await p.run('predict', bundle, 'test.csv');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const answers = stdout.trimEnd().split('\n');
  expect(answers.map((line) => JSON.parse(line))).toEqual(expected);
  const objects = fields.map((row) => JSON.stringify(row));
  for (const [file, content] of [
    ['test.jsonl', objects.join('\n')],
    ['test.json', `[${objects.join(',')}]`],
  ] as const) {
    p.write(file, content);
    expect(await p.run('predict', bundle, file)).toMatchObject({ code: 0, stdout });
  }
  const server = await startServer(p.path(bundle), { port: 0 });
  try {
    const post = async (inputs: unknown) => {
      const response = await fetch(`${server.url}/predict`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ inputs }),
      });
      return [response.status, await response.json()];
    };
    const inputs = fields.map(({ text, source }) => ({ text, source }));
    expect(await post(inputs)).toEqual([200, { predictions: expected.map(({ id: _, ...answer }) => answer) }]);
    expect(await post({ text: 'buy1' })).toMatchObject([
      400,
      { error: { message: '"inputs" has no "source", which decides the thresholds of the model; null means that the value is missing' } },
    ]);
    expect(await post('buy1')).toMatchObject([
      400,
      { error: { message: '"inputs" must be an object with text and source or a list of such objects, not a string' } },
    ]);
    const [status, unknown] = await post({ text: fields[0]!.text, source: 'fax' });
    const { thresholds } = json('calibrate/model/calibration.json');
    const { label, scores } = unknown.predictions[0];
    expect([status, label]).toEqual([200, scores.spam >= thresholds.spam ? 'spam' : 'ham']);
    const nothing = await post({ text: fields[0]!.text, source: null });
    expect(nothing).toEqual([200, unknown]);
    const openapi: any = await (await fetch(`${server.url}/openapi.json`)).json();
    const [input] = openapi.components.schemas.Request.properties.inputs.anyOf;
    expect(input.required).toEqual(['text', 'source']);
    expect(input.properties.source.type).toEqual(['string', 'number', 'boolean', 'null']);
    expect(openapi.components.schemas.Prediction.properties.label.description).toContain('the threshold for the `source` of the input');
    const page = await (await fetch(server.url)).text();
    expect(page).toContain('<input id="group" data-field="source" data-group list="groups"');
    expect(page).toContain('<option value="mail"></option><option value="web"></option>');
  } finally {
    await server.close();
  }
});

test('predict needs the column of the groups', async () => {
  const refused = async (file: string, content: string) => {
    p.write(file, content);
    const { code, stderr } = await p.run('predict', `${outputs}/deploy/bundle`, file);
    expect(code).toBe(1);
    return stderr;
  };
  const why = 'The thresholds of the model depend on this field. If its value is missing, write';
  const csv = await refused('no-source.csv', 'id,text\n1,buy1\n');
  expect(csv).toContain('no-source.csv:1: no column "source": it has id, text');
  expect(csv).toContain(`${why} an empty field.`);
  const jsonl = await refused('no-source.jsonl', '{"text": "buy1"}\n');
  expect(jsonl).toContain('no-source.jsonl:1: no field "source": it has text');
  expect(jsonl).toContain(`${why} null.`);
});

test('the model card describes the calibration, and `show` prints it', async () => {
  const card = p.read(`${outputs}/deploy/bundle/README.md`);
  expect(card).toContain('## Calibration\n\nThe logits are divided by the temperature');
  expect(card).toMatch(
    /\| `source` \| label \| threshold \|\n\| --- \| --- \| --- \|\n\| mail \| spam \| 0\.\d+ \|\n\| web \| spam \| 0\.\d+ \|\n\| any other value, or none \| spam \| 0\.\d+ \|/,
  );
  expect(card).toContain(`-d '{"inputs":{"text":"a text","source":"…"}}'`);
  expect(card).not.toContain('pipeline("text-classification"');
  const { stdout } = await p.run('show', `${outputs}/calibrate/model`);
  expect(stdout).toContain('calibration.json: JSON');
});

const close = (scores: Record<string, number>) =>
  Object.fromEntries(Object.entries(scores).map(([label, score]) => [label, expect.closeTo(score, 5)]));
