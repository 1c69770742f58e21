/** Predictions of models that have hardly been trained. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import evaluate from '../../../steps/evaluate/step.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { writeTable } from '../../../steps/ml/data/table.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import train from '../../../steps/train/step.ts';
import { allRows } from '../../table.ts';
import { ranStep, temporary } from '../rig.ts';
import { smallModel } from '../small.ts';

/** A data artifact with the rows of a query. */
export async function tableFrom(sql: string): Promise<string> {
  const folder = temporary();
  const database = await Database.open();
  await database.run(`CREATE TABLE made AS ${sql}`);
  await writeTable(database, 'made', folder);
  database.close();
  return folder;
}

export const RUNTIME = { runtime: 'eager' };

/** Tokens of the data and a model that has hardly been trained on them. */
export async function startOf(data: string, options: object = {}, base = smallModel()) {
  const tokens = (await ranStep(tokenize, { max_length: 16, ...options }, { data, model: base })).outputs.tokens!;
  const training = { max_steps: 1, batch_size: 4, ...RUNTIME };
  return { data, tokens, model: (await ranStep(train, training, { tokens, model: base })).outputs.model! };
}

export async function predicted(inputs: { model: string; tokens: string; data?: string }, options: object = {}) {
  const ran = await ranStep(evaluate, { ...RUNTIME, intervals: false, ...options }, inputs);
  const folder = ran.outputs.predictions!;
  return { ...ran, folder, rows: await allRows(folder), report: JSON.parse(readFileSync(ran.outputs.metrics!, 'utf8')) };
}

export const kept = mkdtempSync(join(tmpdir(), 'tunesmith-step-'));

export const WORDS = "['awful', 'lovely', 'poor', 'fine', 'sad', 'great']";

export const TEXT = `${WORDS}[1 + (i % 6)::INT] || ' day'`;

export const SPLIT = "CASE WHEN i % 3 = 0 THEN 'test' ELSE 'train' END AS split";

export const IDS = "'r' || lpad(i::VARCHAR, 3, '0') AS id";

export const from = (columns: string, count = 24) => `SELECT ${IDS}, ${columns}, ${SPLIT} FROM range(${count}) r(i)`;
