/** The positive class, for precision, recall and f1. */
import { StepError } from '../../engine/step.ts';
import { BINARY_METRICS } from './classification.ts';

/**
 * The class named `positive`, by default the last of two in sorting order (numbers by value): models and baselines
 * may number their labels differently, but must mean the same class. Undefined with more than two labels. Throws,
 * before anything is computed, if a metric does not apply to these labels.
 */
export function positiveClass(labels: string[], positive: string | undefined, metrics: readonly string[]): number | undefined {
  const binary = binaryProblem(metrics, labels);
  if (binary) throw new StepError(binary.message, binary.hint, ['metrics']);
  const wrong = positive === undefined ? undefined : positiveProblem(positive, labels);
  if (wrong) throw new StepError(wrong.message, wrong.hint, ['positive']);
  return labels.length === 2 ? labels.indexOf(positive ?? labels.toSorted(inOrder)[1]!) : undefined;
}

/** The problem with a class that is named `positive`. */
export function positiveProblem(positive: string, labels: readonly string[]): { message: string; hint: string } | undefined {
  if (labels.length !== 2) return { message: `\`positive\` needs two labels, and there are ${labels.length}`, hint: 'Remove it.' };
  if (labels.includes(positive)) return undefined;
  return { message: `no label is "${positive}"`, hint: `The labels are ${labels.join(' and ')}.` };
}

/** The problem with metrics that need two labels, if there are not two. */
export function binaryProblem(metrics: readonly string[], labels: readonly string[]): { message: string; hint: string } | undefined {
  const binary = labels.length === 2 ? undefined : metrics.find((name) => BINARY_METRICS.includes(name));
  if (binary === undefined) return undefined;
  return { message: `${binary} needs two labels, and there are ${labels.length}`, hint: `Use macro_${binary} or weighted_${binary}.` };
}

function inOrder(a: string, b: string): number {
  const [x, y] = [a, b].map((label) => (label.trim() === '' ? Number.NaN : Number(label)));
  return Number.isNaN(x! + y!) ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : x! - y!;
}
