/** The value of a column for each example of a split: tokens have only the ids of their rows, so the data are read beside them. */

import { StepError } from '../../../engine/contract/step.ts';
import { BIGINT, Database, VARCHAR } from '../data/database.ts';
import { quote } from '../data/sql.ts';
import { requireColumn, tableOf } from '../data/table.ts';
import type { ModelCalibration } from '../models/calibration.ts';
import type { Split } from '../models/token-dataset.ts';

export interface Groups {
  type: 'text' | 'number' | 'boolean';
  /** The values that occur, in their sort order. */
  names: string[];
  /** For each example, the index of its value; -1 if the value is missing. */
  of: Int32Array;
}

/** `data`: the folder of the table that the tokens were made of. `option`: the option or the input that the errors point to. */
export async function readGroups(split: Pick<Split, 'rows' | 'examples'>, data: string, column: string, option: string): Promise<Groups> {
  const database = await Database.open();
  try {
    const table = tableOf(data);
    const { type } = requireColumn(await database.columns(table), column, option);
    if (!GROUPING.test(type))
      throw new StepError(
        `the column \`${column}\` contains ${type}, and groups are texts, whole numbers, dates or booleans`,
        'Convert it with `select` of collect.',
        [option],
      );
    await database.run('CREATE TABLE examples (example BIGINT, id VARCHAR)');
    const appender = await database.append('examples', [BIGINT, VARCHAR]);
    let count = 0n;
    for await (const { id } of split.examples()) appender.add(count++, id);
    appender.close();
    await database.run(
      `CREATE VIEW grouped AS SELECT example, examples.id, data.id IS NULL AS lacking, data.value
       FROM examples LEFT JOIN (SELECT id::VARCHAR AS id, first(${quote(column)}::VARCHAR) AS value FROM ${table} GROUP BY ALL) AS data
       ON data.id = examples.id`,
    );
    const { lacking } = await database.row<{ lacking: string | null }>('SELECT min(id) AS lacking FROM grouped WHERE lacking');
    if (lacking !== null)
      throw new StepError(`the data have no row ${lacking}, which the tokens have`, 'Give the data that the tokens were made of.', [
        'data',
      ]);
    const values = await database.rows<{ value: string }>('SELECT DISTINCT value FROM grouped WHERE value IS NOT NULL ORDER BY value');
    const names = values.map(({ value }) => value);
    const places = new Map(names.map((name, i) => [name, i]));
    const of = new Int32Array(split.rows).fill(-1);
    for await (const rows of database.stream<{ example: number; value: string | null }>('SELECT example, value FROM grouped'))
      for (const { example, value } of rows) if (value !== null) of[example] = places.get(value)!;
    return { type: typeOf(type), names, of };
  } finally {
    database.close();
  }
}

/** For a model whose thresholds depend on a column of the data: its value of each example, by the example's index. `step`: for messages. */
export async function groupOfExamples(
  split: Pick<Split, 'rows' | 'examples'>,
  calibration: ModelCalibration | undefined,
  data: string | undefined,
  step: string,
): Promise<((example: number) => string | undefined) | undefined> {
  const column = calibration?.group;
  if (column === undefined) return undefined;
  if (data === undefined)
    throw new StepError(
      `the thresholds of the model depend on the column \`${column}\`, so ${step} needs the input \`data\``,
      'Give the `data` that the tokens were made of.',
    );
  const { names, of } = await readGroups(split, data, column, 'data');
  return (example) => names[of[example]!];
}

function typeOf(type: string): Groups['type'] {
  if (type === 'BOOLEAN') return 'boolean';
  return /INT(EGER)?$/.test(type) ? 'number' : 'text';
}

/** Other numbers are written in several ways: 1, 1.0 and 1e0. */
const GROUPING = /^(VARCHAR|BOOLEAN|U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DATE|ENUM\(.*\))$/;
