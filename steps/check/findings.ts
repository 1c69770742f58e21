/** What the checks have found: figures, sections of the report, and the problems of rows. */
import type { Json } from '../../engine/contract/step.ts';
import type { Database, Row, TableColumn } from '../ml/data/database.ts';
import { literal } from '../ml/data/sql.ts';

/** The data that are checked. */
export interface CheckedData {
  /** It has the views `input` and `bodies` and the table `keyed` (see check.ts). */
  database: Database;
  columns: TableColumn[];
  rows: number;
  /** The columns of texts. */
  texts: string[];
  /** Absent if the data have no labels. */
  label?: TableColumn;
  /** The names of the splits; `keyed.split` is a position in it. Empty if the data have no column `split`. */
  splits: string[];
}

/** The problems that a row can have, in the order in which the report lists them. */
const PROBLEMS = [
  'schema',
  'missing',
  'unexpected_label',
  'label_not_in_train',
  'duplicate',
  'near_duplicate',
  'across_splits',
  'conflicting_label',
  'label_in_text',
  'giveaway',
  'too_long',
  'other_language',
  'label_error',
] as const;

export type Problem = (typeof PROBLEMS)[number];

export class Findings {
  /** By name; null for a figure that is undefined, for the reason in `undefined`. */
  readonly metrics: Record<string, number | null> = {};
  readonly undefined: Record<string, string> = {};
  readonly sections: Record<string, Json> = {};

  private constructor(private readonly database: Database) {}

  static async start(database: Database): Promise<Findings> {
    await database.run('CREATE TABLE problems (row BIGINT, place INTEGER, problem VARCHAR, detail VARCHAR, rank DOUBLE)');
    return new Findings(database);
  }

  figure(name: string, value: number): void {
    this.metrics[name] = value;
  }

  unknown(why: string, ...names: string[]): void {
    for (const name of names) {
      this.metrics[name] = null;
      this.undefined[name] = why;
    }
  }

  section(name: string, content: Json): void {
    this.sections[name] = content;
  }

  /** @param query gives `row`, `detail` and `rank`; rows with a low rank are shown first */
  async problem(problem: Problem, query: string): Promise<void> {
    await this.database.run(
      `INSERT INTO problems SELECT row, ${PROBLEMS.indexOf(problem)}, ${literal(problem)}, detail, rank FROM (${query})`,
    );
  }

  /** The number of rows with each problem that occurs. */
  async counts(): Promise<Record<string, number>> {
    const counts = await this.database.rows<{ problem: string; n: number }>(
      'SELECT problem, count(DISTINCT row) AS n FROM problems GROUP BY problem, place ORDER BY place',
    );
    return Object.fromEntries(counts.map(({ problem, n }) => [problem, n]));
  }

  /** Some rows with each problem. */
  async examples({ splits }: CheckedData, most: number): Promise<Record<string, Row[]>> {
    const found = await this.database.rows<Row & { problem: string }>(
      `SELECT problem, keyed.id, ${splits.length > 0 ? `[${splits.map(literal).join(', ')}][keyed.split + 1] AS split,` : ''} keyed.label, detail,
         left(__text, ${SHOWN}) AS text
       FROM (SELECT * FROM problems QUALIFY row_number() OVER (PARTITION BY problem ORDER BY rank, row) <= ${most}) AS problems
       JOIN keyed USING (row) JOIN bodies ON __row = row ORDER BY place, rank, row`,
    );
    const examples: Record<string, Row[]> = {};
    for (const { problem, ...row } of found) examples[problem] = [...(examples[problem] ?? []), row];
    return examples;
  }
}

/** Characters of a text in the report. */
const SHOWN = 300;

export const count = (value: number): string => value.toLocaleString('en-US');
