/** Slices, discovered slices, fairness and counterfactual tests of a small model, on data with columns. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { gapIntervals } from '../../../steps/evaluate/slice-gaps.ts';
import step from '../../../steps/evaluate/step.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { tableOf, writeTable } from '../../../steps/ml/data/table.ts';
import { bootstrap } from '../../../steps/ml/metrics/bootstrap.ts';
import { preview } from '../../../steps/preview/preview.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import train from '../../../steps/train/step.ts';
import { ranStep, table } from '../rig.ts';
import { rows, smallModel } from '../small.ts';

/** In the test split, the rows of the source `web` with an even number have the wrong label. */
const made: Record<string, string | null>[] = rows({ train: 70, test: 80 }).map((row, i) => ({
  ...row,
  label: row.split === 'test' && i % 4 === 0 ? (row.label === 'bad' ? 'good' : 'bad') : row.label!,
  source: i % 4 < 2 ? 'web' : i % 4 === 2 ? 'mail' : null,
  year: i % 8 < 4 ? '2001' : '2002',
}));

const kept = mkdtempSync(join(tmpdir(), 'tunesmith-step-'));
afterAll(() => rmSync(kept, { recursive: true }));

interface Inputs {
  model: string;
  tokens: string;
  data?: string;
  'compare.predictions'?: string;
}

/** Trained once. */
async function inputs(): Promise<Required<Pick<Inputs, 'model' | 'tokens' | 'data'>>> {
  const folders = { model: join(kept, 'model'), tokens: join(kept, 'tokens'), data: join(kept, 'data') };
  if (existsSync(folders.model)) return folders;
  const model = smallModel();
  const data = await table(made);
  const { tokens } = (await ranStep(tokenize, { max_length: 24 }, { data, model })).outputs;
  const options = { task: 'text-classification', epochs: 3, learning_rate: 0.02, batch_size: 4, runtime: 'eager' };
  const trained = (await ranStep(train, options, { model, tokens: tokens! })).outputs.model!;
  for (const [name, from] of Object.entries({ data, tokens: tokens!, model: trained })) cpSync(from, join(kept, name), { recursive: true });
  return folders;
}

async function evaluated(options: object, given?: Inputs) {
  const ran = await ranStep(step, { runtime: 'eager', ...options }, { ...(given ?? (await inputs())) });
  return { ...ran, report: JSON.parse(readFileSync(ran.outputs.metrics!, 'utf8')) };
}

test('a slice for each value of a column, the worst first, with support, interval and gap', async () => {
  const { report, metrics, outputs, result } = await evaluated({ slices: { source: { column: 'source' } }, metrics: ['accuracy', 'f1'] });
  expect(result!.split(';\n')).toEqual([
    expect.stringMatching(/^accuracy 0\.\d{4} \[.*\], f1 0\.\d{4} \[.*\]$/),
    expect.stringMatching(/^worst slice: source web \(40 rows\) with accuracy 0\.\d{4} \[.*\], gap\.source 0\.\d{4} \[.*\]$/),
  ]);
  const { slices, gap, interval, metric } = report.slices.source;
  expect(metric).toBe('accuracy');
  expect(slices.map(({ slice, rows }: any) => [slice, rows])).toEqual([
    ['web', 40],
    ['mail', 20],
    ['(missing)', 20],
  ]);
  const [web, mail, best] = slices;
  expect(web.metrics.accuracy).toBeLessThan(0.6);
  expect(web.gap).toBeCloseTo(best.metrics.accuracy - web.metrics.accuracy, 12);
  expect(gap).toBe(web.gap);
  expect(metrics['gap.source']).toBe(gap);
  expect(report.metrics['gap.source']).toBe(gap);
  expect(interval.low).toBeLessThan(gap);
  expect(interval.high).toBeGreaterThan(gap);
  expect(web.gap_interval).toEqual(interval);
  // Both are predicted without an error in every sample.
  expect(mail).toMatchObject({ gap: 0, gap_interval: { low: null, high: null }, undefined: { 'gap.lower': expect.any(String) } });
  expect(best).not.toHaveProperty('gap_interval');
  expect(web.intervals.accuracy.low).toBeLessThan(web.metrics.accuracy);
  expect(web.intervals.accuracy.high).toBeGreaterThan(web.metrics.accuracy);
  const shown = await preview(outputs.metrics!, 10);
  expect(shown.find(({ title }) => title.startsWith('slices source'))!.table!.rows.map(([slice]) => slice)).toEqual([
    'web',
    'mail',
    '(missing)',
  ]);
});

test('the interval of each gap is that of a bootstrap which compares the slice with the best one', () => {
  const rows = Int32Array.from({ length: 60 }, (_, row) => row);
  const correct = rows.map((row) => (row % 7 === 0 || row % 5 === 3 ? 0 : 1));
  const metricsOf = (some: Int32Array) => ({ accuracy: some.reduce((sum, row) => sum + correct[row]!, 0) / some.length });
  // The first two overlap.
  const parts = [(row: number) => row % 7 < 3, (row: number) => row < 25, (row: number) => row % 5 === 4];
  const options = { resamples: 200, level: 0.9, method: 'bca', seed: 3 } as const;
  const units = { rows, strata: rows.map((row) => row % 2) };
  const found = gapIntervals(
    parts.map((isIn) => rows.filter(isIn)),
    'accuracy',
    options,
    { rows, unitsOf: () => units, metricsOf },
  );
  const accuracyIn = (sample: Int32Array, k: number) => metricsOf(sample.filter(parts[k]!)).accuracy;
  const expected = bootstrap(
    (sample) => ({ a: accuracyIn(sample, 2) - accuracyIn(sample, 0), b: accuracyIn(sample, 2) - accuracyIn(sample, 1) }),
    units,
    options,
  );
  expect(found).toEqual([expected.a!.interval, expected.b!.interval]);
  expect(found[0]!.low).toBeLessThan(found[0]!.high);
});

test('slices by SQL, length and terms; the rows of each are the right ones', async () => {
  const { report, warnings } = await evaluated({
    slices: {
      early: { where: "year = '2001' AND source IS NOT NULL" },
      unsure: { where: 'score < 0.5' },
      length: { length: 'text', edges: [20, 30, 4000] },
      words: { length: 'text', unit: 'words' },
      tokens: { length: 'text', unit: 'tokens', edges: [8] },
      mood: { terms: { sad: ['SAD', 'wrong'], glad: ['happy', 'great'], none: ['nowhere'] } },
      any: { terms: ['awful', 'lovely'], in: 'text', min_rows: 1 },
    },
  });
  const rowsOf = (name: string) => Object.fromEntries(report.slices[name].slices.map(({ slice, rows }: any) => [slice, rows]));
  const of = made.filter(({ split }) => split === 'test');
  const count = (test: (row: (typeof made)[number]) => boolean) => of.filter(test).length;
  const early = count(({ year, source }) => year === '2001' && source !== null);
  expect(rowsOf('early')).toEqual({ early, 'not early': 80 - early });
  expect(rowsOf('unsure')).toEqual({ unsure: 0, 'not unsure': 80 });
  expect(report.metrics['gap.unsure']).toBeNull();
  expect(report.undefined['gap.unsure']).toBe('only one slice has at least 10 rows and a defined accuracy');
  expect(warnings).toContain('slices.unsure: no row is in the slice `unsure`');
  expect(rowsOf('length')).toEqual({
    '< 20 characters': count(({ text }) => text!.length < 20),
    '20–29 characters': count(({ text }) => text!.length >= 20 && text!.length < 30),
    '30–3999 characters': count(({ text }) => text!.length >= 30),
    '≥ 4000 characters': 0,
  });
  const words = report.slices.words.slices.map(({ rows }: any) => rows);
  expect(words.length).toBeGreaterThan(2);
  expect(words.reduce((sum: number, rows: number) => sum + rows)).toBe(80);
  expect(Object.keys(rowsOf('tokens')).sort()).toEqual(['< 8 tokens', '≥ 8 tokens']);
  const sad = count(({ text }) => /\b(sad|wrong)\b/.test(text!));
  const glad = count(({ text }) => /\b(happy|great)\b/.test(text!));
  expect(rowsOf('mood')).toEqual({ sad, glad, none: 0, '(none)': 80 - sad - glad });
  expect(warnings).toContain('slices.mood: no text contains a term of `none`');
  expect(rowsOf('any')).toEqual({
    any: count(({ text }) => /awful|lovely/.test(text!)),
    '(none)': count(({ text }) => !/awful|lovely/.test(text!)),
  });
});

test('a slice with one label has no MCC and, without a positive row, no F1, instead of 0', async () => {
  const { report, outputs } = await evaluated({ slices: { label: { column: 'label' } }, metrics: ['f1', 'accuracy', 'mcc'] });
  const bad = report.slices.label.slices.find(({ slice }: any) => slice === 'bad');
  expect(bad.metrics).toMatchObject({ f1: null, mcc: null, accuracy: expect.any(Number) });
  expect(bad.undefined).toMatchObject({ f1: 'no row has the label good', mcc: 'every row has the label bad' });
  expect(report.metrics['gap.label']).toBeNull();
  const [shown, ...others] = await preview(outputs.metrics!, 10);
  expect(shown!.lines).toContain(`gap.label is undefined: ${report.undefined['gap.label']}`);
  expect(others.at(-1)!.lines).toEqual([`further fields: ${outputs.metrics}`]);
});

test('many values: the most frequent have a slice, and the others share one', async () => {
  const { report, log } = await evaluated({ slices: { text: { column: 'text', max: 5 } } });
  expect(report.slices.text.slices.map(({ slice }: any) => slice)).toContain('(other)');
  expect(report.slices.text.slices).toHaveLength(5);
  expect(log.join('\n')).toMatch(/slices\.text: `text` has \d+ values; the 4 most frequent have a slice each/);
});

test.each([
  [{ slices: { a: { column: 'sauce' } } }, /slices\.a\.column: there is no column `sauce`/, ['slices', 'a', 'column']],
  [{ slices: { a: { where: 'yaer = 1' } } }, /slices\.a\.where: yaer = 1: .*yaer/, ['slices', 'a', 'where']],
  [{ slices: { a: { where: 'count(*) > 1' } } }, /cannot aggregate/, ['slices', 'a', 'where']],
  [{ slices: { a: { where: "read_text('/etc/passwd') = ''" } } }, /slices\.a\.where/, ['slices', 'a', 'where']],
  [{ slices: { a: { length: 'score' } } }, /contains DOUBLE, not texts/, ['slices', 'a', 'length']],
  [{ slices: { a: { column: 'source', metric: 'mcc' } } }, /does not compute mcc/, ['slices', 'a', 'metric']],
  [{ fairness: { group: 'sauce' } }, /fairness\.group: there is no column `sauce`/, ['fairness', 'group']],
  [{ fairness: { group: 'source', positive: 'ugly' } }, /no label is "ugly"/, ['fairness', 'positive']],
  [{ discover: { columns: ['sauce'] } }, /discover\.columns: there is no column `sauce`/, ['discover', 'columns']],
])('%j is an error that names the option, before the model runs', async (options, message, option) => {
  await expect(evaluated({ ...options, runtime: 'none' })).rejects.toMatchObject({ message: expect.stringMatching(message), option });
});

test('columns of the data that evaluate writes are refused before the model runs', async () => {
  const data = await table(made.map((row) => ({ ...row, Score: '1' })));
  await expect(evaluated({ runtime: 'none' }, { ...(await inputs()), data })).rejects.toThrow(
    'the data have a column `Score`, and evaluate writes a column of that name',
  );
});

test('a metric of slices that `metrics` does not have is refused when the pipeline is read', () => {
  const problems = step.check!({ metrics: ['accuracy'], slices: { lab: { column: 'label', metric: 'f1' } } } as any);
  expect(problems).toEqual([
    { option: 'slices.lab.metric', message: '`metrics` does not have f1', hint: 'Add it, or use one of accuracy.' },
  ]);
});

test('fairness between groups; a missing group is a group', async () => {
  const { report, metrics, outputs } = await evaluated({ fairness: { group: 'source' } });
  const { labels } = report.fairness;
  expect(Object.keys(labels)).toEqual(['good']);
  expect(labels.good.groups.map(({ group }: any) => group)).toEqual(['(missing)', 'mail', 'web']);
  const rates = labels.good.groups.map(({ selection_rate }: any) => selection_rate);
  expect(metrics['fairness.demographic_parity_difference']).toBeCloseTo(Math.max(...rates) - Math.min(...rates), 12);
  expect(report.fairness.metrics).toEqual(labels.good.metrics);
  expect(report.undefined['fairness.demographic_parity_difference.lower']).toMatch(/^all bootstrap samples have the same value/);
  const titles = (await preview(outputs.metrics!, 10)).map(({ title }) => title);
  expect(titles).toContain('fairness between the groups of source');
  expect(titles).toContain('rates of the groups of source; the positive label is good');
});

test('fairness figures have intervals', async () => {
  const { report, metrics } = await evaluated({ fairness: { group: 'year' } });
  const value = metrics['fairness.demographic_parity_difference']!;
  const { low, high } = report.intervals['fairness.demographic_parity_difference'];
  expect(low).toBeLessThanOrEqual(value);
  expect(high).toBeGreaterThan(value);
  expect(report.fairness.intervals.demographic_parity_difference).toEqual({ low, high });
});

test('a group without a positive row: undefined, with the reason', async () => {
  const { report, warnings } = await evaluated({ fairness: { group: ['label', 'source'] } });
  expect(report.fairness.metrics.equalized_odds_difference).toBeNull();
  expect(report.undefined['fairness.equalized_odds_difference']).toMatch(/in the group bad \/ .*, no row has the label good/);
  expect(warnings.join('\n')).toMatch(/^fairness\.equalized_odds_difference, fairness\.equalized_odds_ratio are undefined: /m);
  const large = (await evaluated({ fairness: { group: 'source', min_rows: 25 } })).report.fairness;
  expect(large.left_out).toEqual(['(missing)', 'mail'].map((group) => ({ group, rows: 20 })));
  expect(large.undefined.demographic_parity_ratio).toBe('there is only one group with at least 25 rows: web');
});

test('a slice set and a list of terms with the name of a property of objects', async () => {
  const slices = JSON.parse('{ "__proto__": { "column": "year" }, "constructor": { "terms": { "__proto__": ["lovely"] } } }');
  const { report, metrics } = await evaluated({ slices });
  expect(Object.keys(report.slices)).toEqual(['__proto__', 'constructor']);
  expect(metrics['gap.__proto__']).toEqual(expect.any(Number));
  expect(report.slices.constructor.slices.map(({ slice }: any) => slice).sort()).toEqual(['(none)', '__proto__']);
});

test('a warning names the groups with few rows that decide a figure', async () => {
  const rest = made.filter(({ split }) => split === 'test').map((row, i) => ({ ...row, year: i < 3 ? 'rare' : (row.year ?? null) }));
  const data = await table([...made.filter(({ split }) => split !== 'test'), ...rest]);
  const { warnings } = await evaluated({ fairness: { group: 'year' } }, { ...(await inputs()), data });
  expect(warnings.join('\n')).toMatch(
    /^groups with fewer than 10 rows decide fairness\.demographic_parity_difference.*: rare \(3 rows\)\. `fairness: \{ min_rows: 10 \}` leaves/m,
  );
  const without = await evaluated({ fairness: { group: 'year', min_rows: 10 } }, { ...(await inputs()), data });
  expect(without.warnings.join('\n')).not.toContain('fewer than 10 rows');
});

test('discovered slices: the source with the wrong labels', async () => {
  const { report, outputs } = await evaluated({ discover: { min_rows: 10 } });
  const { slices, columns } = report.discovered;
  expect(columns).toEqual(['source', 'year']);
  expect(slices[0].where).toEqual({ source: 'web' });
  expect(slices[0].low).toBeGreaterThan(0);
  expect((await preview(outputs.metrics!, 10)).some(({ title }) => title.startsWith('discovered slices'))).toBe(true);
});

test('discovered slices: the label is left out under any name', async () => {
  const data = await table(made.map((row) => ({ ...row, sentiment: row.label ?? null })));
  const { report } = await evaluated({ discover: { min_rows: 10 } }, { ...(await inputs()), data });
  expect(report.discovered.columns).toEqual(['source', 'year']);
});

test('a counterfactual test swaps terms in the texts, and reports changed labels and scores', async () => {
  const { report, metrics, outputs } = await evaluated({
    counterfactual: {
      swap: {
        terms: [
          ['lovely', 'awful'],
          ['great', 'day'],
        ],
      },
      examples: 3,
    },
  });
  const { counterfactual } = report;
  const of = made.filter(({ split, text }) => split === 'test' && /\b(lovely|awful|great|day)\b/.test(text!));
  expect(counterfactual.rows).toBe(of.length);
  expect(metrics['counterfactual.changed']).toBe(counterfactual.changed);
  expect(counterfactual.max_change).toBeGreaterThanOrEqual(counterfactual.mean_change);
  expect(counterfactual.examples).toHaveLength(3);
  const [example] = counterfactual.examples;
  expect(example.swapped.text).not.toBe(example.text.text);
  expect(example.before.scores.bad + example.before.scores.good).toBeCloseTo(1, 6);
  expect(example.changed).toBe(example.before.label !== example.after.label);
  const lovely = counterfactual.swaps.find(({ from }: any) => from === 'lovely');
  expect(lovely.shift.bad).toBeGreaterThan(0);
  expect((await preview(outputs.metrics!, 10)).map(({ title }) => title)).toContain('swapped terms');
});

test('without intervals, the share of changed labels has none, and `compare` draws the samples that it draws by default', async () => {
  const given = { ...(await inputs()), 'compare.predictions': await otherPredictions() };
  const options = { metrics: ['f1'], compare: {}, counterfactual: { swap: { terms: [['lovely', 'awful']] } } };
  const [plain, usual] = [await evaluated({ ...options, intervals: false }, given), await evaluated(options, given)];
  expect(usual.report.intervals['counterfactual.changed']).toEqual(usual.report.counterfactual.interval);
  expect(plain.report.counterfactual).not.toHaveProperty('interval');
  expect(Object.keys(plain.report.intervals)).toEqual(['difference.f1']);
  expect(plain.report.comparison).toEqual(usual.report.comparison);
});

test('terms that no text contains: undefined, with the reason and a warning', async () => {
  const { report, warnings } = await evaluated({ counterfactual: { swap: { terms: [['he', 'she']] } } });
  expect(report.counterfactual).toMatchObject({ rows: 0, changed: null, mean_change: null });
  expect(report.undefined['counterfactual.changed']).toBe('no text contains a term of `counterfactual.swap`');
  expect(warnings.join('\n')).toMatch(/^counterfactual\.changed, .* are undefined: no text/m);
});

/** Predictions of another model: every third prediction is the other label. */
async function otherPredictions(sql = 'SELECT * FROM predictions'): Promise<string> {
  const folder = mkdtempSync(join(kept, 'other-'));
  const { outputs } = await evaluated({ metrics: ['accuracy'] });
  const database = await Database.open();
  try {
    await database.run(`CREATE TABLE own AS SELECT *, row_number() OVER () % 3 = 0 AS wrong FROM ${tableOf(outputs.predictions!)}`);
    await database.run(
      `CREATE VIEW predictions AS SELECT * EXCLUDE wrong REPLACE (
         CASE WHEN wrong THEN CASE prediction WHEN 'good' THEN 'bad' ELSE 'good' END ELSE prediction END AS prediction,
         CASE WHEN wrong THEN NOT correct ELSE correct END AS correct,
         CASE WHEN wrong THEN MAP {'bad': scores['good'], 'good': scores['bad']} ELSE scores END AS scores) FROM own`,
    );
    await writeTable(database, `(${sql})`, folder);
  } finally {
    database.close();
  }
  return folder;
}

test('compare: paired tests with the predictions of another model, of each metric', async () => {
  const given = { ...(await inputs()), 'compare.predictions': await otherPredictions() };
  const { report, metrics, log, outputs, result } = await evaluated({ metrics: ['accuracy', 'f1', 'log_loss'], compare: {} }, given);
  expect(result).toMatch(/;\ndifference\.accuracy 0\.\d+ \[.*\], p \S+;\n4 more figures in the output `metrics`$/);
  const { accuracy, f1, log_loss: loss } = report.comparison.metrics;
  // 26 of 80 predictions differ, so exactly one of the models is right about these rows.
  expect(accuracy).toMatchObject({ test: 'mcnemar', exact: false });
  expect(accuracy.only_this + accuracy.only_other).toBe(26);
  expect(accuracy.value - accuracy.other).toBeCloseTo((accuracy.only_this - accuracy.only_other) / 80, 12);
  expect(accuracy.value).toBe(report.metrics.accuracy);
  for (const one of [f1, loss]) {
    expect(one.test).toBe('paired bootstrap');
    expect(one.difference).toBeCloseTo(one.value - one.other, 12);
    expect(one.interval.low).toBeLessThan(one.difference);
    expect(one.interval.high).toBeGreaterThan(one.difference);
  }
  expect(metrics['difference.f1']).toBe(f1.difference);
  expect(metrics['difference.f1.p']).toBe(f1.p);
  expect(report.intervals['difference.accuracy']).toEqual(accuracy.interval);
  expect(log.join('\n')).toMatch(
    /accuracy 0\.\d+, other 0\.\d+: difference 0\.\d+ \[.*\], p .* \(McNemar, chi-squared: \d+ rows correct only/,
  );
  expect((await preview(outputs.metrics!, 10)).map(({ title }) => title)).toContain('comparison with the other predictions, 80 rows');
});

test('compare: a model does not differ from itself', async () => {
  const { outputs } = await evaluated({ metrics: ['accuracy'] });
  const given = { ...(await inputs()), 'compare.predictions': outputs.predictions! };
  const { report } = await evaluated({ metrics: ['accuracy', 'macro_f1'], compare: {}, intervals: false }, given);
  expect(report.comparison.metrics).toMatchObject({ accuracy: { difference: 0, p: 1, exact: true }, macro_f1: { difference: 0, p: 1 } });
  expect(report.undefined['difference.macro_f1.lower']).toMatch(/^all bootstrap samples have the same value/);
});

test.each([
  ['SELECT * FROM predictions LIMIT 70', /lack 10 of 80 rows of the split test, such as \S+$/],
  [
    "SELECT * FROM predictions UNION ALL SELECT * REPLACE ('x' || id AS id) FROM predictions",
    /have rows that the split test does not have: 80,/,
  ],
  ['SELECT * FROM predictions UNION ALL SELECT * FROM predictions', /have the row \S+ several times/],
  ["SELECT * REPLACE ('good' AS label) FROM predictions", /the row \S+ has the label "bad", but "good" in the other predictions/],
  ['SELECT * EXCLUDE scores FROM predictions', /no column `scores`.*log_loss.* need MAP\(VARCHAR, DOUBLE\)/],
  ['SELECT * REPLACE (1.5::DOUBLE AS prediction) FROM predictions', /DOUBLE in the column `prediction`/],
  ["SELECT * REPLACE ('ugly' AS prediction) FROM predictions", /f1 needs two labels, and there are 3/],
])('compare: %s is refused', async (sql, message) => {
  const given = { ...(await inputs()), 'compare.predictions': await otherPredictions(sql) };
  await expect(evaluated({ metrics: ['f1', 'log_loss'], compare: {} }, given)).rejects.toThrow(message);
});

test('without data, slices by the predictions work, and others are refused when the pipeline is read', async () => {
  const { data: _, ...without } = await inputs();
  const { report } = await evaluated({ slices: { label: { column: 'label' }, sure: { where: 'score > 0.9' } } }, without);
  expect(Object.keys(report.slices)).toEqual(['label', 'sure']);
  const problems = await step.foresee!.check(
    {
      split: 'test',
      slices: { a: { terms: ['he'] }, b: { column: 'label' } },
      counterfactual: { swap: { terms: [['he', 'she']] } },
    } as any,
    {},
    {},
    new Set(),
  );
  expect(problems.map(({ option }) => option)).toEqual(['slices.a', 'counterfactual']);
});
