/**
 * Names and texts in SQL. Apart from database.ts, so that what only answers with a model does not load DuckDB.
 */
import { StepError } from '../../../engine/contract/step.ts';

/** An SQL identifier. @throws StepError for a name with NUL, which SQL cannot express */
export function quote(name: string): string {
  if (name.includes('\0')) throw new StepError(`the column name ${JSON.stringify(name)} contains a NUL character`, 'Rename the column.');
  return `"${name.replaceAll('"', '""')}"`;
}

/** An SQL string literal. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** SQL for columns of a row as one JSON text. */
export const asJson = (columns: string[]): string =>
  `to_json(struct_pack(${columns.map((name) => `${quote(name)} := ${quote(name)}`).join(', ')}))::VARCHAR`;
