/** Labels of an external file. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import evaluate from '../../../steps/evaluate/step.ts';
import train from '../../../steps/train/step.ts';
import { ranStep } from '../../steps/rig.ts';
import { smallModel, smallTokens } from '../../steps/small.ts';
import { made, tokenized } from '../../steps/tokenize/label-tokens.ts';

/** Rows without a training split. */
const outside = (labels: string[], split = '') =>
  made(
    `SELECT 'o' || i AS id, 'the happy day' AS text, ${split} [${labels.map((label) => `'${label}'`).join(', ')}][1 + i % ${labels.length}] AS label FROM range(6) r(i)`,
  );

test('a model is evaluated on an external file: labels by name, unknown ones rejected, with or without a split column', async () => {
  const base = smallModel();
  const tokens = await smallTokens(base, ['bad', 'good', 'odd']);
  const options = { epochs: 1, learning_rate: 0.02, runtime: 'eager' };
  const model = (await ranStep(train, options, { model: base, tokens })).outputs.model!;

  for (const data of [await outside(['good', 'odd']), await outside(['good', 'odd'], "'test' AS split,")]) {
    const { info, values, tokens } = await tokenized(data, {}, model);
    expect(info.labels).toEqual(['bad', 'good', 'odd']);
    expect(await values('test')).toEqual([[1], [2], [1], [2], [1], [2]]);
    const { outputs } = await ranStep(evaluate, { runtime: 'eager', metrics: ['accuracy'] }, { model, tokens });
    expect(JSON.parse(readFileSync(outputs.metrics!, 'utf8'))).toMatchObject({ rows: 6, labels: ['bad', 'good', 'odd'] });
  }
  // A single label can be evaluated too.
  expect((await tokenized(await outside(['odd']), {}, model)).info.labels).toEqual(['bad', 'good', 'odd']);
  await expect(tokenized(await outside(['good', 'great']), {}, model)).rejects.toMatchObject({
    message: 'the model does not know the label great, which 3 rows have',
    hint: expect.stringContaining('Its labels are bad, good, odd.'),
    option: ['label'],
  });
  // A base model has no labels: those of the data are used, and evaluate maps them by name.
  const plain = await tokenized(await outside(['good', 'odd']), {}, base);
  expect(plain.info.labels).toEqual(['good', 'odd']);
  expect(plain.log).toContain('the data have no column `split`: all rows belong to the split test');
  await expect(ranStep(train, options, { model: base, tokens: plain.tokens })).rejects.toMatchObject({
    message: 'the tokens have no split "train"',
  });
});
