/** The figures of a report equal those of the metrics, the predictions, the history, the record of the run and the lockfile. */
import { readFileSync } from 'node:fs';
import { parseHTML } from 'linkedom';
import { expect, test } from 'vitest';
import { Database, type Row } from '../../../steps/ml/data/database.ts';
import { tableOf } from '../../../steps/ml/data/table.ts';
import { project } from '../../rig.ts';
import { modelOf, rows, wordsOf } from '../../steps/small.ts';

const PIPELINE = `
name: figures
steps:
  collect: { uses: collect, with: { files: rows.jsonl } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.collect.data }}", model: ./model, max_length: 24 } }
  train:
    uses: train
    resources: { cpu: 1 }
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: ./model, epochs: 3, batch_size: 4, learning_rate: 1e-2, seed: 4 }
  test:
    uses: evaluate
    with:
      model: \${{ steps.train.model }}
      tokens: \${{ steps.tokenize.tokens }}
      data: \${{ steps.collect.data }}
      metrics: [accuracy, f1, roc_auc]
      positive: good
      slices: { length: { length: text, unit: words } }
`;

test('values of the page are those of the files', async () => {
  const p = project({ 'p.yaml': PIPELINE });
  const all = rows({ train: 60, validation: 20, test: 60 }).map((row, i) =>
    i % 7 === 0 ? { ...row, label: i % 2 === 0 ? 'good' : 'bad' } : row,
  );
  p.write('rows.jsonl', all.map((row) => JSON.stringify(row)).join('\n'));
  p.write('model/.keep', '');
  modelOf(
    wordsOf(all.map(({ text }) => text).join(' ')),
    { hidden_size: 16, num_hidden_layers: 1, intermediate_size: 32, initializer_range: 0.05 },
    p.path('model'),
  );
  const ran = await p.run('run', 'p.yaml');
  expect(ran.code, ran.stderr).toBe(0);
  const made = await p.run('report', 'p.yaml', '-o', 'page.html');
  expect(made.code, made.stderr).toBe(0);
  const { document } = parseHTML(p.read('page.html'));
  const tableIn = (section: string, caption: RegExp): string[][] => {
    const tables = [...document.querySelectorAll(`#${section} table`)];
    const table = tables.find((one) => caption.test(one.querySelector('caption')!.textContent!))!;
    return [...table.querySelectorAll('tr')].map((row) => [...row.children].map((cell) => cell.textContent!));
  };
  const outputs = p.path('.tunesmith/outputs/figures');
  const read = (name: string) => JSON.parse(readFileSync(`${outputs}/${name}`, 'utf8'));

  // The metrics and their intervals.
  const metrics = read('test/metrics');
  const figures = [...document.querySelectorAll('.figures > div')].map((one) => [...one.children].map(({ textContent }) => textContent!));
  expect(figures.map(([name]) => name)).toEqual(['accuracy', 'f1', 'roc_auc']);
  for (const [name, value, interval] of figures) {
    expect(Number(value), name).toBeCloseTo(metrics.metrics[name!], 4);
    const [low, high] = JSON.parse(interval!);
    expect(low, name).toBeCloseTo(metrics.intervals[name!].low, 4);
    expect(high, name).toBeCloseTo(metrics.intervals[name!].high, 4);
  }
  const slices = tableIn('slices', /^Slices of length/).slice(1);
  expect(slices.map(([slice, n]) => [slice, Number(n)])).toEqual(
    metrics.slices.length.slices.map(({ slice, rows }: { slice: string; rows: number }) => [slice, rows]),
  );

  // The counts and the order of the mistakes.
  const database = await Database.open();
  const predicted = (sql: string) => database.rows<Row>(sql.replace('PREDICTED', tableOf(`${outputs}/test/predictions`)));
  const pairs = await predicted('SELECT label, prediction, count(*) AS n FROM PREDICTED GROUP BY ALL');
  const matrix = tableIn('confusion', /^Rows are true/);
  const labels = matrix[0]!.slice(1, -1);
  for (const [label, ...counts] of matrix.slice(1))
    for (const [c, prediction] of labels.entries())
      expect(Number(counts[c])).toBe(pairs.find((pair) => pair.label === label && pair.prediction === prediction)?.n ?? 0);
  const worst = await predicted('SELECT id, score, loss FROM PREDICTED WHERE NOT correct ORDER BY loss DESC, id LIMIT 20');
  database.close();
  expect(worst.length).toBeGreaterThan(3);
  const examples = document.querySelector('#mistakes .examples')!.querySelectorAll('.example');
  const facts = [...examples].map((one) =>
    Object.fromEntries([...one.querySelectorAll('dl > div')].map(({ children: [name, value] }) => [name!.textContent, value!.textContent])),
  );
  expect(facts.map(({ id }) => id)).toEqual(worst.map(({ id }) => id));
  for (const [i, { score, loss }] of facts.entries()) {
    expect(Number(score)).toBeCloseTo(worst[i]!.score as number, 4);
    expect(Number(loss)).toBeCloseTo(worst[i]!.loss as number, 3);
  }

  // The history.
  const history = p
    .read('.tunesmith/outputs/figures/train/history')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const measured = history.filter((line) => 'validation_loss' in line);
  const [head, ...evaluations] = tableIn('training', /^Evaluations during training/);
  expect(evaluations).toHaveLength(3);
  for (const [i, line] of measured.entries())
    for (const [c, name] of head!.entries()) expect(Number.parseFloat(evaluations[i]![c]!), name).toBeCloseTo(line[name], 3);

  // The cells and the hashes.
  const states = tableIn('pipeline-cells', /^Cells with/).slice(1);
  expect(states.map(([cell, state]) => `${cell} ${state}`)).toEqual(['collect ran', 'tokenize ran', 'train ran', 'test ran']);
  const lock = p.read('p.lock');
  for (const [cell, fingerprint, hashes] of tableIn('lockfile', /lockfile has the same/).slice(1)) {
    expect(lock, cell).toContain(`fingerprint: ${fingerprint}`);
    for (const pair of hashes!.split(', ')) expect(lock, cell).toContain(` ${pair.split(' ')[1]}`);
  }
});
