/** Predictions for more kinds of labels, and for language models. */
import { rmSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { from, kept, predicted, startOf, TEXT, tableFrom } from '../../steps/evaluate/predicted.ts';
import { temporary } from '../../steps/rig.ts';
import { smallModel } from '../../steps/small.ts';
import { smallGpt2 } from '../../steps/writers.ts';

afterAll(() => rmSync(kept, { recursive: true }));

test('a label that is a number, a truth value or a set counts as the label', async () => {
  const labels: [label: string, options: object][] = [
    ['(i % 2)::INT AS label', {}],
    ['i % 2 = 0 AS label', {}],
    ["CASE WHEN i % 2 = 0 THEN ['b', 'a'] ELSE [] END AS label", { problem_type: 'multi_label_classification' }],
    ['(i / 7)::DECIMAL(10, 4) AS label', { problem_type: 'regression' }],
  ];
  for (const [label, options] of labels) {
    const start = await startOf(await tableFrom(from(`${TEXT} AS text, ${label}`)), options);
    const { rows, report } = await predicted(start);
    expect(rows[0]).toMatchObject({ id: 'r000', text: 'awful day', label: expect.anything(), prediction: expect.anything() });
    const losses = rows.reduce((sum, { loss }) => sum + loss, 0) / rows.length;
    if (report.metrics.mse !== undefined) expect(losses).toBeCloseTo(report.metrics.mse, 6);
    else expect(rows.filter(({ correct }) => correct).length / rows.length).toBe(report.metrics.accuracy);
  }
});

test('masked-lm and causal-lm: the losses of the tokens add up to the perplexity', async () => {
  const gpt2 = temporary();
  smallGpt2(gpt2);
  const data = await tableFrom(from(`repeat(${TEXT} || ' ', 1 + (i % 9)::INT) AS text`));
  for (const [task, base] of [
    ['masked-lm', smallModel()],
    ['causal-lm', gpt2],
  ] as const) {
    const { rows, report } = await predicted(await startOf(data, { task }, base));
    const tokens = rows.reduce((sum, row) => sum + row.tokens, 0);
    const loss = rows.reduce((sum, row) => sum + (row.loss ?? 0) * row.tokens, 0);
    expect(Math.exp(loss / tokens)).toBeCloseTo(report.metrics.perplexity, 6);
    // Without masked tokens, loss and accuracy are undefined.
    for (const row of rows) expect([row.loss === null, row.accuracy === null]).toEqual([row.tokens === 0, row.tokens === 0]);
    expect(rows[1].text).toMatch(/^(\w+ day )+$/);
  }
  const { tokens, model } = await startOf(data, { task: 'causal-lm', block_size: 8 }, gpt2);
  expect((await predicted({ tokens, model })).rows.map(({ id }) => id).slice(0, 3)).toEqual(['block 0', 'block 1', 'block 2']);
  await expect(predicted({ tokens, model, data })).rejects.toMatchObject({
    message: expect.stringMatching(/^the data have no row block 0, which the tokens have/),
    hint: expect.stringContaining('remove `data`'),
  });
});
