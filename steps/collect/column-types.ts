/** Column types. A text column becomes numbers or booleans only if every value, parsed and printed, is the same text. */

import { StepError } from '../../engine/contract/step.ts';
import type { Database } from '../ml/data/database.ts';
import { asJson, literal, quote } from '../ml/data/sql.ts';
import { requireColumn } from '../ml/data/table.ts';
import type { Rejected } from './rejected.ts';

export type ColumnTypes = Record<string, 'text' | 'number' | 'boolean'>;

/** The columns of `raw` that are not the user's. */
export const OURS = ['__source', '__row'];

/** Gives the text columns of `raw` the types that lose nothing. If most values are numbers, reports the one that kept a column text. */
export async function inferTypes(database: Database, types: ColumnTypes, note: (message: string) => void): Promise<void> {
  for (const { name, type } of await database.columns('raw')) {
    if (OURS.includes(name) || type !== 'VARCHAR' || Object.hasOwn(types, name)) continue;
    const column = quote(name);
    const found = await database.row<Counts>(
      `SELECT count(value) AS n, count(*) FILTER (value = whole) AS whole, count(*) FILTER (value = fraction) AS fraction,
         count(*) FILTER (value IN ('true', 'false')) AS boolean, count(*) FILTER (regexp_full_match(value, ${NUMERIC})) AS numeric,
         count(*) FILTER (lower(value) IN ('true', 'false')) AS booleanLike
       FROM ${printedBack(column)}`,
    );
    const fitting = typeOf(found);
    if (fitting) await database.run(`ALTER TABLE raw ALTER COLUMN ${column} TYPE ${fitting}`);
    else if (found.n > 0 && 2 * Math.max(found.numeric, found.booleanLike) >= found.n) note(await whyText(database, name, found));
  }
}

interface Counts {
  [count: string]: number;
  n: number;
  whole: number;
  fraction: number;
  boolean: number;
  numeric: number;
  booleanLike: number;
}

/** Numbers in any notation. */
const NUMERIC = "'[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?'";

/** `value`, and how it would print as a number; a long text is not a number. */
const printedBack = (column: string) =>
  `(SELECT __source, __row, value, TRY_CAST(short AS BIGINT)::VARCHAR AS whole,
      CASE WHEN regexp_full_match(short, ${NUMERIC}) THEN TRY_CAST(short AS DOUBLE)::VARCHAR END AS fraction
    FROM (SELECT __source, __row, ${column} AS value, CASE WHEN strlen(${column}) < 40 THEN ${column} END AS short FROM raw))`;

function typeOf({ n, whole, fraction, boolean }: Counts): string | undefined {
  if (n === 0) return undefined;
  if (whole === n) return 'BIGINT';
  if (fraction === n) return 'DOUBLE';
  return boolean === n ? 'BOOLEAN' : undefined;
}

/** Reports the first value that is not a number, or that would print differently. */
async function whyText(database: Database, name: string, { n, numeric, booleanLike, whole, fraction }: Counts): Promise<string> {
  const numbers = numeric >= booleanLike;
  const condition = numbers
    ? numeric < n
      ? `NOT regexp_full_match(value, ${NUMERIC})`
      : whole + fraction < n
        ? '(value = whole OR value = fraction) IS NOT true'
        : 'value = whole'
    : booleanLike < n
      ? "lower(value) NOT IN ('true', 'false')"
      : "value NOT IN ('true', 'false')";
  const [first] = await database.rows<{ source: string; row: number; value: string; whole: string | null; fraction: string | null }>(
    `SELECT __source AS source, __row AS row, value, whole, fraction FROM ${printedBack(quote(name))} WHERE value IS NOT NULL AND (${condition})
     ORDER BY source, row LIMIT 1`,
  );
  const { source, row, value, ...as } = first!;
  const kind = numbers ? 'number' : 'boolean';
  const changed = numbers ? (as.fraction ?? as.whole) : value.toLowerCase();
  const isOne = numbers ? numeric === n : booleanLike === n;
  return keptText(name, { letters: value, source, row }, isOne ? `would become ${changed} as a ${kind}` : `is not a ${kind}`);
}

export const keptText = (name: string, { letters, source, row }: { letters: string; source: string; row: number }, why: string): string =>
  `the column \`${name}\` stays text: ${JSON.stringify(letters.slice(0, 60))} (${source}:${row}) ${why}; set \`types\` to change that`;

/** Gives the columns of `raw` the types that the user asked for, and rejects rows with other values. */
export async function applyTypes(database: Database, types: ColumnTypes, rejected: Rejected): Promise<void> {
  for (const [name, wanted] of Object.entries(types)) {
    const columns = (await database.columns('raw')).filter((column) => !OURS.includes(column.name));
    const { type } = requireColumn(columns, name, 'types', name);
    const column = quote(name);
    if (wanted === 'text') {
      if (type !== 'VARCHAR') await database.run(`ALTER TABLE raw ALTER COLUMN ${column} TYPE VARCHAR USING ${column}::VARCHAR`);
      continue;
    }
    if (NUMBERS.test(type) && wanted === 'number') continue;
    if (type === 'BOOLEAN' && wanted === 'boolean') continue;
    if (type !== 'VARCHAR' && !NUMBERS.test(type))
      throw new StepError(
        `types: the column \`${name}\` contains ${type}, which cannot be converted to ${wanted}`,
        'Remove it from `types`.',
        ['types', name],
      );
    await cast(database, name, wanted, rejected);
  }
}

const NUMBERS = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*)$/;

async function cast(database: Database, name: string, wanted: 'number' | 'boolean', rejected: Rejected): Promise<void> {
  const column = quote(name);
  const letters = `trim(${column}::VARCHAR)`;
  const value =
    wanted === 'boolean'
      ? `CASE lower(${letters}) WHEN 'true' THEN true WHEN 'false' THEN false WHEN '1' THEN true WHEN '0' THEN false END`
      : `CASE WHEN regexp_full_match(${letters}, ${NUMERIC}) THEN TRY_CAST(${letters} AS DOUBLE) END`;
  const others = (await database.columns('raw')).map((each) => each.name).filter((each) => !OURS.includes(each));
  // An empty field is not a number, but missing.
  const wrong = `${column} IS NOT NULL AND ${letters} <> '' AND ${value} IS NULL`;
  const rows = database.stream<{ source: string; row: number; letters: string; value: string }>(
    `SELECT __source AS source, __row AS row, ${column}::VARCHAR AS letters, ${asJson(others)} AS value FROM raw WHERE ${wrong}`,
  );
  for await (const chunk of rows)
    for (const { source, row, letters: text, value: json } of chunk)
      rejected.add(source, row, `\`${name}\` is not a ${wanted}: ${JSON.stringify(text.slice(0, 60))}`, json);
  await database.run(`DELETE FROM raw WHERE ${wrong}`);
  const { whole } = await database.row<{ whole: boolean }>(
    `SELECT coalesce(bool_and(regexp_full_match(${letters}, '[+-]?[0-9]{1,18}|')), false) AS whole FROM raw WHERE ${column} IS NOT NULL`,
  );
  if (wanted === 'number' && whole)
    await database.run(`ALTER TABLE raw ALTER COLUMN ${column} TYPE BIGINT USING TRY_CAST(${letters} AS BIGINT)`);
  else await database.run(`ALTER TABLE raw ALTER COLUMN ${column} TYPE ${wanted === 'number' ? 'DOUBLE' : 'BOOLEAN'} USING ${value}`);
}

/* Finds comparisons of a text with a number: DuckDB would convert the text, so that '1.10' = 1.1 and '00501' = 501 hold. */

/** The sides, as SQL, of the first such comparison in an expression over the relation `data`; undefined if there is none. */
export async function mixedComparison(database: Database, sql: string, data: string) {
  const { json } = await database.row<{ json: string }>(
    `SELECT json_serialize_sql(${literal(`SELECT (\n${sql}\n) FROM ${data}`)})::VARCHAR AS json`,
  );
  // Positions are not needed, and some have more digits than a number keeps.
  const parsed = JSON.parse(json.replaceAll(/"query_location":\d+/g, '"query_location":0')) as Parsed;
  const node = parsed.statements?.[0]?.node;
  if (!node) return undefined;
  for (const operands of comparisonsIn(node.select_list)) {
    const sides: { sql: string; type: string }[] = [];
    for (const operand of operands) {
      // A literal text or null takes the type of the other operand, and a literal number is a number anyway.
      const side = await described(database, parsed, operand);
      if (side) sides.push({ ...side, type: isConstant(operand) && side.type === 'VARCHAR' ? 'constant' : side.type });
    }
    const text = sides.find(({ type }) => type === 'VARCHAR');
    const number = sides.find(({ type }) => NUMBERS.test(type));
    if (text && number) return { text: text.sql, number: number.sql };
  }
  return undefined;
}

/** As json_serialize_sql writes it. */
interface Parsed {
  statements?: { node: { select_list: Node[] } }[];
}

interface Node {
  class?: string;
  type?: string;
  [member: string]: unknown;
}

const isConstant = (node: Node) => node.class === 'CONSTANT';

/** The operands of each comparison, at any depth. */
function* comparisonsIn(value: unknown): Generator<Node[]> {
  if (typeof value !== 'object' || value === null) return;
  const node = value as Node;
  if (node.class === 'COMPARISON') yield [node.left, node.right] as Node[];
  if (node.class === 'BETWEEN') yield [node.input, node.lower, node.upper] as Node[];
  if (node.type === 'COMPARE_IN' || node.type === 'COMPARE_NOT_IN') yield node.children as Node[];
  for (const child of Object.values(node)) yield* comparisonsIn(child);
}

/** The type of an operand that can be evaluated alone, which excludes lambda parameters. */
async function described(database: Database, whole: Parsed, operand: Node): Promise<{ sql: string; type: string } | undefined> {
  const statement = structuredClone(whole);
  statement.statements![0]!.node.select_list = [operand];
  try {
    const { sql } = await database.row<{ sql: string }>(`SELECT json_deserialize_sql(${literal(JSON.stringify(statement))}) AS sql`);
    const [column] = await database.columns(`(${sql})`);
    const written = /^SELECT (.*?) FROM /s.exec(sql)?.[1] ?? sql;
    return column && { sql: written.replaceAll(/main\."?(\w+)"?\(/g, '$1('), type: column.type };
  } catch {
    return undefined; // its errors are reported when it runs
  }
}
