/**
 * A custom step (docs/custom-steps.md): chooses the examples from which the models of one cell learn, and those on which they are judged.
 * Mails and definitions have splits. The seed chooses examples of the split train, with each label in its proportion. The reviews have
 * no splits: the seeds 0 to 4 are the folds of one cross-validation, and 5 to 9 those of another.
 */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { defineStep } from 'tunesmith';

interface Row {
  id: string;
  text: string;
  label: string;
  split?: string;
}

const FOLDS = 5;

export default defineStep({
  name: 'sample',
  version: 1,
  description: 'Chooses the examples of one cell of the comparison.',
  inputs: {
    mails: { kind: 'folder', description: 'A table with a column `split`.' },
    definitions: { kind: 'folder', description: 'A table with a column `split`.' },
    reviews: { kind: 'folder', description: 'A table without splits.' },
  },
  outputs: { rows: { kind: 'file', description: 'JSON lines with id, text, label, and split: train or test.' } },
  options: {
    set: { enum: ['mails', 'definitions', 'reviews'], description: 'The set of examples.' },
    labels: { anyOf: [{ type: 'integer', minimum: 1 }, { const: 'all' }], description: 'How many examples to learn from, or all.' },
    judge: { enum: ['test', 'validation'], description: 'The split on which the models are judged.' },
    seed: { type: 'integer', minimum: 0, description: 'Chooses the examples, or the fold of the reviews.' },
  },
  async run({ options: { set, labels, judge, seed }, inputs, outputs, log }) {
    const rows = await readTable(inputs[set]);
    const [train, test] =
      set === 'reviews'
        ? foldOf(rows, seed)
        : [
            sample(
              rows.filter(({ split }) => split === 'train'),
              labels === 'all' ? Number.POSITIVE_INFINITY : labels,
              seed,
            ),
            rows.filter(({ split }) => split === judge),
          ];
    log(`${train.length} examples to learn from, ${test.length} to judge`);
    const lines = [...train.map((row) => ({ ...row, split: 'train' })), ...test.map((row) => ({ ...row, split: 'test' }))];
    await writeFile(outputs.rows!, lines.map((row) => `${JSON.stringify(row)}\n`).join(''));
  },
});

async function readTable(folder: string): Promise<Row[]> {
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  const file = path.join(folder, 'data.parquet').replaceAll("'", "''");
  const reader = await connection.runAndReadAll(`FROM read_parquet('${file}')`);
  return reader.getRowObjectsJson() as unknown as Row[];
}

/**
 * Orders the rows so that any number of first rows has each label in its proportion, give or take one row, and takes the first rows.
 * Each label occurs at least once, because a bag of words cannot learn a label that it never sees.
 */
function sample(rows: Row[], most: number, seed: number): Row[] {
  return [...byLabel(rows, String(seed)).values()]
    .flatMap((ofLabel) => ofLabel.map((row, i) => ({ row, place: i === 0 ? 0 : (i + 0.5) / ofLabel.length })))
    .sort((a, b) => a.place - b.place || a.row.label.localeCompare(b.row.label, 'en'))
    .slice(0, most)
    .map(({ row }) => row);
}

function foldOf(rows: Row[], seed: number): [Row[], Row[]] {
  const [repeat, fold] = [Math.floor(seed / FOLDS), seed % FOLDS];
  const dealt = [...byLabel(rows, `repeat ${repeat}`).values()].flat();
  return [dealt.filter((_, i) => i % FOLDS !== fold), dealt.filter((_, i) => i % FOLDS === fold)];
}

/** The rows of each label, in an order that depends only on their texts and the salt. */
function byLabel(rows: Row[], salt: string): Map<string, Row[]> {
  const hashed = rows
    .map((row) => ({ row, hash: createHash('sha256').update(`${salt}\0${row.text}`).digest('hex') }))
    .sort((a, b) => (a.hash < b.hash ? -1 : 1));
  return Map.groupBy(
    hashed.map(({ row }) => row),
    ({ label }) => label,
  );
}
