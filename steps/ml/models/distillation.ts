/**
 * Knowledge distillation (Hinton et al. 2015, https://arxiv.org/abs/1503.02531): a student learns from the outputs of
 * a teacher and, as in TinyBERT (Jiao et al. 2019, https://arxiv.org/abs/1909.10351), from its hidden states. The
 * teacher is a program of its own, whose outputs are inputs of the student's training program.
 */

import { firstToken, meanSquaredError, meanSquaredErrorOfTokens, sigmoidDivergence, softmaxDivergence } from '../runtime/ops.ts';
import type { Axes } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import { type ProblemType, type Task, taskFacts } from './config.ts';
import * as nn from './nn.ts';

export interface Distillation {
  temperature: number;
  /** The share of the loss against the teacher's outputs; the rest is that of the loss against the labels. */
  alpha: number;
  /** The weight of the loss against the teacher's hidden states. */
  hidden: number;
  /** The weight of the loss of the student's pooler against the mean of the teacher's last hidden states. */
  pooled: number;
}

/**
 * Inputs of the student's program besides those of its task: the teacher's logits, its hidden state for each of the
 * student's, what the student's pooler learns, and the factors of the four losses in the batch, which may be one of
 * several parts.
 */
export const TEACHER_LOGITS = 'teacher_logits';
export const teacherState = (state: number): string => `teacher_states.${state}`;
export const TEACHER_POOLED = 'teacher_pooled';
export const LOSS_FACTORS = {
  labels: 'factor_of_labels',
  teacher: 'factor_of_teacher',
  states: 'factor_of_states',
  pooled: 'factor_of_pooled',
} as const;

/** The axes of the student's inputs from a teacher. */
export function teacherAxes(task: Task, classes: number, states: number, width: number): Axes {
  const axes: Axes = {
    [TEACHER_LOGITS]: [taskFacts(task).labelled === 'positions' ? 'positions' : 'batch', classes],
    [TEACHER_POOLED]: ['batch', width],
  };
  return { ...axes, ...Object.fromEntries(Array.from({ length: states }, (_, i) => [teacherState(i), ['batch', 'sequence', width]])) };
}

/** What the student computed for a batch. */
interface Learned {
  logits: tf.Tensor;
  states: tf.Tensor[];
  pooled: () => tf.Tensor;
  lossOfLabels: () => tf.Tensor;
}

/** The student's loss with its terms. A loss whose weight is 0 is not computed. */
export function distillationLoss(
  { logits, states, pooled, lossOfLabels }: Learned,
  inputs: Record<string, tf.Tensor>,
  problem: ProblemType,
  { temperature, alpha, hidden, pooled: weight }: Distillation,
): Record<string, tf.Tensor> {
  const scaled = (loss: tf.Tensor, factor: keyof typeof LOSS_FACTORS) => tf.mul(loss, inputs[LOSS_FACTORS[factor]]!);
  const terms: Record<string, tf.Tensor> = {};
  const weighted: tf.Tensor[] = [];
  if (alpha < 1) weighted.push(tf.mul(scaled(lossOfLabels(), 'labels'), 1 - alpha));
  if (alpha > 0) {
    terms.distill_loss = scaled(DIVERGENCES[problem](logits, inputs, temperature), 'teacher');
    weighted.push(tf.mul(terms.distill_loss, alpha));
  }
  if (hidden > 0) {
    const errors = states.map((state, i) => meanSquaredErrorOfTokens(state, inputs[teacherState(i)]!, inputs.attention_mask!));
    terms.hidden_loss = scaled(
      tf.div(
        errors.reduce((sum: tf.Tensor, error) => tf.add(sum, error)),
        errors.length,
      ),
      'states',
    );
    weighted.push(tf.mul(terms.hidden_loss, hidden));
  }
  if (weight > 0) {
    terms.pooled_loss = scaled(meanSquaredError(pooled(), inputs[TEACHER_POOLED]!), 'pooled');
    weighted.push(tf.mul(terms.pooled_loss, weight));
  }
  return { loss: weighted.reduce((sum, loss) => tf.add(sum, loss)), ...terms };
}

/** BERT's pooler: the last hidden states [B, T, H] → a dense layer and tanh for the first token [B, H]. */
export function pooledState(state: tf.Tensor, weights: nn.Weights, pooler: string): tf.Tensor {
  const first = tf.reshape(firstToken(state), [-1, state.shape[2]!]);
  return tf.tanh(nn.linear(first, weights, pooler));
}

/**
 * What a pooler learns from a teacher: tanh of the mean of its last hidden states [B, T, H] over the real tokens, int32
 * [B, T], scaled to a root mean square of 1 → [B, H]. Without the scale, the numbers of long texts would be smaller.
 */
export function pooledTarget(state: tf.Tensor, attentionMask: tf.Tensor): tf.Tensor {
  const width = state.shape[2]!;
  const real = tf.cast(attentionMask, 'float32');
  const sums = tf.reshape(tf.matMul(tf.expandDims(real, 1), state), [-1, width]);
  const means = tf.div(sums, tf.maximum(tf.sum(real, 1, true), 1));
  const norms = tf.sqrt(tf.sum(tf.square(means), 1, true));
  return tf.tanh(tf.mul(means, tf.div(Math.sqrt(width), tf.maximum(norms, SMALLEST_NORM))));
}

/** As in PyTorch's normalize: a mean of 0 stays 0. */
const SMALLEST_NORM = 1e-12;

type Divergence = (logits: tf.Tensor, inputs: Record<string, tf.Tensor>, temperature: number) => tf.Tensor;

const DIVERGENCES: Record<ProblemType, Divergence> = {
  single_label_classification: (logits, { [TEACHER_LOGITS]: teacher, labels }, temperature) =>
    softmaxDivergence(logits, teacher!, labels!, temperature),
  multi_label_classification: (logits, { [TEACHER_LOGITS]: teacher }, temperature) => sigmoidDivergence(logits, teacher!, temperature),
  regression: (logits, { [TEACHER_LOGITS]: teacher }) => meanSquaredError(logits, teacher!),
};
