/** The flat names of the figures in the metrics files of all steps. */
import { expect, test } from 'vitest';
import { LIMIT_PATTERN, meets, parseLimit } from '../../../../steps/ml/metrics/limits.ts';
import { figuresIn } from '../../../../steps/ml/metrics/metrics-file.ts';

test('metrics, intervals, methods and gaps have flat names; other numbers have their paths', () => {
  const report = {
    split: 'test',
    rows: 9,
    metrics: { f1: 0.5, roc_auc: null, 'gap.source': 0.1 },
    undefined: { roc_auc: 'one class only', 'accuracy.lower': 'too few' },
    intervals: { f1: { low: 0.4, high: 0.6 }, accuracy: { low: null, high: null } },
    slices: { source: { gap: 0.1, interval: { low: 0.05, high: 0.2 } } },
    classes: { spam: { recall: 0.25 } },
  };
  const { own, others } = figuresIn(report);
  expect(Object.fromEntries(own)).toEqual({
    f1: { value: 0.5 },
    roc_auc: { value: null, why: 'one class only' },
    'gap.source': { value: 0.1 },
    'f1.lower': { value: 0.4 },
    'f1.upper': { value: 0.6 },
    'accuracy.lower': { value: null, why: 'too few' },
    'accuracy.upper': { value: null, why: 'the file has no value for it' },
    'gap.source.lower': { value: 0.05 },
    'gap.source.upper': { value: 0.2 },
  });
  expect(others.get('classes.spam.recall')).toEqual({ value: 0.25 });
  expect(others.get('rows')).toEqual({ value: 9 });
  expect(others.has('f1')).toBe(false);
  expect(Object.fromEntries(figuresIn({ methods: { majority: { metrics: { f1: 0 } } } }).own)).toEqual({ 'majority.f1': { value: 0 } });
  expect(figuresIn({ maximize: 'f1', chosen: report }).own.get('f1')).toEqual({ value: 0.5 });
  expect(Object.fromEntries(figuresIn({ wer: 0.2, of: { speaker: null } }).others)).toEqual({
    wer: { value: 0.2 },
    'of.speaker': { value: null, why: 'it is null in the file' },
  });
  for (const other of [[], 'text', 3, null]) expect(figuresIn(other as never).own.size).toBe(0);
});

test.each<[string, number, boolean]>([
  ['>= 0.95', 0.95, true],
  ['> 0.95', 0.95, false],
  ['<=.5', 0.5, true],
  ['< -1e-3', -0.01, true],
  [' == 1 ', 1, true],
  ['== 1', 1.0000001, false],
  ['>= 0', Number.NaN, false],
  ['<= 0', Number.NaN, false],
])('the limit %s of %d', (limit, value, met) => {
  expect(limit).toMatch(new RegExp(LIMIT_PATTERN));
  expect(meets(value, limit)).toBe(met);
});

test.each(['=> 1', '= 1', '1', '>=', '>= 1%', '>= a', '> = 1', '>= 1 2', '<> 1', '>= NaN'])('%s is not a limit', (text) => {
  expect(text).not.toMatch(new RegExp(LIMIT_PATTERN));
});

test('a limit has a sign and a number', () => {
  expect(parseLimit(' >=1e-2 ')).toEqual({ sign: '>=', bound: 0.01 });
});
