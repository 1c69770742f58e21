/** The metrics of the baselines have the intervals of evaluate: examples or groups are drawn. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import baseline from '../../../steps/baseline/step.ts';
import { bootstrap } from '../../../steps/ml/metrics/bootstrap.ts';
import { openScorer } from '../../../steps/ml/tasks/scorer.ts';
import { preview } from '../../../steps/preview/preview.ts';
import { ranStep, table } from '../rig.ts';

const split = (i: number) => (i % 2 === 0 ? 'train' : 'test');

async function measured(rows: object[], options: object) {
  const { outputs, metrics, log, warnings } = await ranStep(baseline, options, { data: await table(rows) });
  return { report: JSON.parse(readFileSync(outputs.metrics!, 'utf8')), metrics, log, warnings, file: outputs.metrics! };
}

/** The author of each pair of rows has an id of its own; the first of both texts names its label more often than the second. */
const mails = Array.from({ length: 120 }, (_, i) => {
  const label = i % 5 < 3 ? 'spam' : 'ham';
  return {
    id: `r${String(i).padStart(3, '0')}`,
    split: split(i),
    text: i % 7 < 4 ? `${label} now` : 'a mail',
    label,
    author: i % 12 < 11 ? `a${i >> 3}` : null,
  };
});

test('a classifier: the samples have as many examples of each label as the split', async () => {
  const options = { methods: ['majority', 'bag_of_words'], metrics: ['accuracy', 'f1'] };
  const { report, log, file } = await measured(mails, options);
  expect(report.interval).toEqual({ level: 0.95, method: 'bca', resamples: 1000, unit: 'examples', stratified: true, seed: 0 });
  const { metrics, intervals } = report.methods.bag_of_words;
  expect(intervals.accuracy.low).toBeLessThan(metrics.accuracy);
  expect(intervals.accuracy.high).toBeGreaterThan(metrics.accuracy);
  // Stratified samples always have the same share of the most frequent label.
  expect(report.methods.majority.intervals.accuracy).toEqual({ low: null, high: null });
  expect(report.undefined['majority.accuracy.lower']).toMatch(/^all bootstrap samples have the same value/);
  expect(log.join('\n')).toMatch(/bag_of_words: accuracy 0\.\d{4} \[0\.\d{4}, [01]\.\d{4}\], f1/);
  expect((await preview(file, 10))[0]).toMatchObject({
    title: 'baselines on the split test, 60 rows',
    table: {
      header: ['method', 'accuracy', 'f1'],
      rows: [
        ['majority', '0.6000', expect.any(String)],
        ['bag_of_words', expect.stringMatching(/\[.*\]/), expect.any(String)],
      ],
    },
  });
  const plain = (await measured(mails, { ...options, intervals: false })).report;
  expect(plain.methods.bag_of_words.metrics).toEqual(metrics);
  expect(plain).not.toHaveProperty('interval');
  expect(plain.methods.bag_of_words).not.toHaveProperty('intervals');
});

test('a warning lists intervals that are too narrow, because the predictions hardly vary within a label', async () => {
  // In the split test, only one mail says what it is.
  const rows = Array.from({ length: 400 }, (_, i) => {
    const label = i % 5 < 3 ? 'spam' : 'ham';
    return { id: `r${i}`, split: split(i), label, text: label === 'ham' && (i % 2 === 0 || i === 13) ? 'ham mail' : 'a mail' };
  });
  const options = { methods: ['majority', 'bag_of_words'], metrics: ['accuracy'] };
  const { report, warnings } = await measured(rows, options);
  expect(report.methods.bag_of_words.intervals.accuracy.narrow).toBe(true);
  expect(warnings.join('\n')).toMatch(/^the intervals of bag_of_words\.accuracy say too little .*`intervals: \{ stratify: false \}`/m);
  const free = await measured(rows, { ...options, intervals: { stratify: false } });
  expect(free.warnings.join('\n')).not.toContain('say too little');
});

test('groups of a column are drawn whole; a row without a value is a group of its own', async () => {
  const options = { methods: ['bag_of_words'], metrics: ['accuracy'] };
  const { report } = await measured(mails, { ...options, intervals: { group: 'author', resamples: 500, level: 0.9 } });
  expect(report.interval).toMatchObject({ level: 0.9, resamples: 500, unit: 'groups of author', stratified: false });
  await expect(measured(mails, { ...options, intervals: { group: 'writer' } })).rejects.toThrow(/no column `writer`/);
});

test('tags: the intervals are those of the same bootstrap over the rows', async () => {
  const tagged = Array.from({ length: 60 }, (_, i) => ({
    id: `r${String(i).padStart(2, '0')}`,
    split: split(i),
    tokens: ['Ada', 'met', i % 3 === 0 ? 'Bob' : 'him'],
    tags: ['B-PER', 'O', i % 3 === 0 || i % 11 === 1 ? 'B-PER' : 'O'],
  }));
  const { report } = await measured(
    tagged.map((row) => ({ ...row, tokens: `[${row.tokens.join(', ')}]`, tags: `[${row.tags.join(', ')}]` })),
    { task: 'token-classification', methods: ['commonest_tag'], metrics: ['f1'] },
  );
  const scorer = openScorer({
    task: 'token-classification',
    problem: 'single_label_classification',
    labels: ['B-PER', 'O'],
    metrics: ['f1'],
  });
  for (const { tokens, tags } of tagged.filter((row) => row.split === 'test'))
    scorer.add(tags, { tags: tokens.map((word) => (word === 'met' || word === 'him' ? 'O' : 'B-PER')) });
  const rows = Int32Array.from({ length: 30 }, (_, row) => row);
  const { low, high } = bootstrap(scorer.metrics, { rows }, { resamples: 1000, level: 0.95, method: 'bca', seed: 0 }).f1!.interval;
  expect(report.methods.commonest_tag.intervals.f1).toEqual({ low, high });
});

test('answers, and generated texts', async () => {
  const asked = Array.from({ length: 40 }, (_, i) => ({
    id: `r${String(i).padStart(2, '0')}`,
    split: split(i),
    question: 'Who wrote it?',
    context: i % 3 === 0 ? 'Ada wrote it.' : 'It was written. By Ada.',
    answers: i % 5 === 0 ? '' : 'Ada',
    text: `words of row ${i}`,
    target: `words of row ${i % 6}`,
  }));
  for (const [options, method, metric] of [
    [{ task: 'question-answering', methods: ['no_answer'], metrics: ['exact_match'] }, 'no_answer', 'exact_match'],
    [{ task: 'seq2seq', methods: ['copy'], metrics: ['rouge1', 'bleu'] }, 'copy', 'bleu'],
  ] as const) {
    const { metrics, intervals } = (await measured(asked, options)).report.methods[method];
    expect(intervals[metric].low).toBeLessThan(metrics[metric]);
    expect(intervals[metric].high).toBeGreaterThan(metrics[metric]);
  }
});
