/** The balance of labels, in all rows and in each split. */
import type { Json } from '../../engine/contract/step.ts';
import type { TableColumn } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { type CheckedData, count, type Findings } from './findings.ts';

/** A column with more different values is not a column of classes. */
const MOST_LABELS = 1000;

/** An integer column with more different values contains numbers. */
const MOST_NUMBERS = 100;

/** Why the labels are no classes, or their names in the order of their frequency. A row with a list has each label in it. */
export type Labels = { why: string; names?: undefined; lists?: undefined } | { why?: undefined; names: string[]; lists: boolean };

const FIGURES = ['label_balance.largest', 'label_balance.smallest', 'label_balance.ratio'];

export async function checkLabels(data: CheckedData, expected: string[] | undefined, findings: Findings): Promise<Labels> {
  const { database, label } = data;
  const labels = await labelsOf(data);
  if (labels.why !== undefined || label === undefined) {
    const why = labels.why ?? '';
    findings.unknown(why, ...FIGURES, 'label_balance.difference', 'label_not_in_train', ...(expected ? ['unexpected_label'] : []));
    findings.section('labels', { column: label?.name ?? null, why });
    return labels;
  }
  await database.run(
    `CREATE TABLE labelled AS SELECT row, split, value AS label FROM ${valuesOf(label, labels.lists)} JOIN keyed ON row = __row WHERE value IS NOT NULL`,
  );
  const counts = await database.rows<{ split: number | null; label: string; n: number }>(
    'SELECT split, label, count(*) AS n FROM labelled GROUP BY ALL ORDER BY split, n DESC, label',
  );
  const total = new Map<string, number>();
  for (const { label, n } of counts) total.set(label, (total.get(label) ?? 0) + n);
  const sizes = [...total.values()];
  const all = sizes.reduce((sum, n) => sum + n, 0);
  findings.figure('label_balance.largest', Math.max(...sizes) / all);
  findings.figure('label_balance.smallest', Math.min(...sizes) / all);
  if (sizes.length > 1) findings.figure('label_balance.ratio', Math.max(...sizes) / Math.min(...sizes));
  else findings.unknown(`all rows have the label ${JSON.stringify(labels.names[0])}`, 'label_balance.ratio');
  findings.section('labels', { column: label.name, lists: labels.lists, counts: Object.fromEntries(total), splits: bySplit(data, counts) });
  await compareSplits(data, counts, findings);
  if (expected) await checkExpected(data, expected, findings);
  return labels;
}

async function labelsOf({ database, columns, label }: CheckedData): Promise<Labels> {
  if (!label) return { why: `the data have no column \`label\` (the columns are ${columns.map(({ name }) => name).join(', ')})` };
  const { name, type } = label;
  if (/^(FLOAT|DOUBLE|DECIMAL)/.test(type)) return { why: `the column \`${name}\` contains numbers (${type})` };
  const lists = type.endsWith('[]');
  if (!lists && /STRUCT|MAP/.test(type)) return { why: `the column \`${name}\` contains ${type}` };
  const found = await database.rows<{ label: string }>(
    `SELECT value AS label FROM ${valuesOf(label, lists)} WHERE value IS NOT NULL GROUP BY value
     ORDER BY count(*) DESC, value LIMIT ${MOST_LABELS + 1}`,
  );
  if (found.length === 0) return { why: `no row has a value in the column \`${name}\`` };
  const most = /INT/.test(type) ? MOST_NUMBERS : MOST_LABELS;
  if (found.length > most) return { why: `the column \`${name}\` has more than ${count(most)} different values` };
  return { names: found.map((one) => one.label), lists };
}

/** SQL: `value` for each label, and `__row`. */
const valuesOf = ({ name }: TableColumn, lists: boolean): string =>
  lists ? `(SELECT __row, unnest(${quote(name)}::VARCHAR[]) AS value FROM input)` : '(SELECT row AS __row, label AS value FROM keyed)';

function bySplit({ splits }: CheckedData, counts: { split: number | null; label: string; n: number }[]): Json {
  return Object.fromEntries(
    splits.map((name, split) => [name, Object.fromEntries(counts.filter((one) => one.split === split).map(({ label, n }) => [label, n]))]),
  );
}

/**
 * `label_balance.difference`: the largest total variation distance between the labels of the split train and those of another split.
 * `label_not_in_train`: the share of the other splits' labels that the split train does not have.
 */
async function compareSplits({ splits }: CheckedData, counts: { split: number | null; label: string; n: number }[], findings: Findings) {
  const train = splits.indexOf('train');
  const others = splits.flatMap((_, split) => (split === train ? [] : [split]));
  const shares = (split: number) => {
    const own = counts.filter((one) => one.split === split);
    const all = own.reduce((sum, { n }) => sum + n, 0);
    return new Map(own.map(({ label, n }) => [label, n / all]));
  };
  const trained = train < 0 ? new Map<string, number>() : shares(train);
  const compared = others.map(shares).filter(({ size }) => size > 0);
  if (trained.size === 0 || compared.length === 0) {
    findings.unknown(whyNotAcross(splits), 'label_balance.difference', 'label_not_in_train');
    return;
  }
  const distance = (one: Map<string, number>) =>
    [...new Set([...one.keys(), ...trained.keys()])].reduce(
      (sum, label) => sum + Math.abs((one.get(label) ?? 0) - (trained.get(label) ?? 0)) / 2,
      0,
    );
  findings.figure('label_balance.difference', Math.max(...compared.map(distance)));
  const outside = counts.filter(({ split }) => split !== null && split !== train);
  const rows = outside.reduce((sum, { n }) => sum + n, 0);
  const unseen = outside.filter(({ label }) => !trained.has(label));
  findings.figure('label_not_in_train', unseen.reduce((sum, { n }) => sum + n, 0) / rows);
  if (unseen.length > 0)
    await findings.problem(
      'label_not_in_train',
      `SELECT row, 'the split train has no row with the label ' || to_json(any_value(label)) AS detail, row AS rank FROM labelled
       WHERE split <> ${train} AND label IN (${unseen.map(({ label }) => literal(label)).join(', ')}) GROUP BY row`,
    );
}

/** Why figures about several splits are undefined. */
export function whyNotAcross(splits: string[]): string {
  if (splits.length === 0) return 'the data have no column `split`';
  return splits.length === 1 ? `all rows are in the split ${splits[0]}` : 'only one split has rows to compare';
}

async function checkExpected({ database, rows }: CheckedData, expected: string[], findings: Findings): Promise<void> {
  const other = `label NOT IN (${expected.map(literal).join(', ')})`;
  const { n } = await database.row<{ n: number }>(`SELECT count(DISTINCT row) AS n FROM labelled WHERE ${other}`);
  findings.figure('unexpected_label', n / rows);
  if (n > 0)
    await findings.problem(
      'unexpected_label',
      `SELECT row, 'the label ' || to_json(min(label)) || ' is not expected' AS detail, row AS rank FROM labelled WHERE ${other} GROUP BY row`,
    );
}
