/**
 * A classifier two-sample test (Lopez-Paz & Oquab 2017): a logistic regression learns from one half of the rows to tell new rows from
 * the reference, and is tested on the other half. If both have the same distribution, it is right as often as a fair coin.
 *
 * It is not cross-validated: with two folds, whether a row of one fold is classified correctly depends on the labels of the rows like
 * it in the other fold, and the other way round, so that the binomial test would find differences where there are none.
 */
import { fitLogistic, inverseFrequencies, type SparseRows, WordCounts, weighted } from '../ml/bag-of-words.ts';
import { curvesOf } from '../ml/metrics/curves.ts';
import { fairCoinCdf } from '../ml/metrics/distributions.ts';
import { random, shuffle } from '../ml/models/random.ts';

export interface TwoSampleTest {
  /** Test rows, half of which are new. */
  rows: number;
  correct: number;
  accuracy: number;
  auc: number;
  /** The exact binomial test, one-sided. */
  p: number;
  /** For each new row of the test: its position among the new rows, and the probability that it is a new one. */
  scores: { row: number; score: number }[];
  /** The words that are most typical of each side, for a bag of words. */
  words?: { current: string[]; reference: string[] };
}

/** Rows of each side that a test needs. */
export const LEAST_ROWS = 20;

/** Texts of both sides, or their embeddings: the same kind and number of features for all rows. */
export type Sides<T> = { reference: readonly T[]; current: readonly T[] };

export function testTexts({ reference, current }: Sides<string>, seed: number): TwoSampleTest {
  const counts = new WordCounts();
  for (const text of [...reference, ...current]) counts.add(text);
  let idf: Float64Array;
  const { weights, ...result } = heldOutTest(reference.length, current.length, seed, {
    features: counts.words,
    learn: (rows) => {
      idf = inverseFrequencies(counts, rows);
      return weighted(counts, rows, idf);
    },
    read: (rows) => weighted(counts, rows, idf),
  });
  const words = [...counts.vocabulary];
  const order = [...words.keys()].filter((word) => weights[word] !== 0).sort((a, b) => weights[b]! - weights[a]!);
  const named = (numbers: number[], sign: number) => numbers.filter((word) => sign * weights[word]! > 0).map((word) => words[word]!);
  return { ...result, words: { current: named(order.slice(0, TYPICAL), 1), reference: named(order.slice(-TYPICAL).reverse(), -1) } };
}

const TYPICAL = 10;

export function testEmbeddings({ reference, current }: Sides<Float32Array>, seed: number): TwoSampleTest {
  const all = [...reference, ...current];
  const features = all[0]!.length;
  let scale: { mean: Float64Array; by: Float64Array };
  const read = (rows: readonly number[]) =>
    standardised(
      rows.map((row) => all[row]!),
      scale,
    );
  const { weights: _, ...result } = heldOutTest(reference.length, current.length, seed, {
    features,
    learn: (rows) => {
      scale = scaleOf(rows.map((row) => all[row]!));
      return read(rows);
    },
    read,
  });
  return result;
}

interface Features {
  features: number;
  /** The rows that the classifier learns from. */
  learn(rows: number[]): SparseRows;
  read(rows: number[]): SparseRows;
}

/** Rows are numbered from the first of the reference to the last new one. Both sides have the same share, so that chance is one half. */
function heldOutTest(
  references: number,
  news: number,
  seed: number,
  { features, learn, read }: Features,
): TwoSampleTest & { weights: Float64Array } {
  const uniform = random('two-sample', seed);
  const size = Math.min(references, news);
  const was = shuffle([...Array(references).keys()], uniform).slice(0, size);
  const is = shuffle([...Array(news).keys()], uniform).slice(0, size);
  const half = Math.floor(size / 2);
  const both = (rows: number[], others: number[]) => [...rows, ...others.map((row) => references + row)];
  const label = (row: number) => Number(row >= references);
  const seen = both(was.slice(0, half), is.slice(0, half));
  const asked = both(was.slice(half), is.slice(half));
  const model = fitLogistic(learn(seen), Int32Array.from(seen, label), { features, classes: 2 });
  const rows = read(asked);
  const scores = asked.map((_, i) => 1 / (1 + Math.exp(-model.scores(rows, i)[0]!)));
  const correct = asked.filter((row, i) => Number(scores[i]! > 0.5) === label(row)).length;
  return {
    rows: asked.length,
    correct,
    accuracy: correct / asked.length,
    auc: curvesOf(asked.map(label), scores)!.rocAuc,
    p: fairCoinCdf(asked.length - correct, asked.length),
    scores: asked.flatMap((row, i) => (label(row) === 1 ? [{ row: row - references, score: scores[i]! }] : [])),
    weights: model.weights,
  };
}

/** Of the rows that the classifier learns from. With `by`, rows have a length of about 1, as those of a bag of words. */
function scaleOf(rows: Float32Array[]): { mean: Float64Array; by: Float64Array } {
  const size = rows[0]!.length;
  const mean = new Float64Array(size);
  const by = new Float64Array(size);
  for (const row of rows) for (let k = 0; k < size; k++) mean[k]! += row[k]! / rows.length;
  for (const row of rows) for (let k = 0; k < size; k++) by[k]! += (row[k]! - mean[k]!) ** 2 / rows.length;
  // A feature that all rows share tells nothing.
  for (let k = 0; k < size; k++) by[k] = by[k]! > 1e-18 ? 1 / Math.sqrt(by[k]! * size) : 0;
  return { mean, by };
}

function standardised(rows: Float32Array[], { mean, by }: { mean: Float64Array; by: Float64Array }): SparseRows {
  const size = mean.length;
  const value = new Float64Array(rows.length * size);
  const index = new Int32Array(rows.length * size);
  for (const [i, row] of rows.entries())
    for (let k = 0; k < size; k++) {
      index[i * size + k] = k;
      value[i * size + k] = (row[k]! - mean[k]!) * by[k]!;
    }
  return { starts: Int32Array.from({ length: rows.length + 1 }, (_, i) => i * size), index, value };
}
