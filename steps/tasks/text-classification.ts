/**
 * text-classification: one label of several, any number of labels, or a number (regression), for a text or a pair of
 * texts.
 */
import type { Json } from '../../engine/step.ts';
import { type Classified, classificationMetrics, classReport, confusionMatrix, PROBABILITY_METRICS } from '../metrics/classification.ts';
import { labelReport, multiLabelMetrics } from '../metrics/multi-label.ts';
import { regressionMetrics } from '../metrics/regression.ts';
import { best, logSoftmax, type Measurement, type Measuring, type Outputs, rounded, rowOf, type TaskKind } from './task.ts';

export const textClassification: TaskKind<Float32Array> = {
  task: 'text-classification',
  fields: [{ name: 'text' }, { name: 'text_pair', optional: true }],
  cut: ['text', 'text_pair'],
  tokenizing: ({ max_length, truncation }) => ({ maxLength: max_length!, ...(truncation && { truncation }) }),

  async encode(inputs, { tokenizer }) {
    const paired = inputs.filter((input) => input.text_pair !== undefined);
    const pairs = await tokenizer.encodePairs(paired.map(({ text, text_pair }) => [text!, text_pair!]));
    const singles = await tokenizer.encode(inputs.filter((input) => input.text_pair === undefined).map(({ text }) => text!));
    return inputs.map((input) => [(input.text_pair === undefined ? singles : pairs).shift()!]);
  },

  read: (outputs, row) => read(outputs, row),

  answer(_, __, [logits], { labels, problem }): Json {
    if (problem === 'regression') return labels.length === 1 ? { score: rounded(logits![0]!) } : { scores: byLabel(labels, logits!) };
    if (problem === 'multi_label_classification') {
      const scores = Array.from(logits!, sigmoid);
      return { labels: labels.filter((_, k) => scores[k]! > THRESHOLD), scores: byLabel(labels, scores) };
    }
    return { label: labels[best(logits!)]!, scores: byLabel(labels, logSoftmax(logits!).map(Math.exp)) };
  },

  measure(measuring) {
    if (measuring.problem === 'regression') return measureNumbers(measuring);
    if (measuring.problem === 'multi_label_classification') return measureSets(measuring);
    return measureLabels(measuring);
  },
};

const read = ({ logits }: Outputs, row: number): Float32Array => rowOf(logits!, row);

/** transformers' pipeline has no threshold; 0.5 is what training with binary cross-entropy implies. */
const THRESHOLD = 0.5;

function measureLabels({ labels, metrics, positive, split, labelIds }: Measuring): Measurement<Float32Array> {
  const truth: number[] = [];
  const predicted: number[] = [];
  const scores: Float64Array[] = [];
  // The probabilities of every row would take more memory than everything else together.
  const keepsScores = metrics.some((name) => PROBABILITY_METRICS.includes(name));
  let loss = 0;
  const classified = (): Classified => ({
    classes: labels.length,
    truth,
    predicted,
    scores,
    ...(positive === undefined ? {} : { positive }),
  });
  return {
    read,
    add(_, first, [logits]) {
      const label = labelIds[split.values('labels', first)![0]!]!;
      const logs = logSoftmax(logits!);
      loss -= logs[label]!;
      truth.push(label);
      predicted.push(best(logits!));
      const probabilities = logs.map(Math.exp);
      if (keepsScores) scores.push(probabilities);
      return { label: labels[label]!, predicted: labels[predicted.at(-1)!]!, scores: byLabel(labels, probabilities) };
    },
    metrics: () => ({ loss: loss / truth.length, ...classificationMetrics(classified(), metrics) }),
    report() {
      const matrix = confusionMatrix(classified());
      return {
        labels,
        ...(positive === undefined ? {} : { positive: labels[positive]! }),
        confusion_matrix: matrix,
        classes: { ...classReport(labels, matrix) },
      };
    },
    warnings: () =>
      allSame(predicted) && !allSame([...predicted, ...truth])
        ? [`the model predicts the label "${labels[predicted[0]!]}" for every row`]
        : [],
  };
}

function measureSets({ labels, metrics, split, labelIds }: Measuring): Measurement<Float32Array> {
  const truth: Uint8Array[] = [];
  const predicted: Uint8Array[] = [];
  let loss = 0;
  const names = (flags: Uint8Array) => labels.filter((_, k) => flags[k] === 1);
  return {
    read,
    add(_, first, [logits]) {
      const flags = new Uint8Array(labels.length);
      for (const [k, flag] of split.values('labels', first)!.entries()) if (flag === 1) flags[labelIds[k]!] = 1;
      // −log σ(x) if the label applies, otherwise −log(1 − σ(x)), in the form that does not overflow.
      for (const [k, x] of logits!.entries()) loss += (Math.max(x, 0) - x * flags[k]! + Math.log1p(Math.exp(-Math.abs(x)))) / labels.length;
      truth.push(flags);
      const scores = Float64Array.from(logits!, sigmoid);
      predicted.push(Uint8Array.from(scores, (score) => (score > THRESHOLD ? 1 : 0)));
      return { labels: names(flags), predicted: names(predicted.at(-1)!), scores: byLabel(labels, scores) };
    },
    metrics: () => ({ loss: loss / truth.length, ...multiLabelMetrics({ truth, predicted }, metrics) }),
    report: () => ({ labels, classes: labelReport(labels, { truth, predicted }) }),
    warnings() {
      if (!allSame(predicted.map(String)) || allSame([...predicted, ...truth].map(String))) return [];
      const given = names(predicted[0]!).map((label) => `"${label}"`);
      return [`the model predicts ${given.length > 0 ? `the labels ${given.join(', ')}` : 'no label at all'} for every row`];
    },
  };
}

function measureNumbers({ labels, metrics, split }: Measuring): Measurement<Float32Array> {
  const truth: number[] = [];
  const predicted: number[] = [];
  return {
    read,
    add(_, first, [logits]) {
      const [value] = split.values('labels', first)!;
      truth.push(value!);
      predicted.push(logits![0]!);
      return { label: rounded(value!), predicted: rounded(logits![0]!) };
    },
    metrics: () => ({ loss: regressionMetrics(truth, predicted, ['mse']).mse!, ...regressionMetrics(truth, predicted, metrics) }),
    report: () => ({ labels }),
  };
}

/** For two or more classes. */
const allSame = (values: (number | string)[]): boolean => values.length > 1 && values.every((value) => value === values[0]);

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const byLabel = (labels: string[], values: ArrayLike<number>): Record<string, Json> =>
  Object.fromEntries(labels.map((label, k) => [label, rounded(values[k]!)]));
