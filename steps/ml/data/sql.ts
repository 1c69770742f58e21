/**
 * Names and texts in SQL. Apart from database.ts, so that what only answers with a model does not load DuckDB.
 */
import { StepError } from '../../../engine/contract/step.ts';

/** An SQL identifier. @throws StepError for a name with NUL, which SQL cannot express */
export function quote(name: string): string {
  if (name.includes('\0')) throw new StepError(`the column name ${JSON.stringify(name)} contains a NUL character`, 'Rename the column.');
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * Advice for the name of a column that SQL reads otherwise unless it is quoted: with a dash or a space, or a keyword such as
 * `group`. `message`: the error of the expression `sql`.
 */
export function quotingAdvice(columns: readonly { name: string }[], sql: string, message: string): string {
  const words = new Set(sql.match(/[\p{L}_][\p{L}\p{N}_]*/gu));
  const isSyntax = /syntax error/.test(message);
  const bare = columns.find(({ name }) => {
    if (!sql.includes(name) || sql.includes(quote(name))) return false;
    if (sql.trim() === name || !/^[\p{L}_][\p{L}\p{N}_]*$/u.test(name)) return true;
    return isSyntax && words.has(name) && RESERVED.has(name.toLowerCase());
  });
  return bare ? ` In SQL, \`${bare.name}\` needs double quotes: '${quote(bare.name)}'.` : '';
}

/** DuckDB's reserved words. */
const RESERVED = new Set(
  `all analyse analyze and any array as asc both case cast check collate column constraint create default desc distinct do else end
  except false fetch for foreign from group having in initially intersect into lambda lateral leading limit not null offset on only or
  order pivot placing primary qualify references returning select show some summarize symmetric table then to trailing true union unique
  unpivot using variadic when where window with`.split(/\s+/),
);

/** An SQL string literal. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** SQL for columns of a row as one JSON text. */
export const asJson = (columns: string[]): string =>
  `to_json(struct_pack(${columns.map((name) => `${quote(name)} := ${quote(name)}`).join(', ')}))::VARCHAR`;
