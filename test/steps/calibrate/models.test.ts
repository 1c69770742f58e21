/** What calibrate puts out for each kind of model, what it refuses, and which steps carry or drop a calibration. */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import calibrate from '../../../steps/calibrate/step.ts';
import evaluate from '../../../steps/evaluate/step.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { tableOf, writeTable } from '../../../steps/ml/data/table.ts';
import { labelByThreshold } from '../../../steps/ml/models/calibration.ts';
import type { ProblemType } from '../../../steps/ml/models/config.ts';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { readSafetensors, writeSafetensors } from '../../../steps/ml/models/safetensors.ts';
import { preview } from '../../../steps/preview/preview.ts';
import reduce from '../../../steps/reduce/step.ts';
import select from '../../../steps/select/step.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import train from '../../../steps/train/step.ts';
import { allRows } from '../../table.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { rows, smallModel } from '../small.ts';

/** Every seventh label outside of train is wrong, so that no threshold is perfect. */
function noisy(labels = ['bad', 'good']): Record<string, string>[] {
  return rows({ train: 60, validation: 60, test: 30 }, labels).map((row, i) => {
    const label = row.split !== 'train' && i % 7 === 0 ? labels[(labels.indexOf(row.label!) + 1) % labels.length]! : row.label!;
    return { ...row, label, source: i % 3 === 0 ? 'web' : 'mail', few: i % 25 === 0 ? 'rare' : 'usual', number: String(i % 2) };
  });
}

/** A trained model, its tokens and its data. */
async function trained(): Promise<{ model: string; tokens: string; data: string }> {
  if (!existsSync(join(kept, 'model'))) {
    const base = smallModel();
    const data = await table(noisy());
    const { outputs } = await ranStep(tokenize, { max_length: 24 }, { data, model: base });
    const options = { task: 'text-classification', epochs: 3, learning_rate: 0.02, batch_size: 4, runtime: 'eager' };
    const ran = await ranStep(train, options, { model: base, tokens: outputs.tokens! });
    for (const [name, folder] of Object.entries({ model: ran.outputs.model!, tokens: outputs.tokens!, data }))
      cpSync(folder, join(kept, name), { recursive: true });
  }
  const copy = temporary();
  cpSync(kept, copy, { recursive: true });
  return { model: join(copy, 'model'), tokens: join(copy, 'tokens'), data: join(copy, 'data') };
}

const kept = mkdtempSync(join(tmpdir(), 'tunesmith-step-'));
afterAll(() => rmSync(kept, { recursive: true }));

/** A model with random weights, and tokens. */
async function untrained(data: Record<string, unknown>[], options: object, labels: string[], problem: ProblemType) {
  const model = smallModel();
  const folder = await table(data);
  const { outputs } = await ranStep(tokenize, { max_length: 24, ...options }, { data: folder, model });
  await saveModel(model, await startModel(model, { task: 'text-classification', problem, labels, seed: 1, say: () => {} }));
  return { model, tokens: outputs.tokens!, data: folder };
}

async function calibrated(inputs: { model: string; tokens: string; data?: string }, options: object = {}) {
  const ran = await ranStep(calibrate, { runtime: 'eager', ...options }, inputs);
  const read = (file: string) => JSON.parse(readFileSync(file, 'utf8'));
  return { ...ran, calibration: read(join(ran.outputs.model!, 'calibration.json')), report: read(ran.outputs.metrics!) };
}

async function predictionsOf(inputs: { model: string; tokens: string; data?: string }) {
  return allRows((await ranStep(evaluate, { runtime: 'eager', split: 'validation' }, inputs)).outputs.predictions!);
}

test('the output is the same model with calibration.json; without a threshold no prediction changes', async () => {
  const inputs = await trained();
  const { calibration, outputs, report, metrics, result } = await calibrated(inputs);
  expect(readdirSync(outputs.model!).sort()).toEqual([...readdirSync(inputs.model), 'calibration.json'].sort());
  expect(readFileSync(join(outputs.model!, 'model.safetensors'))).toEqual(readFileSync(join(inputs.model, 'model.safetensors')));
  const { temperature } = calibration;
  expect(calibration).toEqual({ temperature, fitted_on: 'validation', rows: 60, ece: { before: metrics.ece_before, after: metrics.ece } });
  expect(report).toMatchObject({ split: 'validation', rows: 60, metrics });
  expect(result).toMatch(/^temperature [\d.]+: ECE [\d.]+ → [\d.]+$/);
  const [before, after] = [await predictionsOf(inputs), await predictionsOf({ ...inputs, model: outputs.model! })];
  expect(after.map(({ prediction }) => prediction)).toEqual(before.map(({ prediction }) => prediction));
  const logOdds = ({ scores: { bad, good } }: (typeof before)[number]) => Math.log(good / bad);
  for (const [i, row] of after.entries()) expect(logOdds(row) * temperature).toBeCloseTo(logOdds(before[i]!), 4);
});

test.each([
  ['positive is the last label', {}, 'good'],
  ['positive is set', { positive: 'bad' }, 'bad'],
])('a threshold for the positive label: %s', async (_, more, positive) => {
  const inputs = await trained();
  const { calibration, outputs, report, metrics } = await calibrated(inputs, { threshold: { precision: '>= 0.5' }, ...more });
  expect(Object.keys(calibration.thresholds)).toEqual([positive]);
  expect(metrics.threshold).toBe(calibration.thresholds[positive]);
  const rows = await predictionsOf({ ...inputs, model: outputs.model! });
  for (const { prediction, scores } of rows) expect(prediction === positive).toBe(scores[positive] >= metrics.threshold!);
  const claimed = rows.filter(({ prediction }) => prediction === positive);
  const hits = claimed.filter(({ label }) => label === positive).length;
  expect(report.thresholds).toEqual([expect.objectContaining({ label: positive, precision: hits / claimed.length, rows: 60 })]);
  const shown = await preview(outputs.metrics!, 20);
  expect(shown.map(({ title }) => title)).toEqual([
    'metrics of the split validation, 60 rows',
    'thresholds',
    expect.stringMatching(/^JSON/),
  ]);
  expect(shown[1]!.table!.rows).toEqual([
    [positive, metrics.threshold!.toFixed(4), ...Array(3).fill(expect.stringMatching(/^[01]\.\d{4}$/)), '60', expect.any(String)],
  ]);
});

test('values with too few rows have the thresholds of all rows, and the metrics say so', async () => {
  const inputs = await trained();
  const { calibration, warnings, report, outputs } = await calibrated(inputs, { threshold: { maximize: 'mcc' }, group: 'few' });
  expect(Object.keys(calibration.group_thresholds)).toEqual(['usual']);
  const why = expect.stringContaining('of at least 20 rows');
  expect(report.undefined).toEqual({ 'few = rare': why });
  expect(warnings).toEqual([expect.stringMatching(/^no threshold of their own have few = rare \(it has \d of at least 20 rows/)]);
  for (const { few, prediction, scores } of await predictionsOf({ ...inputs, model: outputs.model! })) {
    const { good } = few === 'rare' ? calibration.thresholds : calibration.group_thresholds.usual;
    expect(prediction).toBe(scores.good >= good ? 'good' : 'bad');
  }
});

test('the values of a column of numbers are numbers, and those of a column of texts are texts', async () => {
  const { model, tokens } = await trained();
  const data = temporary();
  const database = await Database.open();
  const source = tableOf(await table(noisy()));
  const columns = "(source = 'web')::BIGINT AS digit, CASE source WHEN 'web' THEN '1' ELSE 'none' END AS text_digit";
  await database.run(`CREATE TABLE numbers AS SELECT *, ${columns} FROM ${source}`);
  await writeTable(database, 'numbers', data);
  database.close();
  const threshold = { maximize: 'f1' };
  const { calibration } = await calibrated({ model, tokens, data }, { threshold, group: 'digit' });
  expect([calibration.group_type, Object.keys(calibration.group_thresholds)]).toEqual(['number', ['0', '1']]);
  const texts = await calibrated({ model, tokens, data }, { threshold, group: 'text_digit' });
  expect([texts.calibration.group_type, Object.keys(texts.calibration.group_thresholds)]).toEqual([undefined, ['1', 'none']]);
});

test.each([
  ['number', ['1', '1.0', ' +1 ', '1e0'], ['01a', 'x', '', '1.5', 'true']],
  ['boolean', ['true', 'True', '1'], ['false', '2', 'yes', '']],
  [undefined, [], ['1.0', 'True', '01']],
] as const)('a value of a group of the type %s is read as in the data', (group_type, own, others) => {
  const about = { temperature: 1, group: 'g', fitted_on: 'validation', rows: 9, ece: { before: 0, after: 0 }, thresholds: { good: 0.9 } };
  const keys = group_type === undefined ? ['1', 'true'] : [group_type === 'number' ? '1' : 'true'];
  const group_thresholds = Object.fromEntries(keys.map((key) => [key, { good: 0.1 }]));
  const labelOf = (group?: string) =>
    labelByThreshold([0.5, 0.5], ['bad', 'good'], { ...about, ...(group_type && { group_type }), group_thresholds }, group);
  expect(own.map((value) => labelOf(value))).toEqual(own.map(() => 1));
  expect([...others, undefined].map((value) => labelOf(value))).toEqual([...others, undefined].map(() => 0));
});

test('any number of labels: a threshold for each label, or one for all', async () => {
  const data = noisy().map(({ label, ...row }, i) => ({
    ...row,
    bad: label === 'bad' ? '1' : '0',
    odd: i % 3 === 0 ? '1' : '0',
    never: '0',
  }));
  const labels = ['bad', 'odd', 'never'];
  const options = { problem_type: 'multi_label_classification', label: labels };
  const inputs = await untrained(data, options, labels, 'multi_label_classification');
  const each = await calibrated(inputs, { temperature: false, threshold: { maximize: 'f1' } });
  expect([each.calibration.temperature, Object.keys(each.calibration.thresholds)]).toEqual([1, ['bad', 'odd']]);
  expect(each.report.undefined).toEqual({ never: 'no row has it' });
  expect(each.warnings).toEqual(['no threshold of their own have never (no row has it); their labels are predicted from 0.5 on']);
  const grouped = await calibrated(inputs, { temperature: false, threshold: { maximize: 'f1' }, group: 'few' });
  expect(grouped.warnings).toEqual([
    ...each.warnings,
    expect.stringMatching(/^no threshold of their own have few = rare \(.*\); they have the thresholds of all rows$/),
  ]);
  for (const { prediction, scores } of await predictionsOf({ ...inputs, model: each.outputs.model! }))
    expect(prediction).toEqual(labels.filter((label) => scores[label] >= (each.calibration.thresholds[label] ?? 0.5)));
  const all = await calibrated(inputs, { threshold: { recall: '>= 0.8' }, per_label: false });
  expect(new Set(Object.values(all.calibration.thresholds)).size).toBe(1);
  expect(Object.keys(all.calibration.thresholds)).toEqual(labels);
  expect(all.report.thresholds).toEqual([expect.objectContaining({ label: 'all labels', rows: 180 })]);
});

test('more than two labels: a temperature, and no threshold', async () => {
  const labels = ['bad', 'good', 'odd'];
  const inputs = await untrained(noisy(labels), {}, labels, 'single_label_classification');
  expect((await calibrated(inputs)).calibration).toEqual({
    temperature: expect.any(Number),
    fitted_on: 'validation',
    rows: 60,
    ece: expect.anything(),
  });
  await expect(calibrated(inputs, { threshold: { maximize: 'f1' } })).rejects.toThrow(
    '`threshold` needs two labels, or texts with any number of labels, and there are 3 labels of which a text has one',
  );
});

test.each<[string, object, string]>([
  ['a label that does not exist', { threshold: { maximize: 'f1' }, positive: 'ugly' }, 'no label is "ugly"'],
  ['a split that is not there', { split: 'dev' }, 'the tokens have no split "dev"'],
  ['a column that is not there', { threshold: { maximize: 'f1' }, group: 'nowhere' }, 'the data have no column `nowhere`'],
  ['the text as a group', { threshold: { maximize: 'f1' }, group: 'text' }, 'inputs of the model have another field `text`'],
  ['a group of single rows', { threshold: { maximize: 'f1' }, group: 'id' }, 'no value of `id` can get thresholds of its own'],
  [
    'the label as a group',
    { threshold: { maximize: 'f1' }, group: 'label' },
    'no value of `label` can get thresholds of its own: good for label = bad (no row has it)',
  ],
])('refused: %s', async (_, options, message) => {
  await expect(calibrated(await trained(), options)).rejects.toThrow(message);
});

test('refused: a group without data, one label only, a number, tokens of another model, and scores that are not numbers', async () => {
  const { model, tokens, data } = await trained();
  await expect(calibrated({ model, tokens }, { threshold: { maximize: 'f1' }, group: 'source' })).rejects.toThrow(
    '`group` needs the input `data`',
  );
  const grouped = await calibrated({ model, tokens, data }, { threshold: { maximize: 'f1' }, group: 'source' });
  await expect(predictionsOf({ model: grouped.outputs.model!, tokens })).rejects.toThrow(
    'the thresholds of the model depend on the column `source`, so evaluate needs the input `data`',
  );

  const ids = noisy().filter(({ split, label }) => split !== 'validation' || label === 'good');
  const one = await untrained(ids, {}, ['bad', 'good'], 'single_label_classification');
  await expect(calibrated(one)).rejects.toThrow(/all \d+ rows of the split "validation" have the label "good": nothing can be fitted/);

  const numbers = await untrained(noisy(), { problem_type: 'regression', label: 'number' }, ['score'], 'regression');
  await expect(calibrated(numbers)).rejects.toThrow('calibrate does not apply to regression: a predicted number is not a probability');

  const other = await untrained(noisy(['bad', 'odd']), {}, ['bad', 'odd'], 'single_label_classification');
  await expect(calibrated({ model, tokens: other.tokens })).rejects.toThrow('the model does not know the label odd, which the tokens have');

  const file = join(model, 'model.safetensors');
  const tensors = await readSafetensors(file);
  await writeSafetensors(file, {
    ...tensors,
    'classifier.weight': { ...tensors['classifier.weight']!, bytes: huge(tensors['classifier.weight']!.bytes) },
  });
  await expect(calibrated({ model, tokens })).rejects.toThrow('the model outputs scores that are not finite numbers');
});

/** As many bytes, of float32 numbers whose sums are infinite. */
const huge = (bytes: Uint8Array): Uint8Array => new Uint8Array(new Float32Array(bytes.byteLength / 4).fill(3e38).buffer);

test('train and reduce drop a calibration and say so; select carries it', async () => {
  const inputs = await trained();
  const { outputs } = await calibrated(inputs);
  const model = outputs.model!;
  const options = { task: 'text-classification', epochs: 1, max_steps: 1, runtime: 'eager' };
  const further = await ranStep(train, options, { ...inputs, model });
  expect(existsSync(join(further.outputs.model!, 'calibration.json'))).toBe(false);
  expect(further.log).toContain('the calibration.json of the model is dropped: it belongs to the weights before this training');
  const smaller = await ranStep(reduce, { dtype: 'float16' }, { model });
  expect(existsSync(join(smaller.outputs.model!, 'calibration.json'))).toBe(false);
  expect(smaller.warnings).toEqual([expect.stringContaining('the calibration.json of the model is dropped')]);
  const origin = [{ cell: 'calibrate', matrix: {} }];
  const picked = await ranStep(select, { minimize: 'ece' }, { from: [outputs.metrics!], pick: [model] }, { from: origin, pick: origin });
  expect(readFileSync(join(picked.outputs.pick!, 'calibration.json'), 'utf8')).toBe(readFileSync(join(model, 'calibration.json'), 'utf8'));
});

test.each([
  ['{"temperature": 0}', 'has no positive number `temperature`'],
  ['{"temperature": 2, "thresholds": {"good": "0.5"}}', 'has thresholds that are not numbers'],
  ['{"temperature": 2, "thresholds": {"ugly": 0.5}}', 'has a threshold for the label "ugly", which the model does not have'],
  ['{"temperature": 2, "thresholds": {"good": 0.5, "bad": 0.5}}', 'must have one threshold, for one of two labels'],
  ['{"temperature": 2, "group": "source"}', 'has a `group`, but no thresholds for its values'],
  ['{"temperature"', 'is not JSON'],
])('a damaged calibration.json is refused: %s', async (text, message) => {
  const inputs = await trained();
  writeFileSync(join(inputs.model, 'calibration.json'), text);
  await expect(predictionsOf(inputs)).rejects.toThrow(message);
});
