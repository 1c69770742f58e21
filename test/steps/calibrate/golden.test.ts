/** Temperatures against SciPy, and thresholds against scikit-learn: test/golden/calibration.py made the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import step from '../../../steps/calibrate/step.ts';
import { fitTemperature, probabilitiesOf, type Scored } from '../../../steps/calibrate/temperature.ts';
import { aimOf, chooseThreshold } from '../../../steps/calibrate/thresholds.ts';

const golden = JSON.parse(readFileSync(join(import.meta.dirname, '../../golden/calibration.json'), 'utf8'));

const scoredOf = (logits: number[][], truth: number[] | number[][], independent = false): Scored => ({
  logits: Float32Array.from(logits.flat()),
  width: logits[0]!.length,
  truth: Int32Array.from(truth.flat()),
  independent,
});

/** The mean negative log-likelihood. */
function lossOf(scored: Scored, temperature: number): number {
  const { width, truth, independent } = scored;
  const probabilities = probabilitiesOf(scored, temperature);
  const losses = Array.from(truth, (label, i) => {
    if (!independent) return -Math.log(probabilities[i * width + label]!);
    return -Math.log(label === 1 ? probabilities[i]! : 1 - probabilities[i]!);
  });
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}

test.each([
  ...golden.of_several.map((one: object, i: number) => ['one label of several', i, one, false]),
  ...golden.any_number.map((one: object, i: number) => ['any number of labels', i, one, true]),
])('%s, case %i: the temperature is that of SciPy, and so are the losses', (_, __, one, independent) => {
  const scored = scoredOf(one.logits, one.truth, independent);
  const fitted = fitTemperature(scored) as { temperature: number };
  // SciPy compares losses, of which the last eight digits are lost near the minimum.
  expect(fitted.temperature / one.temperature).toBeCloseTo(1, 6);
  expect(lossOf(scored, 1)).toBeCloseTo(one.before, 9);
  expect(lossOf(scored, fitted.temperature)).toBeCloseTo(one.after, 9);
  expect(lossOf(scored, fitted.temperature)).toBeLessThanOrEqual(one.after + 1e-14);
});

test.each([
  [
    'the labels are separated',
    [
      [0, 1],
      [1, 0],
      [0, 3],
    ],
    [1, 0, 1],
    'separate the labels completely',
  ],
  [
    'the labels contradict the scores',
    [
      [0, 1],
      [1, 0],
      [0, 3],
    ],
    [0, 1, 0],
    'say nothing about the labels',
  ],
  [
    'all scores are equal',
    [
      [2, 2],
      [2, 2],
    ],
    [0, 1],
    'say nothing about the labels',
  ],
])('no temperature is fitted if %s', (_, logits, truth, reason) => {
  expect(fitTemperature(scoredOf(logits, truth))).toEqual({ none: expect.stringContaining(reason) });
});

test('logits that differ by thousands overflow nowhere', () => {
  const { temperature } = fitTemperature(
    scoredOf(
      [
        [0, 5000],
        [4000, 0],
        [0, 3000],
      ],
      [1, 0, 0],
    ),
  ) as { temperature: number };
  expect(temperature).toBeGreaterThan(1000);
  expect(temperature).toBeLessThan(10_000);
});

test.each<[number, any]>(golden.thresholds.map((one: object, i: number) => [i, one]))(
  'case %i: thresholds are those of scikit-learn',
  (_, one) => {
    for (const [maximize, threshold] of Object.entries<number>(one.chosen))
      expect([maximize, chooseThreshold(one.scores, one.truth, { maximize }, 'spam').threshold]).toEqual([
        maximize,
        expect.closeTo(threshold, 12),
      ]);
    for (const { of, value, threshold, precision, recall } of one.required) {
      const aim = aimOf({ [of]: `>= ${value}` });
      expect(chooseThreshold(one.scores, one.truth, aim, 'spam')).toMatchObject({
        threshold: expect.closeTo(threshold, 12),
        precision: expect.closeTo(precision, 12),
        recall: expect.closeTo(recall, 12),
        rows: one.scores.length,
      });
    }
  },
);

test('the lowest of equally good thresholds is chosen, midway between two scores', () => {
  // Both 0.3 and 0.65 have 4 of 5 right.
  const scores = [0.2, 0.4, 0.5, 0.6, 0.7];
  expect(chooseThreshold(scores, [0, 1, 0, 1, 1], { maximize: 'accuracy' }, 'a').threshold).toBeCloseTo(0.3, 12);
});

test('a requirement that no threshold fulfils says what is possible', () => {
  const aim = aimOf({ precision: '>= 0.95' });
  expect(() => chooseThreshold([0.9, 0.8, 0.7, 0.2], [0, 1, 1, 0], aim, 'spam')).toThrow(
    'no threshold gives spam a precision of at least 0.95: the highest is 0.6667, with a recall of 1',
  );
});

test('scores that differ only by rounding are never separated', () => {
  const scores = [0.2, 0.7, 0.7 + 1e-9, 0.9];
  const { threshold } = chooseThreshold(scores, [0, 0, 1, 1], { maximize: 'f1' }, 'a');
  expect(threshold < 0.7 || threshold > 0.71).toBe(true);
});

test.each<[object, string[]]>([
  [{ threshold: { maximize: 'f1' } }, []],
  [{ threshold: { precision: '>=0.95' } }, []],
  [{ threshold: { recall: ' >= 1 ' } }, []],
  [{ threshold: { precision: '0.95' } }, ['"threshold.precision" is "0.95", but must be written as ">= 0.95", with a number from 0 to 1']],
  [{ threshold: { recall: '>= 95' } }, ['"threshold.recall" is ">= 95", but must be written as ">= 0.95", with a number from 0 to 1']],
  [
    { threshold: { precision: '>= 0.9', recall: '>= 0.9' } },
    ['`threshold` has precision and recall, but a threshold is chosen by one of them'],
  ],
  [{ split: 'test' }, ['calibrate refuses the split test: a model that was fitted to these rows cannot be judged by them any more']],
  [{ split: 'train' }, ['calibrate refuses the split train: the model has learned these rows, so it is surer of them than of other texts']],
  [{ group: 'source' }, ['`group` applies only to thresholds']],
  [{ temperature: false }, ['without `temperature` and `threshold` there is nothing to fit']],
])('problems of the options %j', (given, messages) => {
  const options = {
    split: 'validation',
    temperature: true,
    per_label: true,
    min_group_rows: 20,
    batch_size: 32,
    runtime: 'auto',
    device: 'auto',
  };
  expect(step.check!({ ...options, ...given } as never).map(({ message }) => message)).toEqual(messages);
});
