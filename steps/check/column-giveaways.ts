/** Values of other columns that give a label away, such as a source of which all rows have one label: whole values, folders and prefixes. */

import type { TableColumn } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import type { CheckedData, Findings } from './findings.ts';
import { type Giveaway, type GiveawayOptions, givesAway, MOST_GIVEAWAYS, partsOf, shares, whyNot } from './giveaways.ts';
import type { Labels } from './labels.ts';

/** A column with more different values is compared by folders and prefixes. */
const MOST_VALUES = 1000;

interface Reading {
  column: string;
  /** What of the column counts. */
  part: 'value' | 'folder' | 'prefix';
  /** SQL for it. */
  sql: string;
}

interface ColumnGiveaway extends Omit<Giveaway, 'text'>, Pick<Reading, 'column' | 'part'> {
  /** Null for a row without a value. */
  value: string | null;
}

/** `giveaways.columns`: the share of rows with a value that gives their label away. The model does not read these columns. */
export async function checkColumnGiveaways(
  data: CheckedData,
  labels: Labels,
  options: GiveawayOptions | undefined,
  findings: Findings,
): Promise<void> {
  const { database, rows, splits } = data;
  const why = whyNot(labels, options);
  if (why !== undefined || !options) return findings.unknown(why ?? '', 'giveaways.columns');
  const parts = partsOf(splits);
  const found: ColumnGiveaway[] = [];
  const conditions: string[] = [];
  for (const column of data.columns.filter((one) => isCompared(one, data)))
    for (const reading of await readingsOf(column, data)) {
      const own = await giveawaysOf(reading, data, { options, part: parts.sql });
      found.push(...own);
      for (const { label, value } of own)
        conditions.push(
          `(keyed.label = ${literal(label)} AND ${reading.sql} IS NOT DISTINCT FROM ${value === null ? 'NULL' : literal(value)})`,
        );
    }
  findings.section('giveaways.columns', { ...options, confirmed_in: parts.confirmedIn, values: found as never });
  if (conditions.length === 0) return findings.figure('giveaways.columns', 0);
  const { n } = await database.row<{ n: number }>(
    `SELECT count(*) AS n FROM input JOIN keyed ON row = __row WHERE ${conditions.join(' OR ')}`,
  );
  findings.figure('giveaways.columns', n / rows);
}

const isCompared = ({ name, type }: TableColumn, { texts, label }: CheckedData): boolean =>
  !texts.includes(name) &&
  name !== label?.name &&
  name !== 'split' &&
  /^(VARCHAR|BOOLEAN|U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|ENUM.*)$/.test(type);

async function readingsOf({ name }: TableColumn, { database }: CheckedData): Promise<Reading[]> {
  const text = `input.${quote(name)}::VARCHAR`;
  const { n } = await database.row<{ n: number }>(
    `SELECT count(*) AS n FROM (SELECT DISTINCT ${text} FROM input LIMIT ${MOST_VALUES + 1})`,
  );
  if (n <= MOST_VALUES && name !== 'id') return [{ column: name, part: 'value', sql: text }];
  return [
    { column: name, part: 'folder', sql: `nullif(regexp_extract(${text}, '^(.*)/', 1), '')` },
    { column: name, part: 'prefix', sql: `nullif(regexp_extract(${text}, '^([^0-9/_:.#@ -]+)[0-9/_:.#@ -]', 1), '')` },
  ];
}

async function giveawaysOf(
  { column, part, sql }: Reading,
  { database }: CheckedData,
  { options, part: half }: { options: GiveawayOptions; part: string },
): Promise<ColumnGiveaway[]> {
  const found = await database.rows<Record<string, any>>(
    `WITH each AS (SELECT ${sql} AS value, keyed.label, ${half} AS part FROM input JOIN keyed ON row = __row WHERE keyed.label IS NOT NULL),
       sizes AS (SELECT label, count(*) FILTER (part = 0) AS train, count(*) FILTER (part = 1) AS confirmed FROM each GROUP BY label),
       valued AS (SELECT value, count(*) FILTER (part = 0) AS train, count(*) FILTER (part = 1) AS confirmed FROM each GROUP BY value),
       pairs AS (SELECT value, label, count(*) FILTER (part = 0) AS train, count(*) FILTER (part = 1) AS confirmed FROM each GROUP BY value, label)
     SELECT pairs.value, pairs.label, valued.train AS train_rows, pairs.train AS train_right, sizes.train AS train_all,
       valued.confirmed AS confirmed_rows, pairs.confirmed AS confirmed_right, sizes.confirmed AS confirmed_all,
       sizes.train / (SELECT sum(train) FROM sizes) AS prior
     FROM pairs JOIN sizes USING (label) JOIN valued ON valued.value IS NOT DISTINCT FROM pairs.value
     WHERE pairs.train >= ${options.precision} * valued.train ORDER BY pairs.train DESC, pairs.value`,
  );
  const counts = new Map<string, number>();
  return found.flatMap((row): ColumnGiveaway[] => {
    const train = shares({ rows: row.train_rows, right: row.train_right, all: row.train_all });
    const confirmed = shares({ rows: row.confirmed_rows, right: row.confirmed_right, all: row.confirmed_all });
    const before = counts.get(row.label) ?? 0;
    if (before === MOST_GIVEAWAYS || !givesAway({ train, confirmed }, options, row.prior)) return [];
    counts.set(row.label, before + 1);
    return [{ column, part, value: row.value, label: row.label, train, confirmed }];
  });
}
