import { expect, test } from 'vitest';
import { checkOptions, thresholdOf } from '../../../steps/behavior/options.ts';
import { countFillings, fill, fillingAt, parseTemplate, sample, slotsOf, templateProblem } from '../../../steps/behavior/template.ts';
import { random } from '../../../steps/ml/models/random.ts';

const lexicons = { name: ['Ada', 'Bob', 'Eve'], thing: ['lamp', 'chair'] };

const all = (template: string) => {
  const slots = slotsOf(template);
  return Array.from({ length: countFillings(slots, lexicons) }, (_, i) => fill(template, fillingAt(i, slots, lexicons)));
};

test('a template is filled with all combinations', () => {
  expect(all('{name} has a {thing}.')).toEqual([
    'Ada has a lamp.',
    'Ada has a chair.',
    'Bob has a lamp.',
    'Bob has a chair.',
    'Eve has a lamp.',
    'Eve has a chair.',
  ]);
  expect(all('no slot')).toEqual(['no slot']);
});

test('slots of one lexicon get different values, and the same slot always the same value', () => {
  const filled = all('{name:a} and {name:b}, not {name:a}');
  expect(filled).toHaveLength(6);
  expect(new Set(filled).size).toBe(6);
  for (const text of filled) expect(text).toMatch(/^(\w+) and (?!\1)\w+, not \1$/);
});

test('double braces are braces', () => {
  expect(all('{{"{thing}"}}')).toEqual(['{"lamp"}', '{"chair"}']);
  expect(parseTemplate('a {b').wrong).toMatchObject({ at: 3 });
});

test('what is wrong with a template is said with its position', () => {
  expect(templateProblem('A {nmae} here', lexicons)).toEqual({
    message: 'the slot {nmae}, at character 3 of the template, has no lexicon `nmae`',
    hint: 'Did you mean {name}?',
  });
  expect(templateProblem('A { thing }', lexicons)?.message).toBe('{ thing } is no slot, at character 3 of the template');
  expect(templateProblem('A }', lexicons)?.message).toBe('a brace has no counterpart, at character 3 of the template');
  expect(templateProblem('{thing:a} {thing:b} {thing:c}', lexicons)?.message).toBe(
    'the template has 3 slots of the lexicon `thing`, which has only 2 values',
  );
  expect(templateProblem('{name} {thing}', lexicons)).toBeUndefined();
});

test('a sample has different numbers, in order, by the seed; also of very many', () => {
  expect(sample(3, 10, random('s'))).toEqual([0, 1, 2]);
  for (const total of [1000, 1e12]) {
    const numbers = sample(total, 100, random('s', 1));
    expect(new Set(numbers).size).toBe(100);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(numbers.every((number) => Number.isInteger(number) && number < total)).toBe(true);
    expect(sample(total, 100, random('s', 1))).toEqual(numbers);
    expect(sample(total, 100, random('s', 2))).not.toEqual(numbers);
  }
});

test.each([
  ['<= 0.05', { unit: 'share', limit: 0.05, strict: false, text: '<= 0.05' }],
  [0.05, { unit: 'share', limit: 0.05, strict: false, text: '<= 0.05' }],
  ['< 5%', { unit: 'share', limit: 0.05, strict: true, text: '< 5%' }],
  ['1.0', { unit: 'share', limit: 1, strict: false, text: '<= 1.0' }],
  [3, { unit: 'count', limit: 3, strict: false, text: '<= 3' }],
  ['<= 0', { unit: 'count', limit: 0, strict: false, text: '<= 0' }],
  [1.5, undefined],
  ['< 0', undefined],
  ['>= 0.9', undefined],
  ['120%', undefined],
])('max_failures %j', (given, threshold) => {
  expect(thresholdOf(given)).toEqual(threshold);
});

test('combinations that test nothing are refused, each where it is', () => {
  const problems = (tests: Record<string, any>, more: object = {}) =>
    checkOptions({ tests, lexicons, ...more }).map(({ option, message }) => `${option}: ${message}`);
  expect(problems({ t: {} })[0]).toMatch(/^tests\.t: this test tests nothing/);
  expect(problems({ t: { template: 'a' } })).toEqual(['tests.t: `template` needs `expect`, the expected answer']);
  expect(problems({ t: { cases: [{ text: 'a', expect: 'x' }, 'b'] } })).toEqual([
    'tests.t.cases.1: this case has no `expect`, and neither has the test',
  ]);
  expect(problems({ t: { cases: ['a'], score: { change: 'up' }, expect: 'x' } })).toEqual([
    'tests.t.score: `score` needs `change` or `add`',
  ]);
  expect(problems({ t: { change: 'typos', add: 'x', expect: 'y' } }).map((one) => one.split(':')[0])).toEqual([
    'tests.t.add',
    'tests.t.expect',
  ]);
  expect(problems({ t: { change: { lexicon: 'nothing' } } })).toEqual(['tests.t.change.lexicon: there is no lexicon `nothing`']);
  expect(problems({ t: { change: 'case', at: 'end' } })).toEqual(['tests.t.at: `at` needs `add`']);
  expect(problems({ t: { add: 'x {y}', score: { change: 'up' } } })[0]).toMatch(/^tests\.t\.add: the slot \{y\}/);
  expect(problems({ t: { change: 'case', max_failures: '>= 1' } }, { max_failures: 'few' })).toHaveLength(2);
});
