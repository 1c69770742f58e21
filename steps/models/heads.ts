/** The program of a task: what it returns, and the loss it is trained by where labels are given. All as transformers has it. */
import { binaryCrossEntropy, type CrossEntropyOptions, crossEntropy, meanSquaredError } from '../runtime/ops.ts';
import type { Axes, Program } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import type { Config, Family, ProblemType, Task } from './family.ts';

/**
 * Labels, and what comes of them:
 *   text-classification   `labels` int32 [B] of one label, float32 [B, labels] of any number of them or of a number
 *   token-classification  `labels` int32 [B, T]; −100 does not count
 *   question-answering    `start_positions` and `end_positions` int32 [B]
 *   masked-lm             `labels` int32 [B, T], or [P] beside `masked_positions`; −100 does not count
 */
export function programFor<C extends Config>(
  family: Family<C>,
  task: Task,
  config: C,
  problem: ProblemType,
  loss: CrossEntropyOptions = {},
): Program {
  const head = family.heads[task]!;
  if (task === 'question-answering') {
    return (weights, inputs, dropout): Record<string, tf.Tensor> => {
      const logits = head.logits(config, weights, inputs, dropout); // [B, T, 2]
      const [start_logits, end_logits] = tf.unstack(logits, -1) as [tf.Tensor, tf.Tensor]; // [B, T] each
      const { start_positions, end_positions } = inputs;
      if (!start_positions || !end_positions) return { start_logits, end_logits };
      const loss = tf.div(tf.add(crossEntropy(start_logits, start_positions), crossEntropy(end_logits, end_positions)), 2);
      return { loss, start_logits, end_logits };
    };
  }
  const ofLabels = (logits: tf.Tensor, labels: tf.Tensor) => crossEntropy(logits, labels, loss);
  const lossOf = task === 'text-classification' && problem !== 'single_label_classification' ? LOSSES[problem] : ofLabels;
  return (weights, inputs, dropout): Record<string, tf.Tensor> => {
    const logits = head.logits(config, weights, inputs, dropout);
    return inputs.labels ? { loss: lossOf(logits, inputs.labels), logits } : { logits };
  };
}

/** The axes of what such a program reads. */
export function axesFor(task: Task, problem: ProblemType, labels: number): Axes {
  const tokens = ['batch', 'sequence'];
  const one = task === 'text-classification' && problem === 'single_label_classification';
  return {
    input_ids: tokens,
    attention_mask: tokens,
    token_type_ids: tokens,
    masked_positions: ['masked'],
    labels: task === 'masked-lm' ? ['masked'] : task === 'token-classification' ? tokens : one ? ['batch'] : ['batch', labels],
    start_positions: ['batch'],
    end_positions: ['batch'],
  };
}

const LOSSES = {
  multi_label_classification: binaryCrossEntropy,
  regression: meanSquaredError,
};
