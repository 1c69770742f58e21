/** The bag of words equals scikit-learn's (test/golden/baseline.py). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { bagOfWords, fitLogistic, fitVectorizer } from '../../../steps/ml/bag-of-words.ts';

const golden = JSON.parse(readFileSync(new URL('../../golden/baseline.json', import.meta.url), 'utf8'));

describe.each<[number, any]>(golden.cases.map((c: any) => [c.classes, c]))('%i classes', (_, c) => {
  const vectorizer = fitVectorizer(c.train.map((row: any) => row.text));

  test('tf-idf rows', () => {
    expect(vectorizer.size).toBe(c.vocabulary.length);
    c.test.forEach((text: string, i: number) => {
      const dense = new Array(vectorizer.size).fill(0);
      const row = vectorizer.transform(text);
      row.index.forEach((index, j) => {
        dense[index] = row.value[j];
      });
      expect(distance(dense, c.tfidf[i])).toBeLessThan(1e-12);
    });
  });

  test('weights, intercepts and predictions', () => {
    const rows = c.train.map((row: any) => vectorizer.transform(row.text));
    const { weights } = fitLogistic(
      rows,
      c.train.map((row: any) => row.label),
      vectorizer.size,
      c.classes,
    );
    const expected = c.coef.flatMap((w: number[], k: number) => [...w, c.intercept[k]]);
    expect(distance([...weights], expected)).toBeLessThan(1e-4);
    expect(bagOfWords(c.train, c.classes, c.test)).toEqual(c.predicted);
  });
});

function distance(a: number[], b: number[]): number {
  expect(a.length).toBe(b.length);
  return Math.hypot(...a.map((x, i) => x - b[i]!));
}
