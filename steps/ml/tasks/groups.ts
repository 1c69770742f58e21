/** The value of a column for each example of a split: tokens have only the ids of their rows, so the data are read beside them. */

import { StepError } from '../../../engine/contract/step.ts';
import { Database } from '../data/database.ts';
import { quote } from '../data/sql.ts';
import { requireColumn, tableOf } from '../data/table.ts';
import type { Split } from '../models/token-dataset.ts';

export interface Groups {
  /** The values that occur, in the order of their first examples. */
  names: string[];
  /** For each example, the index of its value; -1 if the value is missing. */
  of: Int32Array;
}

/** `data`: the folder of the table that the tokens were made from. `option`: the option or input that names the column. */
export async function readGroups(split: Split, data: string, column: string, option: string): Promise<Groups> {
  const database = await Database.open();
  try {
    const table = tableOf(data);
    const { type } = requireColumn(await database.columns(table), column, option);
    if (!GROUPING.test(type))
      throw new StepError(
        `the column \`${column}\` contains ${type}, and groups are texts, whole numbers or booleans`,
        'Convert it with `select` of collect.',
        [option],
      );
    const names = new Map<string, number>();
    const of = new Int32Array(split.rows).fill(-1);
    // Both are in the order of the ids, and the tokens may lack some rows.
    const rows = database.stream<{ id: string; value: string | null }>(
      `SELECT id::VARCHAR AS id, ${quote(column)}::VARCHAR AS value FROM ${table} ORDER BY id`,
    );
    const examples = split.examples();
    let index = 0;
    let example = await examples.next();
    for await (const chunk of rows) {
      for (const { id, value } of chunk) {
        if (example.done || example.value.id !== id) continue;
        if (value !== null) {
          if (!names.has(value)) names.set(value, names.size);
          of[index] = names.get(value)!;
        }
        index++;
        example = await examples.next();
      }
    }
    if (!example.done)
      throw new StepError(`the data have no row ${example.value.id}, which the tokens have`, 'Give the data that tokenize read.', ['data']);
    return { names: [...names.keys()], of };
  } finally {
    database.close();
  }
}

/** Others are written in several ways: 1, 1.0 and 1e0. */
const GROUPING = /^(VARCHAR|BOOLEAN|U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DATE|ENUM\(.*\))$/;
