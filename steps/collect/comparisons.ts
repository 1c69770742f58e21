/**
 * Finds where SQL compares a text with a number: to compare, DuckDB would make a number of the text, so that '1.10' = 1 and
 * '00501' = 501 hold.
 */
import { type Database, literal } from '../data/database.ts';

export interface Mixed {
  /** The text's side and the number's, as SQL. */
  text: string;
  number: string;
}

/** The first such comparison of an expression over the relation `data`; none where the expression cannot be read. */
export async function mixedComparison(database: Database, sql: string, data: string): Promise<Mixed | undefined> {
  const { json } = await database.row<{ json: string }>(
    `SELECT json_serialize_sql(${literal(`SELECT (\n${sql}\n) FROM ${data}`)})::VARCHAR AS json`,
  );
  // Places are of no use here, and some have more digits than a number keeps.
  const parsed = JSON.parse(json.replaceAll(/"query_location":\d+/g, '"query_location":0')) as Parsed;
  const node = parsed.statements?.[0]?.node;
  if (!node) return undefined;
  for (const operands of comparisonsIn(node.select_list)) {
    const sides: { sql: string; type: string }[] = [];
    for (const operand of operands) {
      // A text or null that is written out takes the type of what it is compared with, and a number is one anyway.
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

/** The type of an operand, where it stands for itself: not of one that depends on the parameter of a lambda. */
async function described(database: Database, whole: Parsed, operand: Node): Promise<{ sql: string; type: string } | undefined> {
  const statement = structuredClone(whole);
  statement.statements![0]!.node.select_list = [operand];
  try {
    const { sql } = await database.row<{ sql: string }>(`SELECT json_deserialize_sql(${literal(JSON.stringify(statement))}) AS sql`);
    const [column] = await database.columns(`(${sql})`);
    const written = /^SELECT (.*?) FROM /s.exec(sql)?.[1] ?? sql;
    return column && { sql: written.replaceAll(/main\."?(\w+)"?\(/g, '$1('), type: column.type };
  } catch {
    return undefined; // what is wrong with it is said when it is run
  }
}
