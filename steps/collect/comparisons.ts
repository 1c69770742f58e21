/**
 * Finds SQL that compares a text with a number. DuckDB would convert the text to a number, so that '1.10' = 1.1 and
 * '00501' = 501 hold.
 */
import { type Database, literal } from '../data/database.ts';

export interface Mixed {
  /** The side of the text and that of the number, as SQL. */
  text: string;
  number: string;
}

/**
 * The first such comparison in an expression over the relation `data`; undefined if the expression cannot be parsed.
 */
export async function mixedComparison(database: Database, sql: string, data: string): Promise<Mixed | undefined> {
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
    const number = sides.find(({ type }) => /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*)$/.test(type));
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
