/** MinHash signatures equal datasketch's (test/golden/minhash.py). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { bandsFor, jaccard, murmurHash, shinglesOf, signatureOf } from '../../../steps/check/minhash.ts';

const golden = JSON.parse(readFileSync(new URL('../../golden/minhash.json', import.meta.url), 'utf8'));

test('MurmurHash3 equals mmh3', () => {
  for (const [text, hash] of golden.murmur) {
    const bytes = Buffer.from(`--${text}--`);
    expect(murmurHash(bytes, 2, bytes.length - 2), text).toBe(hash);
  }
});

describe.each<any>(golden.cases)('shingles of $ngram $unit', ({ ngram, unit, hashes, signatures, jaccard: similarities }) => {
  const sets: Uint32Array[] = golden.texts.map((text: string) => shinglesOf(text, { ngram, unit }));

  test('hashes', () => {
    sets.forEach((set, i) => {
      expect([...set]).toEqual(hashes[i]);
    });
  });

  test('signatures', () => {
    const permutations = { a: Int32Array.from(golden.a), b: Int32Array.from(golden.b) };
    sets.forEach((set, i) => {
      expect([...Uint32Array.from(signatureOf(set, permutations))]).toEqual(signatures[i]);
    });
  });

  test('Jaccard similarities', () => {
    sets.forEach((set, i) => {
      sets.forEach((other, j) => {
        expect(jaccard(set, other)).toBe(similarities[i][j]);
      });
    });
  });
});

test('an empty text has no shingles', () => {
  expect(shinglesOf(' \n\t', { ngram: 5, unit: 'characters' })).toHaveLength(0);
});

test.each([
  [0.8, 128, { bands: 21, rows: 6 }],
  [0.5, 128, { bands: 42, rows: 3 }],
  [1, 128, { bands: 1, rows: 128 }],
])('bands for a threshold of %f', (threshold, permutations, bands) => {
  expect(bandsFor(threshold, permutations, 0.99)).toEqual(bands);
});
