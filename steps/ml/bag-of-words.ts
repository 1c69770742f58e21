/**
 * Tf-idf and an L2-regularised logistic regression, as scikit-learn's TfidfVectorizer and LogisticRegression by
 * default: lower case, words of at least two letters or digits, smoothed idf, rows of length 1, C = 1, no penalty on
 * the intercept. Two classes share one weight vector; more classes have one each (softmax).
 * https://scikit-learn.org/stable/modules/feature_extraction.html#tfidf-term-weighting
 */

import { memoryLimit, StepError } from '../../engine/contract/step.ts';
import { bytesToMinimize, minimize } from './minimize.ts';

export function bagOfWords(train: LabelledText[], classes: number, texts: string[]): number[] {
  const counts = new WordCounts();
  for (const { text } of train) counts.add(text);
  refuseTooLarge(counts.words, classes);
  const all = [...train.keys()];
  const idf = inverseFrequencies(counts, all);
  const model = fitLogistic(
    weighted(counts, all, idf),
    Int32Array.from(train, ({ label }) => label),
    { features: counts.words, classes },
  );
  const asked = counts.sameWords();
  for (const text of texts) asked.add(text);
  const rows = weighted(asked, [...texts.keys()], idf);
  return texts.map((_, i) => {
    const s = model.scores(rows, i);
    return classes === 2 ? Number(s[0]! > 0) : s.indexOf(Math.max(...s));
  });
}

/** @throws StepError if the machine has too little memory for the weights */
function refuseTooLarge(words: number, classes: number): void {
  const bytes = bytesToMinimize(words * (classes === 2 ? 1 : classes));
  if (bytes <= memoryLimit()) return;
  const [needed, available] = [bytes, memoryLimit()].map((size) => `${(size / 2 ** 30).toFixed(1)} GiB`);
  throw new StepError(
    `the bag of words needs ${needed} of memory for ${words.toLocaleString('en-US')} words and ${classes} labels, and ${available} are available`,
    'Leave it out: `methods: [majority]`.',
    ['methods'],
  );
}

interface LabelledText {
  text: string;
  label: number;
}

/** How often each word occurs in each text. Texts are not kept. */
export class WordCounts {
  /** The number of each word; they are numbered as they come. */
  private numbers = new Map<string, number>();
  private frozen = false;
  /** For each text, where its words begin in `word` and `count`. */
  readonly starts: number[] = [0];
  private word = new Int32Array(1 << 16);
  private count = new Int32Array(1 << 16);

  get words(): number {
    return this.numbers.size;
  }

  get vocabulary(): Iterable<string> {
    return this.numbers.keys();
  }

  add(text: string): void {
    const counts = new Map<number, number>();
    for (const word of wordsOf(text)) {
      let number = this.numbers.get(word);
      if (number === undefined) {
        if (this.frozen) continue;
        number = this.numbers.size;
        this.numbers.set(word, number);
      }
      counts.set(number, (counts.get(number) ?? 0) + 1);
    }
    const start = this.starts.at(-1)!;
    const end = start + counts.size;
    if (end > this.word.length) [this.word, this.count] = [grown(this.word, end), grown(this.count, end)];
    let at = start;
    for (const [number, count] of counts) {
      this.word[at] = number;
      this.count[at++] = count;
    }
    this.starts.push(end);
  }

  /** Counts for other texts, in which only these words count. */
  sameWords(): WordCounts {
    const others = new WordCounts();
    others.numbers = this.numbers;
    others.frozen = true;
    return others;
  }

  wordsOf(text: number): Int32Array {
    return this.word.subarray(this.starts[text], this.starts[text + 1]);
  }

  countsOf(text: number): Int32Array {
    return this.count.subarray(this.starts[text], this.starts[text + 1]);
  }
}

function grown(values: Int32Array<ArrayBuffer>, size: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(Math.max(size, 2 * values.length));
  larger.set(values);
  return larger;
}

/** The weight of each word, from the texts in which it occurs; 0 for a word that is in none of these texts. */
export function inverseFrequencies(counts: WordCounts, texts: readonly number[]): Float64Array {
  const documents = new Float64Array(counts.words);
  for (const text of texts) for (const word of counts.wordsOf(text)) documents[word]!++;
  return documents.map((n) => (n === 0 ? 0 : Math.log((1 + texts.length) / (1 + n)) + 1));
}

/** Sparse rows, one after another. */
export interface SparseRows {
  /** Where each row begins in `index` and `value`; the last entry is the end. */
  starts: Int32Array;
  index: Int32Array;
  value: Float64Array;
}

/** The tf-idf of these texts, as rows of length 1. */
export function weighted(counts: WordCounts, texts: readonly number[], idf: Float64Array): SparseRows {
  const size = texts.reduce((sum, text) => sum + counts.wordsOf(text).length, 0);
  const rows = { starts: new Int32Array(texts.length + 1), index: new Int32Array(size), value: new Float64Array(size) };
  let end = 0;
  for (const [row, text] of texts.entries()) {
    const [words, times] = [counts.wordsOf(text), counts.countsOf(text)];
    const start = end;
    let squares = 0;
    for (let j = 0; j < words.length; j++) {
      const value = times[j]! * idf[words[j]!]!;
      if (value === 0) continue;
      rows.index[end] = words[j]!;
      rows.value[end++] = value;
      squares += value * value;
    }
    const norm = Math.sqrt(squares) || 1;
    for (let j = start; j < end; j++) rows.value[j]! /= norm;
    rows.starts[row + 1] = end;
  }
  return rows;
}

interface LogisticOptions {
  features: number;
  classes: number;
  /** The weights of a similar model, from which the search starts. */
  start?: Float64Array | undefined;
}

/** Minimises C·Σ loss + ½‖w‖² with C = 1. */
export function fitLogistic(rows: SparseRows, labels: Int32Array, { features, classes, start }: LogisticOptions) {
  const outputs = classes === 2 ? 1 : classes;
  // The weights of a word for all classes are neighbours in memory; the intercepts come last.
  const size = (features + 1) * outputs;
  const bias = features * outputs;
  const count = labels.length;
  const scores = new Float64Array(outputs);

  const scoresInto = (weights: Float64Array, { starts, index, value }: SparseRows, row: number): void => {
    for (let k = 0; k < outputs; k++) scores[k] = weights[bias + k]!;
    for (let j = starts[row]!; j < starts[row + 1]!; j++) {
      const at = index[j]! * outputs;
      const x = value[j]!;
      for (let k = 0; k < outputs; k++) scores[k]! += weights[at + k]! * x;
    }
  };

  const objective = (weights: Float64Array, gradient: Float64Array): number => {
    let sum = 0;
    for (let i = 0; i < bias; i++) {
      gradient[i] = weights[i]!;
      sum += weights[i]! * weights[i]!;
    }
    gradient.fill(0, bias);
    let loss = sum / 2;
    const { starts, index, value } = rows;
    for (let row = 0; row < count; row++) {
      scoresInto(weights, rows, row);
      loss += lossOf(scores, labels[row]!);
      for (let j = starts[row]!; j < starts[row + 1]!; j++) {
        const at = index[j]! * outputs;
        const x = value[j]!;
        for (let k = 0; k < outputs; k++) gradient[at + k]! += scores[k]! * x;
      }
      for (let k = 0; k < outputs; k++) gradient[bias + k]! += scores[k]!;
    }
    return loss;
  };

  /** The diagonal of the Hessian. Words have very different frequencies, so the search needs it. */
  const curvatureAt = (weights: Float64Array): Float64Array => {
    const curvature = new Float64Array(size).fill(1).fill(0, bias);
    const { starts, index, value } = rows;
    for (let row = 0; row < count; row++) {
      scoresInto(weights, rows, row);
      if (outputs > 1) softmax(scores);
      else scores[0] = 1 / (1 + Math.exp(-scores[0]!));
      for (let k = 0; k < outputs; k++) scores[k]! *= 1 - scores[k]!;
      for (let j = starts[row]!; j < starts[row + 1]!; j++) {
        const at = index[j]! * outputs;
        const square = value[j]! * value[j]!;
        for (let k = 0; k < outputs; k++) curvature[at + k]! += scores[k]! * square;
      }
      for (let k = 0; k < outputs; k++) curvature[bias + k]! += scores[k]!;
    }
    // A class of which all rows are certain has a slope of 0.
    for (let k = 0; k < outputs; k++) curvature[bias + k] = Math.max(curvature[bias + k]!, 1e-9);
    return curvature;
  };

  const from = start ?? new Float64Array(size);
  const weights = minimize(objective, from, { tolerance: 1e-6 * count, curvature: curvatureAt(from) });
  return {
    /** For each word, the weight for each class; then the intercepts. Two classes have one weight. */
    weights,
    /** Of one row; the same array each time. */
    scores(others: SparseRows, row: number): Float64Array {
      scoresInto(weights, others, row);
      return scores;
    },
  };
}

/** The cross-entropy of one row. Its derivatives replace the scores. A single score is the logit of class 1. */
function lossOf(scores: Float64Array, label: number): number {
  if (scores.length === 1) {
    const score = scores[0]!;
    const margin = label === 1 ? score : -score;
    scores[0] = 1 / (1 + Math.exp(-score)) - label;
    // log(1 + e^-m) without overflow.
    return Math.log1p(Math.exp(-Math.abs(margin))) + Math.max(0, -margin);
  }
  const own = scores[label]!;
  const { top, sum } = softmax(scores);
  scores[label]!--;
  return Math.log(sum) + top - own;
}

/** The probabilities replace the scores. */
function softmax(scores: Float64Array): { top: number; sum: number } {
  let top = Number.NEGATIVE_INFINITY;
  for (let k = 0; k < scores.length; k++) if (scores[k]! > top) top = scores[k]!;
  let sum = 0;
  for (let k = 0; k < scores.length; k++) sum += scores[k] = Math.exp(scores[k]! - top);
  for (let k = 0; k < scores.length; k++) scores[k]! /= sum;
  return { top, sum };
}

/** The probabilities of the classes for each text, by a model that has not seen the texts of its fold: text by text. */
export async function outOfFoldProbabilities(
  counts: WordCounts,
  labels: Int32Array,
  { fold, folds, classes, fitted }: { fold: Int32Array; folds: number; classes: number; fitted(models: number): Promise<void> },
): Promise<Float64Array> {
  const probabilities = new Float64Array(labels.length * classes);
  const texts = [...labels.keys()];
  let start: Float64Array | undefined;
  for (let held = 0; held < folds; held++) {
    const train = texts.filter((i) => fold[i] !== held);
    const idf = inverseFrequencies(counts, train);
    const features = counts.words;
    const outputs = classes === 2 ? 1 : classes;
    // Words that the former model did not know, or that this one does not know, start at 0.
    start?.forEach((_, i) => {
      if (idf[Math.floor(i / outputs)] === 0) start![i] = 0;
    });
    const model = fitLogistic(
      weighted(counts, train, idf),
      Int32Array.from(train, (i) => labels[i]!),
      { features, classes, start },
    );
    const others = texts.filter((i) => fold[i] === held);
    const rows = weighted(counts, others, idf);
    for (const [row, text] of others.entries()) {
      const scores = model.scores(rows, row);
      if (classes > 2) softmax(scores);
      const positive = 1 / (1 + Math.exp(-scores[0]!));
      probabilities.set(classes === 2 ? [1 - positive, positive] : scores, text * classes);
    }
    start = model.weights;
    await fitted(held + 1);
  }
  return probabilities;
}

/** scikit-learn's token_pattern (?u)\b\w\w+\b. */
const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}_]{2,}/gu) ?? [];
