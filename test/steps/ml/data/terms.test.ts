/** Terms are whole words of any script, and swaps keep case and everything around the terms. */
import { expect, test } from 'vitest';
import { containsAny, pairsProblem, swapOf } from '../../../../steps/ml/data/terms.ts';

test.each([
  [['muslim', 'jewish'], 'A Muslim family.', true],
  [['muslim'], 'the Muslims of the town', false],
  [['he'], 'the theme of her', false],
  [['he'], "He's here", true],
  [['he'], 'HE!', true],
  [['élan'], 'with e\u0301lan vital', true],
  [['elan'], 'with e\u0301lan', false],
  [['caf'], 'cafe\u0301', false],
  [['straße'], 'eine STRAẞE', true],
  [['привет'], 'Привет, мир', true],
  [['привет'], 'приветствие', false],
  [['African American'], 'an african\n american  author', true],
  [['c++'], 'in C++.', true],
  [['c++'], 'in c++11', false],
  [['a.b'], 'acb', false],
  [['non-binary'], 'Non-binary people', true],
  [['穆斯林'], '他是穆斯林人', true],
  [['snake'], 'snake_case', false],
])('%j in %j: %j', (terms, text, found) => {
  expect(containsAny(terms)(text)).toBe(found);
});

test.each([
  [[['he', 'she']], 'He said HE and he; the theme, she.', 'She said SHE and she; the theme, he.'],
  [
    [
      ['he', 'she'],
      ['his', 'her'],
      ['him', 'her'],
    ],
    'he saw her, his aunt saw him',
    'she saw his, her aunt saw her',
  ],
  [
    [
      ['muslim', 'jewish'],
      ['islam', 'judaism'],
    ],
    'Muslim and Jewish: ISLAM',
    'Jewish and Muslim: JUDAISM',
  ],
  [[['African American', 'European']], 'african american, African American, EUROPEAN', 'european, European, AFRICAN AMERICAN'],
  [[['John', 'Mary Ann']], 'John, john, JOHN, McJohn', 'Mary Ann, mary ann, MARY ANN, McJohn'],
  [
    [
      ['man', 'woman'],
      ['old man', 'old woman'],
    ],
    'An old man, a man.',
    'An old woman, a woman.',
  ],
  [[['I', 'we']], 'I think, therefore I am', 'we think, therefore we am'],
  [[['actor', 'actress']], 'Actor\u00a0\tactor', 'Actress\u00a0\tactress'],
  [
    [
      ['Straße', 'Gasse'],
      ['king', 'queen'],
    ],
    'STRAẞE, \u212aing',
    'GASSE, Queen',
  ],
  [[['élève', 'maître']], 'e\u0301le\u0300ve', 'maître'],
])('%j: %j', (pairs, text, swapped) => {
  expect(swapOf(pairs).apply(text)!.text).toBe(swapped);
});

test('a swap lists the directions that it made, and is undefined for a text without a term', () => {
  const { apply, directions } = swapOf([
    ['he', 'she'],
    ['king', 'queen'],
  ]);
  expect(apply('She, she and the King')!.made.map((place) => directions[place])).toEqual([
    ['she', 'he'],
    ['king', 'queen'],
  ]);
  expect(apply('the theme')).toBeUndefined();
});

test('a pair of one term or with an empty term is a problem', () => {
  expect(pairsProblem([['he', 'He']])).toMatch(/same term/);
  expect(pairsProblem([['he', ' ']])).toMatch(/empty/);
  expect(pairsProblem([['he', 'she']])).toBeUndefined();
});
