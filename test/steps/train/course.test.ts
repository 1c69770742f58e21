/** What a training reports: live, at its end, and if it overfits. */
import { describe, expect, test } from 'vitest';
import { Course } from '../../../steps/train/history.ts';
import { extentOf } from '../../../steps/train/schedule.ts';

type Options = ConstructorParameters<typeof Course>[0];

const usual = { eval_strategy: 'epoch', load_best_model_at_end: false, save_optimizer: false } as Options;

/** 10 steps per epoch, evaluated after each epoch. */
function course(
  losses: number[],
  { f1 = [], options = {}, epochs = losses.length }: { f1?: number[]; options?: Partial<Options>; epochs?: number } = {},
) {
  const made = new Course({ ...usual, ...options }, extentOf(10, { epochs }));
  const told = losses.map((loss, i) =>
    made.add({
      step: 10 * (i + 1),
      epoch: i + 1,
      train_loss: 1 / (i + 1),
      padding: 0,
      validation_loss: loss,
      ...(f1[i] === undefined ? {} : { validation_f1: f1[i] }),
    }),
  );
  return { course: made, told, last: { step: 10 * losses.length } };
}

/** Lowest at epoch 8, as in the report. */
const OVERFIT = [2, 1.8, 1.6, 1.4, 1.3, 1.2, 1.1, 1.07, 1.2, 1.5, 1.9, 2.4, 2.86];

test('live values and lines show the best evaluation once it is in the past', () => {
  expect(course([2, 1]).course.live()).toEqual({ 'val loss': 1 });
  const { course: late, told } = course(OVERFIT);
  expect(late.live()).toEqual({ 'val loss': 2.86, best: '1.07 at epoch 8' });
  expect(told[7]).toBe('epoch 8: loss 0.1250, validation loss 1.0700');
  expect(told.at(-1)).toBe('epoch 13: loss 0.0769, validation loss 2.8600 (best: 1.0700 at epoch 8)');
  const byMetric = course([1, 2, 3], { f1: [0.5, 0.9, 0.8], options: { load_best_model_at_end: true, metric_for_best_model: 'f1' } });
  expect(byMetric.course.live()).toEqual({ 'val loss': 3, 'val f1': 0.8, best: '0.9 at epoch 2' });
  expect(course([]).course.live()).toEqual({});
});

describe('overfitting', () => {
  test('reports the best epoch and the options that keep it', () => {
    const { course: late, last } = course(OVERFIT);
    expect(late.overfitting(last)).toBe(
      'the model overfits: the validation loss was lowest at epoch 8, step 80 (1.07), then rose 5 times in a row, and the saved weights, from epoch 13, have 2.86. ' +
        '`load_best_model_at_end: true` keeps the weights of epoch 8; `early_stopping: { patience: 2 }` also ends the training soon afterwards.',
    );
  });
  test('reports that another metric still improved', () => {
    const { course: late, last } = course([1, 1.5], { f1: [0.7, 0.8] });
    expect(late.overfitting(last)).toMatch(/ Its f1 still changed from 0\.7 to 0\.8: `metric_for_best_model: f1` selects by that\.$/);
    const worse = course([1, 1.5], { f1: [0.8, 0.7] });
    expect(worse.course.overfitting(worse.last)).not.toContain('f1');
  });
  test.each<[string, number[], Partial<Options>]>([
    ['the last is the lowest', [2, 1.5, 1], {}],
    ['the last is as good, but for noise', [2, 1, 1.01], {}],
    ['it was not measured', [], {}],
    ['the best weights are kept', OVERFIT, { load_best_model_at_end: true }],
    ['it was stopped early', OVERFIT, { early_stopping: { metric: 'loss', patience: 2, min_delta: 0 } as never }],
    ['losses are not numbers', [Number.NaN, Number.NaN], {}],
  ])('no warning if %s', (_, losses, options) => {
    const { course: made, last } = course(losses, { options });
    expect(made.overfitting(last)).toBeUndefined();
  });
});

test.each<[string, number[], string | undefined]>([
  ['twice in a row', [1, 1.2, 1.4], 'epoch 1, step 10 (1), and then rose 2 times in a row'],
  ['three times, and then falls, but not as low', [2, 1, 1.2, 1.4, 1.5, 1.3], 'epoch 2, step 20 (1), and then rose 3 times in a row'],
  ['only before it is lowest', [2, 2.2, 2.4, 1], undefined],
  ['never twice in a row', [1, 1.5, 1.2, 1.6, 1.3], undefined],
  ['by noise alone', [1, 1.001, 1.002, 1.003], undefined],
  ['and then is not a number', [1, 1.5, Number.NaN], undefined],
])('the summary reports a validation loss that rises %s', (_, losses, said) => {
  const { course: made, last } = course(losses);
  const summary = made.summary(last);
  if (said === undefined) expect(summary).not.toContain('rose');
  else expect(summary).toContain(`; the validation loss was lowest at ${said}`);
});

test('the summary has both losses, and the weights that are kept', () => {
  const { course: whole, last } = course([1, 0.5], { f1: [0.7, 0.8] });
  expect(whole.summary(last)).toBe('loss 0.5, val loss 0.5, val f1 0.8');
  expect(whole.metrics(last)).toEqual([
    { name: 'train_loss', value: 0.5 },
    { name: 'validation_loss', value: 0.5, better: 'lower' },
    { name: 'validation_f1', value: 0.8, better: 'higher' },
  ]);
  const stopped = course(OVERFIT.slice(0, 10), { epochs: 25 });
  expect(stopped.course.summary({ step: 80, metric: 'loss' })).toBe(
    'loss 0.125, val loss 1.07; the validation loss was lowest at epoch 8, step 80 (1.07), and then rose 2 times in a row; kept epoch 8, the best by loss; stopped at epoch 10 of 25',
  );
});
