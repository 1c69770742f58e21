/** Which class precision, recall and f1 are about. */
import { StepError } from '../../engine/step.ts';
import { BINARY_METRICS } from './classification.ts';

/**
 * The class named `positive`, or else the last of two in sorting order, numbers by value: a model may number its labels in another order
 * than the next one or a baseline, and the same class must be meant. None where there are more.
 * Fails, before anything is computed, where a metric makes no sense for these labels.
 */
export function positiveClass(labels: string[], positive: string | undefined, metrics: readonly string[]): number | undefined {
  const binary = binaryProblem(metrics, labels);
  if (binary) throw new StepError(binary.message, binary.hint, ['metrics']);
  const wrong = positive === undefined ? undefined : positiveProblem(positive, labels);
  if (wrong) throw new StepError(wrong.message, wrong.hint, ['positive']);
  return labels.length === 2 ? labels.indexOf(positive ?? labels.toSorted(inOrder)[1]!) : undefined;
}

/** What is wrong with a class that is named `positive`. */
export function positiveProblem(positive: string, labels: readonly string[]): { message: string; hint: string } | undefined {
  if (labels.length !== 2)
    return { message: `the option positive is for two labels, and there are ${labels.length}`, hint: 'Leave it out.' };
  if (labels.includes(positive)) return undefined;
  return { message: `no label is called "${positive}"`, hint: `The labels are ${labels.join(' and ')}.` };
}

/** What is wrong with metrics that need two labels, where there are not two. */
export function binaryProblem(metrics: readonly string[], labels: readonly string[]): { message: string; hint: string } | undefined {
  const binary = labels.length === 2 ? undefined : metrics.find((name) => BINARY_METRICS.includes(name));
  if (binary === undefined) return undefined;
  return { message: `${binary} is for two labels, and there are ${labels.length}`, hint: `Use macro_${binary} or weighted_${binary}.` };
}

function inOrder(a: string, b: string): number {
  const [x, y] = [a, b].map((label) => (label.trim() === '' ? Number.NaN : Number(label)));
  return Number.isNaN(x! + y!) ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : x! - y!;
}
