/**
 * Finds labels that are probably wrong, from predicted probabilities of a model that was not trained on them: confident learning
 * (Northcutt, Jiang and Chuang 2021, https://jair.org/index.php/jair/article/view/12125). All values equal those of cleanlab 2.9.
 */

/** Labels and predicted probabilities of the same rows. */
export interface LabelledProbabilities {
  /** The position of each row's label among the classes. */
  labels: Int32Array;
  /** Row by row, one probability for each class. */
  probabilities: Float64Array;
  classes: number;
}

export const LABEL_ERROR_FILTERS = [
  'prune_by_noise_rate',
  'prune_by_class',
  'both',
  'confident_learning',
  'predicted_neq_given',
  'low_self_confidence',
  'low_normalized_margin',
] as const;

export type LabelErrorFilter = (typeof LABEL_ERROR_FILTERS)[number];

/** For each pair of a given label (row) and a probable true label (column), the number of rows. It sums to the number of all rows. */
export type ConfidentJoint = number[][];

/** Rounding errors of this size do not count. */
const CLOSE = 1e-6;

/** For each class, the mean probability of the class over the rows with this label; 2 for a class without rows. */
export function confidentThresholds({ labels, probabilities, classes }: LabelledProbabilities): number[] {
  const sums = new Float64Array(classes);
  const counts = new Float64Array(classes);
  labels.forEach((label, row) => {
    sums[label]! += probabilities[row * classes + label]!;
    counts[label]!++;
  });
  return Array.from(sums, (sum, k) => (counts[k]! > 0 ? Math.max(sum / counts[k]!, CLOSE) : 2));
}

/**
 * Counts the rows whose probability of a class is at least the threshold of that class, by given label and that class. `suspects`: the
 * rows for which the class is not the given label. Calibrated: the rows of the matrix then sum to the number of rows with each label.
 */
export function confidentJoint(given: LabelledProbabilities): { counted: ConfidentJoint; calibrated: ConfidentJoint; suspects: number[] } {
  const { labels, probabilities, classes } = given;
  const thresholds = confidentThresholds(given);
  const counted = square(classes);
  const suspects: number[] = [];
  labels.forEach((label, row) => {
    const own = probabilities.subarray(row * classes, (row + 1) * classes);
    const confident = thresholds.flatMap((threshold, k) => (own[k]! >= threshold - CLOSE ? [k] : []));
    if (confident.length === 0) return;
    const guess = confident.length > 1 ? largest(own) : confident[0]!;
    counted[label]![guess]!++;
    if (guess !== label) suspects.push(row);
  });
  // Each class has at least one row whose label is right.
  counted.forEach((counts, k) => {
    counts[k] = Math.max(counts[k]!, 1);
  });
  return { counted, calibrated: calibrated(counted, labels), suspects };
}

function calibrated(joint: ConfidentJoint, labels: Int32Array): ConfidentJoint {
  const counts = new Float64Array(joint.length);
  for (const label of labels) counts[label]!++;
  const scaled = joint.map((row, k) => {
    const total = sum(row);
    return row.map((count) => (count / total) * counts[k]!);
  });
  const all = sum(scaled.map(sum));
  return scaled.map((row) => roundedToSum(row.map((count) => (count / all) * labels.length)));
}

/** Rounds to integers with the rounded sum of the values. The values that rounding changed most are corrected first. */
function roundedToSum(values: readonly number[]): number[] {
  const rounded = values.map(halfToEven);
  const wanted = halfToEven(sum(values));
  for (let missing = wanted - sum(rounded); missing !== 0; missing = wanted - sum(rounded)) {
    const order = ascending(values.map((value, i) => value - rounded[i]!));
    if (missing > 0) order.reverse();
    for (const i of order.slice(0, Math.abs(missing))) rounded[i]! += Math.sign(missing);
  }
  return rounded;
}

function halfToEven(value: number): number {
  const below = Math.floor(value);
  const part = value - below;
  return part === 0.5 ? below + (below % 2) : Math.round(value);
}

/** The probability of the given label. */
export function selfConfidence({ labels, probabilities, classes }: LabelledProbabilities): Float64Array {
  return Float64Array.from(labels, (label, row) => probabilities[row * classes + label]!);
}

/** Half of one plus the margin between the probability of the given label and the largest of the others. */
function normalizedMargin({ labels, probabilities, classes }: LabelledProbabilities): Float64Array {
  return Float64Array.from(labels, (label, row) => {
    let other = 0;
    for (let k = 0; k < classes; k++) if (k !== label) other = Math.max(other, probabilities[row * classes + k]!);
    return (probabilities[row * classes + label]! - other + 1) / 2;
  });
}

/** The rows whose label is probably wrong, those with the least probable label first. */
export function findLabelErrors(given: LabelledProbabilities, filter: LabelErrorFilter = 'prune_by_noise_rate'): number[] {
  const found = FILTERS[filter](given);
  // A row whose label is also the most probable class is no error.
  const kept = filter.startsWith('low_') ? found : found.filter((row) => !isPredicted(given, row, CLOSE));
  const confidence = selfConfidence(given);
  return kept.sort((a, b) => a - b).sort((a, b) => confidence[a]! - confidence[b]!);
}

const FILTERS: Record<LabelErrorFilter, (given: LabelledProbabilities) => number[]> = {
  prune_by_noise_rate: byNoiseRate,
  prune_by_class: byClass,
  both(given) {
    const other = new Set(byClass(given));
    return byNoiseRate(given).filter((row) => other.has(row));
  },
  confident_learning: (given) => confidentJoint(given).suspects,
  predicted_neq_given: (given) => [...given.labels.keys()].filter((row) => !isPredicted(given, row, 0)),
  low_self_confidence: (given) => lowest(given, selfConfidence(given)),
  low_normalized_margin: (given) => lowest(given, normalizedMargin(given)),
};

/** For each other class, as many rows as the confident joint has, with the largest margin of that class over the label. */
function byNoiseRate(given: LabelledProbabilities): number[] {
  const { probabilities, classes } = given;
  const counts = toRemove(confidentJoint(given).calibrated);
  const found = new Set<number>();
  rowsByLabel(given).forEach((rows, label) => {
    if (rows.length <= LEAST_KEPT) return;
    for (let other = 0; other < classes; other++) {
      if (other === label || counts[other]![label]! <= 0) continue;
      const margins = rows.map((row) => probabilities[row * classes + other]! - probabilities[row * classes + label]!);
      for (const i of ascending(margins.map((margin) => -margin)).slice(0, counts[other]![label]!)) found.add(rows[i]!);
    }
  });
  return [...found];
}

/** For each label, as many rows as the confident joint has beside its diagonal, with the lowest probability of the label. */
function byClass(given: LabelledProbabilities): number[] {
  const counts = toRemove(confidentJoint(given).calibrated);
  const confidence = selfConfidence(given);
  return rowsByLabel(given).flatMap((rows, label) => {
    if (rows.length <= LEAST_KEPT) return [];
    const errors = Math.max(0, rows.length - counts[label]![label]!);
    return ascending(rows.map((row) => confidence[row]!))
      .slice(0, errors)
      .map((i) => rows[i]!);
  });
}

/** As many rows as there are suspects whose label is not the most probable class, with the lowest scores. */
function lowest(given: LabelledProbabilities, scores: Float64Array): number[] {
  const errors = confidentJoint(given).suspects.filter((row) => !isPredicted(given, row, CLOSE)).length;
  return ascending([...scores]).slice(0, errors);
}

/** No class loses its last row. */
const LEAST_KEPT = 1;

/** The transposed joint, with at least one row on the diagonal of each class. The other places of its column give the difference. */
function toRemove(joint: ConfidentJoint): number[][] {
  const counts = joint.map((_, i) => joint.map((row) => row[i]!));
  const added = joint.map((row, k) => Math.max(row[k]!, LEAST_KEPT) - row[k]!);
  const filled = joint.map((_, k) => Math.max(counts.filter((row) => row[k] !== 0).length - 1, 1));
  return counts.map((row, i) =>
    roundedToSum(row.map((count, k) => (i === k ? count + added[k]! : Math.max(0, count - added[k]! / filled[k]!)))),
  );
}

function rowsByLabel({ labels, classes }: LabelledProbabilities): number[][] {
  const rows: number[][] = Array.from({ length: classes }, () => []);
  labels.forEach((label, row) => {
    rows[label]!.push(row);
  });
  return rows;
}

/** Whether the label is the most probable class, after `bonus` was added to its probability. */
function isPredicted({ labels, probabilities, classes }: LabelledProbabilities, row: number, bonus: number): boolean {
  const own = probabilities.slice(row * classes, (row + 1) * classes);
  own[labels[row]!]! += bonus;
  return largest(own) === labels[row];
}

const largest = (values: Float64Array): number => values.indexOf(Math.max(...values));

/** The positions of the values in ascending order; equal values keep their order. */
const ascending = (values: number[]): number[] => [...values.keys()].sort((a, b) => values[a]! - values[b]!);

const square = (size: number): number[][] => Array.from({ length: size }, () => new Array<number>(size).fill(0));

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
