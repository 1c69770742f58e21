/** drift: what it finds, what it does not find, and what it says about few rows and undefined figures. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import clean from '../../../steps/clean/step.ts';
import drift from '../../../steps/drift/step.ts';
import { testEmbeddings, testTexts } from '../../../steps/drift/two-sample.ts';
import { fairCoinCdf } from '../../../steps/ml/metrics/distributions.ts';
import { figuresIn } from '../../../steps/ml/metrics/metrics-file.ts';
import { normal, random } from '../../../steps/ml/models/random.ts';
import report from '../../../steps/report/step.ts';
import { ranStep, table } from '../rig.ts';
import { makeModel } from '../serving/bundle.ts';

const OLD = ['kettle', 'lamp', 'chair', 'table', 'radio', 'blanket', 'spoon', 'mirror'];
const NEW = ['phone', 'tablet', 'charger', 'screen', 'battery', 'camera', 'laptop', 'cable'];

/** Texts of words that are drawn from a list. `fresh`: the share of the words from the list of new ones. */
function textsOf(count: number, uniform: () => number, fresh = 0): string[] {
  const word = () => (uniform() < fresh ? NEW : OLD)[Math.floor(uniform() * 8)]!;
  return Array.from({ length: count }, () => `the ${Array.from({ length: 3 + Math.floor(uniform() * 5) }, word).join(' ')} is here`);
}

const rowsOf = (texts: string[], name: string, label = (i: number) => ['a', 'b'][i % 2]) =>
  texts.map((text, i) => ({ id: `${name}-${i}`, text, label: label(i) }));

async function drifted(options: object, reference: object[], current: object[]) {
  const ran = await ranStep(drift, options, { data: await table(current), reference: await table(reference) });
  return { ...ran, report: JSON.parse(readFileSync(ran.outputs.metrics!, 'utf8')) };
}

test('the same distribution is not significant in at least 90 of 100 draws', () => {
  let found = 0;
  for (let seed = 0; seed < 100; seed++) {
    const uniform = random('texts', seed);
    if (testTexts({ reference: textsOf(80, uniform), current: textsOf(80, uniform) }, seed).p < 0.05) found++;
  }
  expect(found).toBeLessThanOrEqual(10);
});

test('embeddings of the same distribution are not significant in at least 90 of 100 draws, and shifted ones are', () => {
  const draw = (count: number, shift: number, uniform: () => number) =>
    Array.from({ length: count }, () => normal(16, 1, uniform).map((x) => x + shift));
  let [found, shifted] = [0, 0];
  for (let seed = 0; seed < 100; seed++) {
    const uniform = random('embeddings', seed);
    const reference = draw(60, 0, uniform);
    if (testEmbeddings({ reference, current: draw(60, 0, uniform) }, seed).p < 0.05) found++;
    if (testEmbeddings({ reference, current: draw(60, 0.5, uniform) }, seed).p < 0.05) shifted++;
  }
  expect(found).toBeLessThanOrEqual(10);
  expect(shifted).toBeGreaterThanOrEqual(90);
});

test('new words are found, with the words that show it, and the p-value is that of the binomial test', async () => {
  const uniform = random('shifted', 1);
  const ran = await drifted({}, rowsOf(textsOf(200, uniform), 'old'), rowsOf(textsOf(150, uniform, 0.6), 'new'));
  const { metrics, two_sample, examples, features } = ran.report;
  expect(metrics['two_sample.p']).toBeLessThan(1e-6);
  expect(metrics['two_sample.accuracy']).toBe(two_sample.correct / two_sample.rows);
  expect(metrics['two_sample.p']).toBe(fairCoinCdf(two_sample.rows - two_sample.correct, two_sample.rows));
  for (const word of two_sample.words.current.slice(0, 5)) expect(NEW).toContain(word);
  for (const word of two_sample.words.reference.slice(0, 5)) expect(OLD).toContain(word);
  expect(metrics['unknown_words.reference']).toBe(0);
  expect(metrics['unknown_words.current']).toBeGreaterThan(0.2);
  expect(metrics['characters.p']).toBeGreaterThan(1e-4);
  expect(examples.drift).toHaveLength(5);
  expect(features.label).toMatchObject({ reference: { a: 100, b: 100 }, current: { a: 75, b: 75 } });
  expect(metrics['label.psi']).toBe(0);
  expect(ran.warnings).toEqual([]);
  expect(ran.result).toMatch(/^a classifier recognises \d+\.\d% of the rows as new or old \(chance: 50%, p .*\); largest population/);
  expect(figuresIn(ran.report).own.get('two_sample.p')?.value).toBe(metrics['two_sample.p']);
  expect(metrics['psi.max']).toBe(metrics['unknown_words.psi']);
  // Without a model.
  expect(metrics['tokens.psi']).toBeNull();
  expect(ran.report.undefined['tokens.psi']).toBe('tokens need the input `model`');
});

test('longer texts and other shares of labels are found', async () => {
  const uniform = random('longer', 1);
  const current = textsOf(150, uniform).map((text) => `${text} ${text}`);
  const { report } = await drifted(
    {},
    rowsOf(textsOf(150, uniform), 'old'),
    rowsOf(current, 'new', (i) => (i % 4 === 0 ? 'a' : 'b')),
  );
  expect(report.metrics['characters.p']).toBeLessThan(1e-6);
  expect(report.metrics['words.psi']).toBeGreaterThan(0.25);
  expect(report.metrics['label.p']).toBeLessThan(0.001);
  expect(report.metrics['label.psi']).toBeGreaterThan(0.1);
});

test('a missed limit fails with the figure, and few rows are reported', async () => {
  const uniform = random('few', 1);
  const [reference, current] = [rowsOf(textsOf(40, uniform), 'old'), rowsOf(textsOf(15, uniform), 'new', () => 'a')];
  const { report, warnings } = await drifted({}, reference, current);
  expect(warnings).toEqual([
    expect.stringContaining('the reference has only 40 rows'),
    expect.stringContaining('the new data have only 15 rows'),
  ]);
  expect(report.metrics['two_sample.p']).toBeNull();
  expect(report.two_sample).toBeNull();
  expect(report.undefined['two_sample.p']).toBe('the two-sample test needs 20 rows of each table, and one has 15');
  expect(report.features.characters.psi_by_chance).toBeGreaterThan(0.3);
  const limits = { 'two_sample.p': '>= 0.01', 'label.p': '>= 0.01' };
  await expect(drifted({ limits }, reference, current)).rejects.toThrow(
    /^the new rows miss 2 of 2 limits: two_sample\.p must be >= 0\.01, but is undefined: .*; label\.p is [\d.e-]+, but must be >= 0\.01$/,
  );
});

test('rows with one label have no chi-squared test, and a table without labels has no figures of labels', async () => {
  const uniform = random('one label', 1);
  const one = await drifted(
    {},
    rowsOf(textsOf(30, uniform), 'old', () => 'a'),
    rowsOf(textsOf(30, uniform), 'new', () => 'a'),
  );
  expect(one.report.metrics['label.p']).toBeNull();
  expect(one.report.undefined['label.p']).toBe('all rows have the label "a"');
  const unlabelled = textsOf(30, uniform).map((text, i) => ({ id: String(i), text }));
  const none = await drifted({}, rowsOf(textsOf(30, uniform), 'old'), unlabelled);
  expect(none.report.undefined['label.psi']).toContain('not both tables have a column `label`');
  await expect(drifted({ label: 'label' }, rowsOf(textsOf(30, uniform), 'old'), unlabelled)).rejects.toThrow('no column `label`');
});

test('new rows are cleaned as the reference was, so that cleaning is no drift', async () => {
  const uniform = random('cleaned', 1);
  const raw = (count: number, name: string) =>
    rowsOf(
      textsOf(count, uniform).map((text) => `<p>${text.toUpperCase()}</p>`),
      name,
    );
  const { outputs } = await ranStep(clean, { remove: ['html'], lowercase: true }, { data: await table(raw(150, 'old')) });
  const ran = await ranStep(drift, {}, { data: await table(raw(150, 'new')), reference: outputs.data! });
  const { metrics } = JSON.parse(readFileSync(ran.outputs.metrics!, 'utf8'));
  expect(metrics['two_sample.p']).toBeGreaterThan(0.01);
  expect(metrics['characters.p']).toBeGreaterThan(0.01);
});

test('with a model: its tokens, its predictions and its embeddings; the new rows are cleaned as the model does it', async () => {
  const model = await makeModel();
  const uniform = random('model', 1);
  const old = rowsOf(textsOf(60, uniform), 'old');
  const fresh = textsOf(60, uniform, 0.9).map((text) => `<b>${text}</b> ☃☃`);
  const ran = await ranStep(drift, {}, { data: await table(rowsOf(fresh, 'new')), reference: await table(old), model });
  const { metrics, undefined: unknown, two_sample, features } = JSON.parse(readFileSync(ran.outputs.metrics!, 'utf8'));
  expect(two_sample.by).toBe('embeddings');
  expect(metrics['two_sample.p']).toBeLessThan(1e-3);
  expect(Object.keys(features.label.reference)).toEqual(['ham', 'spam']);
  expect(metrics['label.psi']).not.toBeNull();
  expect(features.tokens.mean.reference).toBeGreaterThanOrEqual(features.words.mean.reference);
  // The model's cleaning removes the tags and the snowmen, so no token is unknown.
  expect(metrics['unknown_tokens.current']).toBe(0);
  expect(unknown).toEqual({});
  expect(ran.metrics).toMatchObject({ 'two_sample.accuracy': metrics['two_sample.accuracy'] });
});

test('a limit of a figure that does not exist is an error of the pipeline, with the figure that is meant', () => {
  expect(drift.check!({ limits: { 'two_sample.P': '>= 0.01' } } as never)).toEqual([
    {
      option: 'limits.two_sample.P',
      message: 'drift has no figure `two_sample.P`',
      hint: expect.stringMatching(/^Did you mean two_sample\.p\? The figures are characters\.psi, /),
    },
  ]);
});

test('a report has the figures of drift and its missed limits, and no near-duplicates of it', async () => {
  const uniform = random('report', 1);
  const { outputs } = await drifted({}, rowsOf(textsOf(30, uniform), 'old'), rowsOf(textsOf(30, uniform, 0.9), 'new'));
  const made = await ranStep(report, { format: 'md' }, { checks: [outputs.metrics!] });
  const text = readFileSync(join(made.outputs.report!, 'report.md'), 'utf8');
  expect(text).toContain('| two&#95;sample.p |');
  expect(text).not.toContain('it was not measured');
});
