/** Words without tokens: tags keep their positions, from tokenize to the predictions. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import baseline from '../../../steps/baseline/step.ts';
import evaluate from '../../../steps/evaluate/step.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { writeTable } from '../../../steps/ml/data/table.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import train from '../../../steps/train/step.ts';
import { allRows } from '../../table.ts';
import { ranStep, temporary } from '../rig.ts';
import { smallModel } from '../small.ts';

/** Empty, zero-width, a lone soft hyphen: the tokenizer removes them. */
const WORDS = ['', 'happy', '\u200b', 'awful', 'day', '\u00ad'];
const TAGS = ['B-PER', 'B-PER', 'O', 'B-LOC', 'O', 'I-LOC'];

test('there is one entry for each word, null for words without a prediction, and the support equals the baseline\u2019s', async () => {
  const data = temporary();
  const database = await Database.open();
  const list = (words: string[]) => `[${words.map((word) => `'${word}'`).join(', ')}]`;
  await database.run(
    `CREATE TABLE made AS SELECT 'r' || i AS id, ${list(WORDS)} AS tokens, ${list(TAGS)} AS tags, ['train', 'test'][1 + i % 2] AS split FROM range(8) r(i)`,
  );
  await writeTable(database, 'made', data);
  database.close();
  const model = smallModel();
  const { outputs, warnings } = await ranStep(tokenize, { task: 'token-classification', max_length: 16 }, { data, model });
  expect(warnings).toEqual([expect.stringMatching(/^24 of 48 words have no token: /)]);
  const tokens = outputs.tokens!;
  const trained = await ranStep(train, { epochs: 30, learning_rate: 0.03, runtime: 'eager' }, { tokens, model });
  const evaluated = await ranStep(evaluate, { runtime: 'eager' }, { tokens, model: trained.outputs.model! });
  const rows = await allRows(evaluated.outputs.predictions!);
  expect(rows).toHaveLength(4);
  for (const row of rows) expect(row).toMatchObject({ words: WORDS, label: TAGS, prediction: [null, 'B-PER', null, 'B-LOC', 'O', null] });
  const report = JSON.parse(readFileSync(evaluated.outputs.metrics!, 'utf8'));
  // By seqeval, with O for missing predictions: an empty B-PER is missed, and B-LOC stands alone in both.
  expect(report.metrics).toEqual({ precision: 1, recall: 0.5, f1: 2 / 3, accuracy: 4 / 6 });
  expect(report.entities).toMatchObject({ LOC: { support: 8 }, PER: { support: 8 } });
  const simple = await ranStep(baseline, { task: 'token-classification', methods: ['commonest_tag'] }, { data });
  const { methods } = JSON.parse(readFileSync(simple.outputs.metrics!, 'utf8'));
  expect(methods.commonest_tag.metrics.accuracy).toBe(1);
});
