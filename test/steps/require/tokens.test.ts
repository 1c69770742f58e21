/** Models that predict tokens are compared on raw rows with the figures of evaluate: each with its own settings. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import clean from '../../../steps/clean/step.ts';
import evaluate from '../../../steps/evaluate/step.ts';
import require from '../../../steps/require/step.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import train from '../../../steps/train/step.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { smallModel } from '../small.ts';
import { smallGpt2, smallT5 } from '../writers.ts';

const WORDS = ['awful', 'lovely', 'poor', 'fine', 'sad', 'great'];
const DATA = Array.from({ length: 36 }, (_, i) => ({
  id: `r${String(i).padStart(2, '0')}`,
  text: `${WORDS[i % 6]} <b>day</b> `.repeat(1 + (i % 4)).trim(),
  // A short training learns the most frequent one.
  target: i % 6 < 4 ? 'fine day' : WORDS[i % 6]!,
  split: i % 3 === 0 ? 'test' : 'train',
}));

/** Two trainings on cleaned rows, of which the second is longer. */
async function trained(options: { task: string } & Record<string, unknown>, base: string) {
  const raw = await table(DATA);
  const data = (await ranStep(clean, { strip_html: true, deduplicate: false }, { data: raw })).outputs.data!;
  const tokens = (await ranStep(tokenize, { max_length: 16, ...options }, { data, model: base })).outputs.tokens!;
  const models: string[] = [];
  for (const max_steps of [1, 60]) {
    const training = { max_steps, batch_size: 8, learning_rate: 0.003, dropout: 0, runtime: 'onnx' };
    models.push((await ranStep(train, training, { tokens, model: base })).outputs.model!);
  }
  return { raw, data, tokens, models: models as [string, string] };
}

async function evaluated(model: string, tokens: string, metrics: string[]): Promise<Record<string, number>> {
  const ran = await ranStep(evaluate, { metrics, runtime: 'onnx', intervals: false }, { model, tokens });
  return JSON.parse(readFileSync(ran.outputs.metrics!, 'utf8')).metrics;
}

/** The comparison in the verdict, whether or not the model passes. */
async function compared(better: object, [other, model]: [string, string], data: string) {
  const folder = temporary();
  const outputs = { model: join(folder, 'model'), verdict: join(folder, 'verdict') };
  const options = { split: 'test', limits: { better_than: { p: 0.05, resamples: 200, ...better } } };
  await ranStep(require, options, { model, data, 'limits.better_than.model': other }, {}, { outputs }).catch((error: Error) => {
    if (!error.message.startsWith('the requirement is missed')) throw error;
  });
  return JSON.parse(readFileSync(outputs.verdict, 'utf8')).better_than;
}

test('language models: the perplexity of evaluate, from rows before and after the cleaning', async () => {
  const gpt2 = temporary();
  smallGpt2(gpt2);
  for (const [task, base] of [
    ['masked-lm', smallModel()],
    ['causal-lm', gpt2],
  ] as const) {
    const { raw, data, tokens, models } = await trained({ task }, base);
    const expected = await Promise.all(models.map((model) => evaluated(model, tokens, ['perplexity'])));
    const verdict = await compared({ metric: 'perplexity' }, models, raw);
    expect(verdict).toMatchObject({ better: 'lower', rows: 12, test: { name: 'paired bootstrap' } });
    expect(verdict.other).toBeCloseTo(expected[0]!.perplexity!, 4);
    expect(verdict.value).toBeCloseTo(expected[1]!.perplexity!, 4);
    expect((await compared({ metric: 'perplexity' }, models, data)).value).toBeCloseTo(verdict.value, 6);
    await expect(compared({ metric: 'rouge1' }, models, raw)).rejects.toThrow(`${task} has no metric rouge1`);
  }
});

test('seq2seq: tokens, and texts that each model generates with its own settings', async () => {
  const t5 = temporary();
  smallT5(t5, [...WORDS, 'day']);
  const { raw, tokens, models } = await trained({ task: 'seq2seq', prefix: 'say: ' }, t5);
  for (const metric of ['perplexity', 'exact_match', 'rouge1']) {
    const expected = await Promise.all(models.map((model) => evaluated(model, tokens, [metric])));
    const verdict = await compared({ metric }, models, raw);
    if (metric !== 'perplexity') expect(verdict.value).toBeGreaterThan(0);
    expect(verdict.test.name).toBe(metric === 'exact_match' ? 'mcnemar' : 'paired bootstrap');
    expect([verdict.other, verdict.value]).toEqual(expected.map((metrics) => expect.closeTo(metrics[metric]!, 4)));
  }
  // The settings of one of them make every text too short.
  const terse = temporary();
  cpSync(models[1], terse, { recursive: true });
  writeFileSync(join(terse, 'generation_config.json'), JSON.stringify({ max_new_tokens: 1 }));
  expect((await compared({ metric: 'exact_match' }, [terse, models[1]], raw)).other).toBe(0);

  const others = temporary();
  smallT5(others, [...WORDS, 'night']);
  for (const file of ['config.json', 'model.safetensors', 'training.json', 'preprocessing.json'])
    cpSync(join(models[0], file), join(others, file));
  await expect(compared({ metric: 'perplexity' }, [others, models[1]], raw)).rejects.toMatchObject({
    message: expect.stringMatching(
      /^perplexity counts tokens, and \S+ has another tokenizer than the model: its token .* cannot be compared$/,
    ),
    hint: expect.stringMatching(/^Compare the generated texts: rouge1, /),
    option: ['limits', 'better_than', 'metric'],
  });
  expect((await compared({ metric: 'rouge1' }, [others, models[1]], raw)).value).toBeGreaterThan(0);
});
