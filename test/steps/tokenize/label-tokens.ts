/** Tokens of rows with labels. */
import { Database } from '../../../steps/ml/data/database.ts';
import { writeTable } from '../../../steps/ml/data/table.ts';
import { openSplit, readTokensInfo } from '../../../steps/ml/models/token-dataset.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import { ranStep, temporary } from '../rig.ts';
import { smallModel } from '../small.ts';

/** A data artifact with the rows of a query. */
export async function made(sql: string): Promise<string> {
  const folder = temporary();
  const database = await Database.open();
  try {
    await database.run(`CREATE TABLE made AS ${sql}`);
    await writeTable(database, 'made', folder);
  } finally {
    database.close();
  }
  return folder;
}

export async function tokenized(data: string, options: object, model = smallModel()) {
  const { outputs, log, warnings } = await ranStep(tokenize, { max_length: 16, ...options }, { data, model });
  const info = await readTokensInfo(outputs.tokens!);
  const values = async (name: string) => {
    const split = await openSplit(outputs.tokens!, info, name);
    const found = Array.from({ length: split.sequences }, (_, i) => [...split.values('labels', i)!]);
    split.close();
    return found;
  };
  return { info, log, warnings, values, tokens: outputs.tokens! };
}
