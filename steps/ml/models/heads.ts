/** The program of a task: its outputs, and its training loss if labels are given. All as in transformers. */

import {
  binaryCrossEntropy,
  type CrossEntropyOptions,
  crossEntropy,
  linear,
  meanSquaredError,
  vocabularyCrossEntropy,
  vocabularyPredictions,
} from '../runtime/ops.ts';
import type { Axes, Program } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import { isGenerating, type ProblemType, type Task } from './config.ts';
import { type Distillation, distillationLoss, LOSS_FACTORS } from './distillation.ts';
import type { Config, Family } from './family.ts';

/**
 * Labels, and the loss that they define:
 *  text-classification   `labels` int32 [B] for one label, float32 [B, labels] for any number of labels or for a number
 *  token-classification  `labels` int32 [B, T]; −100 is ignored
 *  question-answering    `start_positions` and `end_positions` int32 [B]
 *  masked-lm             `labels` int32 [B, T], or [P] with `label_positions`; −100 is ignored
 *  causal-lm, seq2seq    the same: the next token at each position. Besides `loss` there are then `losses` float32 [P], and
 *                        instead of logits, which would be [P, vocabulary], the most likely tokens, `predictions` int32 [P]
 * If the inputs include a teacher's outputs, the loss is that of `distillation`.
 */
export function programFor<C extends Config>(
  family: Family<C>,
  task: Task,
  config: C,
  problem: ProblemType,
  loss: CrossEntropyOptions = {},
  distillation?: Distillation,
): Program {
  if (isGenerating(task)) {
    const head = family.heads[task]!;
    return (weights, inputs, dropout): Record<string, tf.Tensor> => {
      const { states, vocabulary } = head.states(config, weights, inputs, dropout);
      const { labels } = inputs;
      if (!labels) return { logits: linear(states, vocabulary) };
      const { losses, predictions } = vocabularyPredictions(states, vocabulary, labels);
      return { loss: vocabularyCrossEntropy(states, vocabulary, labels, loss), losses, predictions };
    };
  }
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
    const { labels } = inputs;
    const states: tf.Tensor[] = [];
    const taught = distillation && LOSS_FACTORS.labels in inputs ? distillation : undefined;
    const logits = head.logits(config, weights, inputs, dropout, taught?.hidden ? (state) => states.push(state) : undefined);
    if (!labels) return { logits };
    const lossOfLabels = () => lossOf(logits, labels);
    if (!taught) return { loss: lossOfLabels(), logits };
    return { ...distillationLoss({ logits, states, lossOfLabels }, inputs, problem, taught), logits };
  };
}

/** The axes of the inputs of such a program. */
export function axesFor(task: Task, problem: ProblemType, labels: number): Axes {
  const tokens = ['batch', 'sequence'];
  const one = task === 'text-classification' && problem === 'single_label_classification';
  return {
    input_ids: tokens,
    attention_mask: tokens,
    token_type_ids: tokens,
    decoder_input_ids: ['batch', 'target'],
    label_positions: ['positions'],
    labels:
      task === 'masked-lm' || isGenerating(task)
        ? ['positions']
        : task === 'token-classification'
          ? tokens
          : one
            ? ['batch']
            : ['batch', labels],
    start_positions: ['batch'],
    end_positions: ['batch'],
  };
}

const LOSSES = {
  multi_label_classification: binaryCrossEntropy,
  regression: meanSquaredError,
};

/*
 * A model's decoder as programs for a runtime: one graph each, for all sizes. Their inputs and outputs are described
 * in family.ts.
 */

export interface Decoding {
  cache: { layers: number; heads: number; width: number };
  /** For encoder-decoders. */
  encode?: { program: Program; axes: Axes };
  decode: { program: Program; axes: Axes };
}

/** Undefined for a family that does not generate. */
export function decodingOf<C extends Config>({ family, config }: { family: Family<C>; config: C }): Decoding | undefined {
  const { decoder } = family;
  if (!decoder) return undefined;
  const { encode } = decoder;
  const cache = decoder.cache(config);
  const { heads, layers, width } = cache;
  const [tokens, source] = [
    ['batch', 'tokens'],
    ['batch', 'source'],
  ];
  const axes: Record<string, readonly (string | number)[]> = {
    input_ids: tokens,
    attention_mask: tokens,
    position_ids: tokens,
    past_mask: ['batch', 'slots'],
    encoder_attention_mask: source,
  };
  for (let layer = 0; layer < layers; layer++)
    for (const kind of ['key', 'value']) {
      axes[`past_${kind}.${layer}`] = ['batch', heads, 'slots', width];
      axes[`cross_${kind}.${layer}`] = ['batch', heads, 'source', width];
    }
  return {
    cache,
    ...(encode && {
      encode: {
        program: (weights, inputs) => encode(config, weights, inputs),
        axes: { input_ids: source, attention_mask: source },
      },
    }),
    decode: { program: (weights, inputs) => decoder.decode(config, weights, inputs), axes },
  };
}
