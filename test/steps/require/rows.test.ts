/** The true values on which models are compared are those that tokenize reads. */
import { expect, test } from 'vitest';
import type { Bundle } from '../../../steps/ml/answering/bundle.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { openRows } from '../../../steps/require/rows.ts';
import { tableFrom } from '../evaluate/predicted.ts';

/** The true labels of the rows of a table with the columns toxic and insult. */
async function truthOf(rows: string) {
  const data = await tableFrom(`SELECT * FROM (VALUES ${rows}) AS made (id, toxic, insult)`);
  const bundle = { task: 'text-classification', problem: 'multi_label_classification', fields: [], encoding: {} } as Partial<Bundle>;
  const database = await Database.open();
  try {
    const { truth, unlabelled } = await openRows(database, bundle as Bundle, { data, split: false, label: ['toxic', 'insult'] });
    return { truth, unlabelled };
  } finally {
    database.close();
  }
}

test('columns of flags: numbers and texts in any notation; an empty text or NaN is no value', async () => {
  expect(await truthOf("('a', '1.00', 1), ('b', 'TRUE', 0), ('c', '0', 1), ('d', '', 1), ('e', '1', 'nan'::DOUBLE)")).toEqual({
    truth: [['toxic', 'insult'], ['toxic'], ['insult']],
    unlabelled: 2,
  });
});

test('columns of flags: another value is refused, as tokenize does', async () => {
  await expect(truthOf("('a', '1', 1), ('b', 'yes', 0), ('c', 'no', 0)")).rejects.toMatchObject({
    message: 'row b: `toxic` is "yes", not 0, 1, false or true (in 2 rows)',
    option: ['limits', 'better_than', 'label'],
  });
});
