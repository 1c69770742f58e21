/** The bag of words equals scikit-learn's (test/golden/baseline.py). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { bagOfWords, fitLogistic, inverseFrequencies, WordCounts, weighted } from '../../../steps/ml/bag-of-words.ts';

const golden = JSON.parse(readFileSync(new URL('../../golden/baseline.json', import.meta.url), 'utf8'));

describe.each<[number, any]>(golden.cases.map((c: any) => [c.classes, c]))('%i classes', (_, c) => {
  const counts = new WordCounts();
  for (const { text } of c.train) counts.add(text);
  const train = [...c.train.keys()];
  const idf = inverseFrequencies(counts, train);
  /** Words have the order of scikit-learn here, and are numbered as they come there. */
  const places = [...counts.vocabulary].map((word) => c.vocabulary.indexOf(word));

  test('tf-idf rows', () => {
    expect(counts.words).toBe(c.vocabulary.length);
    const asked = counts.sameWords();
    for (const text of c.test) asked.add(text);
    const { starts, index, value } = weighted(asked, [...c.test.keys()], idf);
    c.test.forEach((_: string, i: number) => {
      const dense = new Array(counts.words).fill(0);
      for (let j = starts[i]!; j < starts[i + 1]!; j++) dense[places[index[j]!]!] = value[j];
      expect(distance(dense, c.tfidf[i])).toBeLessThan(1e-12);
    });
  });

  test('weights, intercepts and predictions', () => {
    const labels = Int32Array.from(c.train, (row: any) => row.label);
    const { weights } = fitLogistic(weighted(counts, train, idf), labels, { features: counts.words, classes: c.classes });
    const outputs = c.coef.length;
    const expected = new Array(weights.length).fill(0);
    for (let k = 0; k < outputs; k++) {
      places.forEach((place, word) => {
        expected[word * outputs + k] = c.coef[k][place];
      });
      expected[counts.words * outputs + k] = c.intercept[k];
    }
    expect(distance([...weights], expected)).toBeLessThan(1e-4);
    expect(bagOfWords(c.train, c.classes, c.test)).toEqual(c.predicted);
  });
});

function distance(a: number[], b: number[]): number {
  expect(a.length).toBe(b.length);
  return Math.hypot(...a.map((x, i) => x - b[i]!));
}
