/** Outputs of steps, made here, as a report reads them: with texts that try to break out of the page. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Database } from '../../../steps/ml/data/database.ts';
import { literal } from '../../../steps/ml/data/sql.ts';
import { writeTable } from '../../../steps/ml/data/table.ts';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { copyTokenizer } from '../../../steps/ml/models/tokenizer.ts';
import { temporary } from '../rig.ts';
import { smallModel } from '../small.ts';

export const LABELS = ['bad</script>', 'good'];

export const HOSTILE = [
  '<script>alert(1)</script><img src=x onerror=alert(2)>',
  '"quoted\' `and` & &amp; </title></style>',
  'line\u2028separator\u2029 and \u202Eright to left\u202C שלום',
  'bell\u0007 null\u0000 escape\u001b[31m delete\u007f',
  `${'very'.repeat(3000)}long`,
  'half \ud83d of a character | a table | # heading [link](javascript:alert(3)) ![i](http://x.example/y)',
  'the day was awful and lovely',
];

/** One of the worst mistakes has more than 100,000 characters: 100 a, and families of seven code points, which must not be cut. */
export const LONG = { row: 250, text: `${'a'.repeat(100)}${'👩‍👩‍👧‍👦'.repeat(15_000)}` };

/** A table in a folder, as evaluate writes it. */
export async function predictionsOf(rows: number): Promise<string> {
  const texts = `[${HOSTILE.map((text) => literal(text.replaceAll('\u0000', '').toWellFormed())).join(', ')}]`;
  const [bad, good] = LABELS.map(literal);
  return table(`SELECT printf('row-%06d', i) AS id, 'test' AS split,
        if(i = ${LONG.row}, ${literal(LONG.text)}, ${texts}[1 + i % ${HOSTILE.length}] || ' ' || i) AS text,
        if(i % 2 = 0, ${bad}, ${good}) AS label, if(p < 0.5, ${bad}, ${good}) AS prediction, greatest(p, 1 - p) AS score,
        map([${bad}, ${good}], [1 - p, p]) AS scores, -ln(if(i % 2 = 0, 1 - p, p)) AS loss, (p >= 0.5) = (i % 2 = 1) AS correct
      FROM (SELECT i, greatest(0.001, least(0.999, (i % 2) * 0.5 + ((i * 331) % 997) / 1400)) AS p FROM range(${rows}) AS r(i))`);
}

/** A table in a folder. */
export async function table(sql: string): Promise<string> {
  const folder = temporary();
  const database = await Database.open();
  try {
    await database.run(`CREATE TABLE made AS ${sql}`);
    await writeTable(database, 'made', folder);
  } finally {
    database.close();
  }
  return folder;
}

export function file(content: object | string): string {
  const path = join(temporary(), 'file.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

export const METRICS = {
  split: 'test',
  rows: 400,
  metrics: { f1: 0.91, accuracy: 0.9, roc_auc: null, 'gap.source': 0.1 },
  intervals: { f1: { low: 0.88, high: 0.94 } },
  interval: { level: 0.95, method: 'percentile', resamples: 1000, unit: 'examples', seed: 7 },
  undefined: { roc_auc: 'there is one class <only>' },
  labels: LABELS,
  positive: 'good',
  confusion_matrix: [
    [180, 20],
    [20, 180],
  ],
  classes: {
    'bad</script>': { precision: 0.9, recall: 0.9, f1: 0.9, support: 200 },
    good: { precision: 0.9, recall: 0.9, f1: 0.9, support: 200 },
  },
  slices: {
    source: {
      by: 'column source',
      metric: 'f1',
      gap: 0.1,
      interval: { low: 0.02, high: 0.2 },
      slices: [
        {
          slice: '<b>mail</b>',
          rows: 200,
          metrics: { f1: 0.85 },
          intervals: { f1: { low: 0.8, high: 0.9 } },
          gap: 0.1,
          gap_interval: { low: 0.02, high: 0.2, narrow: true },
        },
        { slice: "$' and $&", rows: 200, metrics: { f1: 0.95 }, gap: 0 },
        { slice: 'rare', rows: 2, metrics: { f1: null }, undefined: { f1: 'one class only' }, gap: null },
      ],
    },
  },
  fairness: {
    group: ['source'],
    metrics: { demographic_parity_difference: 0.2, equalized_odds_ratio: null },
    undefined: { equalized_odds_ratio: 'a group has no positives' },
    labels: { good: { metrics: {}, groups: [{ group: 'mail', rows: 200, positives: 100, selection_rate: 0.4 }] } },
  },
  counterfactual: {
    rows: 10,
    changed: 0.1,
    mean_change: 0.02,
    max_change: 0.4,
    swaps: [{ from: 'he', to: 'she', rows: 10, changed: 0.1, mean_change: 0.02, shift: {} }],
    examples: [
      {
        id: 'a',
        text: { text: 'he is <i>' },
        swapped: { text: 'she is <i>' },
        before: { label: 'good' },
        after: { label: 'bad' },
        changed: true,
        change: 0.4,
      },
    ],
  },
};

const line = (value: object) => JSON.stringify(value);
export const HISTORY = [
  ...[1, 2, 3, 4].map((step) => line({ step, epoch: Math.ceil(step / 2), loss: 1 / step, learning_rate: 1e-4 })),
  line({ step: 2, epoch: 1, train_loss: 0.7, padding: 0, validation_loss: 0.5, validation_f1: 0.8 }),
  line({ step: 4, epoch: 2, train_loss: 0.3, padding: 0, validation_loss: 0.6, validation_f1: 0.85 }),
].join('\n');

/** A classifier with random weights. `sets`: it predicts sets of labels. */
export async function randomClassifier(labels = LABELS, { sets = false } = {}): Promise<string> {
  const start = smallModel();
  const folder = join(temporary(), 'model');
  mkdirSync(folder);
  const model = await startModel(start, {
    task: 'text-classification',
    ...(sets && { problem: 'multi_label_classification' as const }),
    labels,
    seed: 1,
    say: () => {},
  });
  await saveModel(folder, model);
  await copyTokenizer(start, folder);
  writeFileSync(join(folder, 'training.json'), JSON.stringify({ fields: { text: 'text' }, max_length: 32 }));
  return folder;
}
