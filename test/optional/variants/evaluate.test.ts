/** More labels, and a model that predicts one label. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readSafetensors, toFloat32, writeSafetensors } from '../../../steps/ml/models/safetensors.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import train from '../../../steps/train/step.ts';
import { evaluated, kept, trained } from '../../steps/evaluate/evaluated.ts';
import { ranStep, table } from '../../steps/rig.ts';
import { rows, smallModel, smallTokens } from '../../steps/small.ts';

afterAll(() => rmSync(kept, { recursive: true }));

test('a warning reports a model that predicts one label for every row', async () => {
  const model = smallModel();
  const tokens = await smallTokens(model);
  const options = { epochs: 1, learning_rate: 1e-9, batch_size: 64, runtime: 'eager' };
  const start = (await ranStep(train, options, { model, tokens })).outputs.model!;
  const file = join(start, 'model.safetensors');
  const tensors = await readSafetensors(file);
  toFloat32(tensors['classifier.bias']!)!.set([5, 0]);
  await writeSafetensors(file, tensors);
  const { warnings, report } = await evaluated({ model: start, tokens });
  const alwaysBad = 'the model predicts the label "bad" for every row';
  const noPrecision = 'precision is undefined on the split test: no row is predicted good';
  expect(warnings).toEqual([alwaysBad, noPrecision]);
  expect(report.classes.good).toEqual({ precision: null, recall: 0, f1: 0, support: 10, predicted_as: { bad: 10 } });
  // Also if all rows have one true label, unless it is the predicted one.
  const alike = async (label: string) => {
    const data = await table(rows({ test: 6 }, [label]));
    return (await evaluated({ model: start, tokens: (await ranStep(tokenize, {}, { data, model: start })).outputs.tokens! })).warnings;
  };
  expect(await alike('good')).toEqual([alwaysBad, noPrecision]);
  const undefinedOf = (metric: string) => `${metric} is undefined on the split test: no row has the label good`;
  expect(await alike('bad')).toEqual(['precision', 'recall', 'f1'].map(undefinedOf));
});

test('more than two labels have macro averages and no positive one', async () => {
  const inputs = await trained(['bad', 'good', 'odd']);
  const { report } = await evaluated(inputs);
  expect(Object.keys(report.metrics)).toEqual(['accuracy', 'macro_precision', 'macro_recall', 'macro_f1']);
  expect(report.confusion_matrix).toHaveLength(3);
  expect(report).not.toHaveProperty('positive');
  await expect(evaluated(inputs, { metrics: ['accuracy', 'f1'] })).rejects.toMatchObject({
    message: 'f1 needs two labels, and there are 3',
    hint: 'Use macro_f1 or weighted_f1.',
  });
  await expect(evaluated(inputs, { positive: 'odd' })).rejects.toThrow('`positive` needs two labels, and there are 3');
});
