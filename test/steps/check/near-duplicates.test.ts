/** The search for near-duplicates: what it finds, compared with a comparison of all pairs; and large groups. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { jaccard, shinglesOf } from '../../../steps/check/minhash.ts';
import { type NearDuplicate, NearDuplicateSearch, NO_LABEL, SEVERAL_LABELS } from '../../../steps/check/near-duplicates.ts';
import { random } from '../../../steps/ml/models/random.ts';
import { temporary } from '../rig.ts';

const OPTIONS = { threshold: 0.8, unit: 'characters', ngram: 5, permutations: 128 } as const;

function searched(texts: string[], { splits = texts.map(() => 0), labels = texts.map(() => NO_LABEL) } = {}) {
  const occurrences = { splits: Int32Array.from(splits), labels: Int32Array.from(labels) };
  const search = new NearDuplicateSearch(texts.length, OPTIONS, occurrences, join(temporary(), 'shingles'), random('test'));
  texts.forEach((text, i) => {
    search.add(i, text);
  });
  for (let band = 0; band < search.bands; band++) search.compareBand(band);
  const found = new Map<number, NearDuplicate>([...search.results()].map((one) => [one.text, one]));
  const { incomplete } = search;
  search.close();
  return { found, incomplete };
}

const uniform = random('texts');
const draw = <T>(items: readonly T[]): T => items[Math.floor(uniform() * items.length)]!;
const LETTERS = [...'abcdefghijklmnopqrstuvwxyz'];
const WORDS = Array.from({ length: 500 }, () => Array.from({ length: 2 + Math.floor(uniform() * 7) }, () => draw(LETTERS)).join(''));
const sentence = (words: number) => Array.from({ length: words }, () => draw(WORDS));

/** Texts of which many are copies of others with some words replaced. */
function texts(count: number): string[] {
  const made: string[][] = [];
  for (let i = 0; i < count; i++) {
    const copy = i > 20 && uniform() < 0.5 ? [...draw(made)] : sentence(15 + Math.floor(uniform() * 40));
    for (let change = Math.floor(uniform() * 5); change > 0; change--) copy[Math.floor(uniform() * copy.length)] = draw(WORDS);
    made.push(copy);
  }
  return made.map((words) => words.join(' '));
}

test('nearly all texts with a near-duplicate are found, and no other; similarities are exact', () => {
  const all = texts(300);
  const sets = all.map((text) => shinglesOf(text, OPTIONS));
  const similar = all.map((_, i) => all.flatMap((_, j) => (i !== j && jaccard(sets[i]!, sets[j]!) >= OPTIONS.threshold ? [j] : [])));
  const { found, incomplete } = searched(all);
  const expected = similar.filter((others) => others.length > 0).length;
  expect(expected).toBeGreaterThan(60);
  expect(found.size / expected).toBeGreaterThan(0.99);
  for (const one of found.values()) {
    expect(similar[one.text]).toContain(one.similar);
    expect(one.similarity).toBe(jaccard(sets[one.text]!, sets[one.similar]!));
  }
  expect(incomplete).toBe(0);
});

test('a near-duplicate in another split is preferred to one with another label, and this to others', () => {
  const text = sentence(40).join(' ');
  const all = ['', ' one', ' two', ' three'].map((end) => text + end);
  const { found } = searched(all, { splits: [1, 1, 1, 2], labels: [0, 0, 1, 0] });
  expect(found.get(0)).toMatchObject({ similar: 3, splits: 3, label: SEVERAL_LABELS, group: 0 });
  expect(found.get(3)).toMatchObject({ splits: 1, group: 0 });
  const { found: same } = searched(all.slice(0, 3), { splits: [1, 1, 1], labels: [0, 0, 1] });
  expect(same.get(0)).toMatchObject({ similar: 2, splits: 1 });
});

test('a large group of near-duplicates is found as one group, beside many texts that are almost near-duplicates', () => {
  const template = sentence(60);
  const near = Array.from({ length: 1000 }, (_, i) => `${template.join(' ')} number ${i}`);
  // Six words of sixty are replaced: the similarity of two texts is about 0.65, so most pairs are candidates.
  const almost = Array.from({ length: 300 }, () => {
    const words = [...template];
    for (let change = 0; change < 6; change++) words[Math.floor(uniform() * 60)] = draw(WORDS);
    return words.reverse().join(' ');
  });
  const { found } = searched([...near, ...almost]);
  const groups = new Set(near.map((_, i) => found.get(i)?.group));
  expect([...groups]).toEqual([0]);
});
