/**
 * Tf-idf and an L2-regularised logistic regression, as scikit-learn's TfidfVectorizer and LogisticRegression by
 * default: lower case, words of at least two letters or digits, smoothed idf, rows of length 1, C = 1, no penalty on
 * the intercept. Two classes share one weight vector; more classes have one each (softmax).
 * https://scikit-learn.org/stable/modules/feature_extraction.html#tfidf-term-weighting
 */

export function bagOfWords(train: LabelledText[], classes: number, texts: string[]): number[] {
  const scores = fitBagOfWords(train, classes);
  return texts.map((text) => {
    const s = scores(text);
    return classes === 2 ? Number(s[0]! > 0) : s.indexOf(Math.max(...s));
  });
}

interface LabelledText {
  text: string;
  label: number;
}

/** The probabilities of the classes for a text. */
export function bagOfWordsProbabilities(train: LabelledText[], classes: number): (text: string) => number[] {
  const scores = fitBagOfWords(train, classes);
  return (text) => {
    const s = scores(text);
    if (classes !== 2) return softmax(s);
    const positive = 1 / (1 + Math.exp(-s[0]!));
    return [1 - positive, positive];
  };
}

function fitBagOfWords(train: LabelledText[], classes: number): (text: string) => number[] {
  const vectorizer = fitVectorizer(train.map((row) => row.text));
  const { scores } = fitLogistic(
    train.map((row) => vectorizer.transform(row.text)),
    train.map((row) => row.label),
    vectorizer.size,
    classes,
  );
  return (text) => scores(vectorizer.transform(text));
}

/** A sparse row: indices of words, and their values. */
interface SparseRow {
  index: Int32Array;
  value: Float64Array;
}

export function fitVectorizer(texts: string[]): { size: number; transform(text: string): SparseRow } {
  const documents = new Map<string, number>();
  for (const text of texts) for (const word of new Set(words(text))) documents.set(word, (documents.get(word) ?? 0) + 1);
  const vocabulary = new Map([...documents.keys()].sort().map((word, i) => [word, i]));
  const idf = Float64Array.from(vocabulary.keys(), (word) => Math.log((1 + texts.length) / (1 + documents.get(word)!)) + 1);
  return {
    size: vocabulary.size,
    transform(text) {
      const counts = new Map<number, number>();
      for (const word of words(text)) {
        const i = vocabulary.get(word);
        if (i !== undefined) counts.set(i, (counts.get(i) ?? 0) + 1);
      }
      const index = Int32Array.from(counts.keys()).sort();
      const value = Float64Array.from(index, (i) => counts.get(i)! * idf[i]!);
      const norm = Math.sqrt(value.reduce((sum, x) => sum + x * x, 0)) || 1;
      return { index, value: value.map((x) => x / norm) };
    },
  };
}

/** Minimises C·Σ loss + ½‖w‖² with C = 1. `weights` has one row per class (one row in all for two classes), with the intercept last. */
export function fitLogistic(rows: SparseRow[], labels: number[], features: number, classes: number) {
  const outputs = classes === 2 ? 1 : classes;
  const width = features + 1;
  const scoresAt = (w: Float64Array, row: SparseRow): number[] => {
    const s: number[] = [];
    for (let k = 0; k < outputs; k++) {
      let sum = w[k * width + features]!;
      for (let j = 0; j < row.index.length; j++) sum += w[k * width + row.index[j]!]! * row.value[j]!;
      s.push(sum);
    }
    return s;
  };

  const objective = (w: Float64Array, gradient: Float64Array): number => {
    let value = 0;
    for (let k = 0; k < outputs; k++) {
      for (let i = 0; i < width; i++) {
        const weight = i === features ? 0 : w[k * width + i]!;
        gradient[k * width + i] = weight;
        value += 0.5 * weight * weight;
      }
    }
    rows.forEach((row, r) => {
      const { loss, slopes } = lossOf(scoresAt(w, row), labels[r]!);
      value += loss;
      slopes.forEach((slope, k) => {
        for (let j = 0; j < row.index.length; j++) gradient[k * width + row.index[j]!]! += slope * row.value[j]!;
        gradient[k * width + features]! += slope;
      });
    });
    return value;
  };

  const weights = minimize(objective, outputs * width, 1e-6 * rows.length);
  return { weights, scores: (row: SparseRow) => scoresAt(weights, row) };
}

/** Cross-entropy of one row and its derivatives by the scores. A single score is the logit of class 1. */
function lossOf(scores: number[], label: number): { loss: number; slopes: number[] } {
  if (scores.length === 1) {
    const margin = label === 1 ? scores[0]! : -scores[0]!;
    // log(1 + e^-m) without overflow.
    const loss = Math.log1p(Math.exp(-Math.abs(margin))) + Math.max(0, -margin);
    return { loss, slopes: [1 / (1 + Math.exp(-scores[0]!)) - label] };
  }
  const top = Math.max(...scores);
  const powers = scores.map((s) => Math.exp(s - top));
  const sum = powers.reduce((a, b) => a + b);
  return { loss: Math.log(sum) + top - scores[label]!, slopes: powers.map((p, k) => p / sum - Number(k === label)) };
}

function softmax(scores: number[]): number[] {
  const top = Math.max(...scores);
  const powers = scores.map((s) => Math.exp(s - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** L-BFGS (Nocedal & Wright, algorithm 7.5) with a backtracking line search, until no entry of the gradient exceeds `tolerance`. */
function minimize(objective: (x: Float64Array, gradient: Float64Array) => number, size: number, tolerance: number): Float64Array {
  const MEMORY = 10;
  const steps: { s: Float64Array; y: Float64Array; rho: number }[] = [];
  let x = new Float64Array(size);
  let gradient = new Float64Array(size);
  let value = objective(x, gradient);
  for (let iteration = 0; iteration < 1000 && gradient.some((g) => Math.abs(g) > tolerance); iteration++) {
    const direction = descent(gradient, steps);
    const slope = dot(direction, gradient);
    let rate = iteration === 0 ? 1 / Math.max(1, Math.sqrt(dot(gradient, gradient))) : 1;
    let next = x;
    let nextGradient = gradient;
    let nextValue = value;
    for (; rate > 1e-12; rate /= 2) {
      next = x.map((xi, i) => xi + rate * direction[i]!);
      nextGradient = new Float64Array(size);
      nextValue = objective(next, nextGradient);
      if (nextValue <= value + 1e-4 * rate * slope) break;
    }
    // The objective no longer falls in float64, so this is the minimum.
    if (nextValue >= value) break;
    const s = next.map((n, i) => n - x[i]!);
    const y = nextGradient.map((n, i) => n - gradient[i]!);
    const curvature = dot(s, y);
    if (curvature > 0) steps.push({ s, y, rho: 1 / curvature });
    if (steps.length > MEMORY) steps.shift();
    [x, gradient, value] = [next, nextGradient, nextValue];
  }
  return x;
}

/** The negative gradient, multiplied by the inverse curvature that the last steps have shown (two-loop recursion). */
function descent(gradient: Float64Array, steps: { s: Float64Array; y: Float64Array; rho: number }[]): Float64Array {
  const q = gradient.map((g) => -g);
  const shares: number[] = [];
  for (const { s, y, rho } of steps.toReversed()) {
    const share = rho * dot(s, q);
    shares.push(share);
    add(q, y, -share);
  }
  const last = steps.at(-1);
  if (last) {
    const scale = 1 / (last.rho * dot(last.y, last.y));
    for (let i = 0; i < q.length; i++) q[i]! *= scale;
  }
  for (const { s, y, rho } of steps) add(q, s, shares.pop()! - rho * dot(y, q));
  return q;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function add(to: Float64Array, what: Float64Array, times: number): void {
  for (let i = 0; i < to.length; i++) to[i]! += times * what[i]!;
}

/** scikit-learn's token_pattern (?u)\b\w\w+\b. */
function words(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}_]{2,}/gu) ?? [];
}
