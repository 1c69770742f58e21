/** Columns and their types, missing values, and labels that are not expected. */
import type { TableColumn } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { type CheckedData, count, type Findings } from './findings.ts';

type ExpectedType = 'text' | 'number' | 'boolean' | 'list' | 'any';

/** Compares the columns with those that are expected. `schema`: the number of differences. */
export async function checkSchema(data: CheckedData, expected: Record<string, ExpectedType>, findings: Findings): Promise<void> {
  const differences: { column: string; expected: string; found: string | null }[] = Object.entries(expected).flatMap(([name, type]) => {
    const column = data.columns.find((one) => one.name === name);
    const found = column && typeOf(column);
    return type === found || (column && type === 'any') ? [] : [{ column: name, expected: type, found: column ? column.type : null }];
  });
  const { ids } = await data.database.row<{ ids: number }>('SELECT count(*) - count(DISTINCT id) AS ids FROM keyed');
  if (ids > 0) {
    differences.push({
      column: 'id',
      expected: 'unique',
      found: `${count(ids)} of ${count(data.rows)} rows have the id of another row, or none`,
    });
    await findings.problem(
      'schema',
      `SELECT row, CASE WHEN id IS NULL THEN 'the row has no id' ELSE 'another row has the same id' END AS detail, row AS rank
       FROM keyed QUALIFY id IS NULL OR count(*) OVER (PARTITION BY id) > 1`,
    );
  }
  findings.figure('schema', differences.length);
  findings.section('schema', { columns: data.columns.map(({ name, type }) => ({ name, type })), differences });
}

function typeOf({ type }: TableColumn): ExpectedType | undefined {
  if (type.endsWith('[]')) return 'list';
  if (type === 'VARCHAR') return 'text';
  if (type === 'BOOLEAN') return 'boolean';
  return /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*)$/.test(type) ? 'number' : undefined;
}

/**
 * Counts the rows without a value in each column. A value is missing if it is null or not a number (NaN), and empty if it is a text
 * of white space or a list without items. A list without labels is a value. `missing`: the share of rows without a value in one of the `required` columns.
 */
export async function checkMissing({ database, columns, rows, label }: CheckedData, required: string[], findings: Findings): Promise<void> {
  const absent = columns.map((column) => missingIn(column));
  const empty = columns.map((column) => (column.name === label?.name && column.type.endsWith('[]') ? 'false' : emptyIn(column)));
  const needed = columns.flatMap(({ name }, i) => (required.includes(name) ? [`(${absent[i]} OR ${empty[i]})`] : []));
  const any = needed.join(' OR ') || 'false';
  const counts = await database.row<Record<string, number>>(
    `SELECT ${columns.map((_, i) => `count(*) FILTER (${absent[i]}) AS m${i}, count(*) FILTER (${empty[i]}) AS e${i}`).join(', ')},
       count(*) FILTER (${any}) AS any FROM input`,
  );
  findings.figure('missing', counts.any! / rows);
  columns.forEach(({ name }, i) => {
    findings.figure(`missing.${name}`, (counts[`m${i}`]! + counts[`e${i}`]!) / rows);
  });
  findings.section('missing', {
    rows: counts.any!,
    required,
    columns: Object.fromEntries(columns.map(({ name }, i) => [name, { missing: counts[`m${i}`]!, empty: counts[`e${i}`]! }])),
  });
  const details = columns.flatMap(({ name }, i) =>
    required.includes(name)
      ? [`CASE WHEN ${absent[i]} THEN ${literal(`${name} is missing`)} WHEN ${empty[i]} THEN ${literal(`${name} is empty`)} END`]
      : [],
  );
  if (counts.any! > 0)
    await findings.problem(
      'missing',
      `SELECT __row AS row, concat_ws('; ', ${details.join(', ')}) AS detail, __row AS rank FROM input WHERE ${any}`,
    );
}

function missingIn({ name, type }: TableColumn): string {
  const column = quote(name);
  return /^(FLOAT|DOUBLE)$/.test(type) ? `(${column} IS NULL OR isnan(${column}))` : `${column} IS NULL`;
}

function emptyIn({ name, type }: TableColumn): string {
  if (type === 'VARCHAR') return `coalesce(${isBlank(quote(name))}, false)`;
  return type.endsWith('[]') ? `coalesce(len(${quote(name)}) = 0, false)` : 'false';
}

/** SQL: whether a text consists of white space. */
export const isBlank = (text: string): string => `regexp_full_match(${text}, '[\\s\\p{Z}\\x{FEFF}]*')`;
