/**
 * Defines a model family: how its config is read, which weights it has, and what it computes for each task; and makes
 * the programs that a runtime executes: for training and evaluation, for generation, and for ONNX tools.
 */

import { exportOnnx } from '../runtime/onnx/export.ts';
import {
  binaryCrossEntropy,
  type CrossEntropyOptions,
  crossEntropy,
  linear,
  meanSquaredError,
  vocabularyCrossEntropy,
  vocabularyPredictions,
} from '../runtime/ops.ts';
import type { Quantization } from '../runtime/quantization.ts';
import type { Axes, Dropout, HostTensors, Program } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import {
  type ConfigFile,
  type GeneratingTask,
  isGenerating,
  oneLabel,
  outputsOf,
  type ProblemType,
  type Task,
  taskFacts,
} from './config.ts';
import { type Distillation, distillationLoss, LOSS_FACTORS, pooledState, pooledTarget } from './distillation.ts';
import type { Observe, Parameters, Weights } from './nn.ts';

/** The fields of a config that every family has. */
export interface Config {
  model_type: string;
  vocab_size: number;
  pad_token_id: number;
  initializer_range: number;
  /** For families that generate: the end-of-text token. */
  eos_token_id?: number;
  /** For encoder-decoders: the token before the first token of a target. */
  decoder_start_token_id?: number;
}

type Tensors = Record<string, tf.Tensor>;

export interface Family<C extends Config = any> {
  /** `model_type` in config.json. */
  type: string;
  /** The prefix of the base model's weights in a model folder with a head; others omit it. Empty if the names do not differ. */
  prefix: string;
  /** Suffixes of constants that old versions of transformers saved among the weights; they are ignored. */
  constants?: string[];
  /** The fields of config.json that are dropout rates. */
  dropouts: string[];
  /** The linear layers that LoRA adapts by default, by the ends of their names: the queries and values of attention. */
  loraTargets: string[];
  /** Reads config.json with the family's defaults. Throws a StepError for values that are not supported. */
  configure(file: ConfigFile): C;
  /** The maximum number of tokens of a sequence. */
  maxLength(config: C): number;
  /** Whether several layers share one set of weights, so that none can be trained differently. Undefined for most families. */
  sharesLayers?(config: C): boolean;
  /** How far a weight is above the input: 0 for the embeddings, n for the nth layer. Undefined above the layers: pooler and head. */
  depthOf(weight: string, config: C): number | undefined;
  /** Whether token types distinguish the two texts of a pair. */
  typed(config: C): boolean;
  /** The weights without a head. */
  parameters(config: C): Parameters;
  /**
   * The dense layer of the pooler, if there is one: text-classification reads the first token through it and tanh. A
   * masked language model does not use it, but keeps it for a later classification.
   */
  pooler?: string;
  heads: Partial<Record<Exclude<Task, GeneratingTask>, Head<C>> & Record<GeneratingTask, GeneratingHead<C>>>;
  /** How it generates texts, for families with a head for a generating task. */
  decoder?: DecoderDefinition<C>;
}

/** `depthOf` for one stack of layers. The patterns match the beginnings of names; the group of `layer` is its number, from 0. */
export function stackDepth(embeddings: RegExp, layer: RegExp): (weight: string) => number | undefined {
  return (weight) => {
    if (embeddings.test(weight)) return 0;
    const number = layer.exec(weight)?.[1];
    return number === undefined ? undefined : Number(number) + 1;
  };
}

/** The names of the weights with a row for each token: those whose shape follows the size of the vocabulary. */
export function vocabularyWeights<C extends Config>(parametersOf: (config: C) => Parameters, config: C): string[] {
  const [now, larger] = [parametersOf(config), parametersOf({ ...config, vocab_size: config.vocab_size + 1 })];
  return Object.keys(now).filter((name) => now[name]!.shape[0] !== larger[name]!.shape[0]);
}

/** The weights of the family's pooler, if it has one. They start as the identity: the states of the first token, unchanged. */
export function poolerParameters<C extends Config>({ pooler, heads }: Family<C>, config: C): Parameters {
  if (pooler === undefined) return {};
  const own = Object.entries(heads['text-classification']!.parameters(config, 1)).filter(([name]) => name.startsWith(`${pooler}.`));
  return Object.fromEntries(own.map(([name, one]) => [name, one.layer ? { ...one, start: 'identity' as const } : one]));
}

interface HeadWeights<C extends Config> {
  /** The class in transformers that loads such a model. */
  architecture: string;
  /** Weights on top of the base model. If a model folder lacks them, they are randomly initialized. */
  parameters(config: C, labels: number): Parameters;
  /** Weights that have one row for each label. */
  labelled: string[];
  /** Stored copies of weights that are tied to the embeddings or to this head's own, and their originals; the copies are ignored. */
  tied?: Record<string, string>;
  /** Weights of the head that, if a model folder lacks them, are taken from another weight, by name, as transformers does. */
  tiedTo?: Record<string, string>;
}

export interface Head<C extends Config = any> extends HeadWeights<C> {
  /**
   * `input_ids`, `attention_mask` and, optionally, `token_type_ids`, all int32 [B, T] → logits: text-classification
   * [B, labels]; token-classification [B, T, labels]; question-answering [B, T, 2], for each token as the first and
   * as the last of the answer; masked-lm [B, T, vocabulary] or, with `label_positions` int32 [P], positions in the
   * flat batch, [P, vocabulary] of those alone. The heads for texts and masked-lm pass their hidden states to
   * `observe`; those of a text-classifier then compute the last layer for all tokens.
   */
  logits(config: C, weights: Weights, inputs: Tensors, dropout: Dropout, observe?: Observe): tf.Tensor;
}

export interface GeneratingHead<C extends Config = any> extends HeadWeights<C> {
  /**
   * `input_ids`, `attention_mask` int32 [B, T], and for seq2seq `decoder_input_ids` [B, D] → the factors of the
   * logits: states [B, T, H] (for seq2seq [B, D, H]), or [P, H] at the `label_positions` int32 [P] of the flat batch,
   * and the vocabulary's rows [V, H]. Their product is expensive, so it is computed only where a token is to be
   * predicted.
   */
  states(config: C, weights: Weights, inputs: Tensors, dropout: Dropout): { states: tf.Tensor; vocabulary: tf.Tensor };
}

/**
 * Predicts token after token, with a KV cache that the caller holds: `slots`, of which any number are filled and, for
 * a family with position ids, in any order. Both programs work for any B, T, slots and S.
 */
export interface DecoderDefinition<C extends Config = any> {
  /** The fields of config.json with the sizes of the cache. transformers.js has no defaults for them. */
  fields: string[];
  /** The sizes of the cache: keys and values of each layer, [B, heads, slots, width] each. */
  cache(config: C): { layers: number; heads: number; width: number };
  /** For encoder-decoders, run once per input. `input_ids`, `attention_mask` int32 [B, S] → the encoder's states [B, S, H]. */
  encode?(config: C, weights: Weights, inputs: Tensors): tf.Tensor;
  /** For encoder-decoders: such states → what the decoder attends to, `cross_key.N`, `cross_value.N` [B, heads, S, width] of each layer N. */
  cross?(config: C, weights: Weights, states: tf.Tensor): Tensors;
  /**
   * The next T tokens of each row:
   *  input_ids       int32 [B, T]
   *  attention_mask  int32 [B, T], 0 for padding, on either side
   *  position_ids    int32 [B, T], the position of each token, counted from 0 without padding
   *  past_mask       int32 [B, slots], 1 for filled slots
   *  past_key.N, past_value.N         [B, heads, slots, width]; they and past_mask are omitted while the cache is empty
   *  cross_key.N, cross_value.N, encoder_attention_mask  from `cross`; for encoder-decoders
   * → `logits` [B, vocabulary] at the last token of each row that is not padding or, with `every`, [B, T, vocabulary]; and `key.N`,
   * `value.N` [B, heads, T, width], which the caller stores in free slots. If the family has no position_ids (T5), the slot of a token is
   * its position.
   */
  decode(config: C, weights: Weights, inputs: Tensors, every?: boolean): Tensors;
}

/**
 * The program of a task: its outputs and, if there are labels, the loss, as in transformers. The labels:
 *  text-classification   `labels` int32 [B] for one label, float32 [B, labels] for any number of labels or for a number
 *  token-classification  `labels` int32 [B, T]; −100 is ignored
 *  question-answering    `start_positions` and `end_positions` int32 [B]
 *  masked-lm             `labels` int32 [B, T], or [P] with `label_positions`; −100 is ignored
 *  causal-lm, seq2seq    the same: the next token at each position. Besides `loss` there are then `losses` float32 [P], and
 *                        instead of logits, which would be [P, vocabulary], the most likely tokens, `predictions` int32 [P]
 * `loss_weights` float32 [B] weight the rows of a text-classification with one label.
 * If the inputs include the outputs of a teacher, the loss is that of `distillation`.
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
  if (taskFacts(task).labelled === 'answer') {
    return (weights, inputs, dropout): Record<string, tf.Tensor> => {
      const logits = head.logits(config, weights, inputs, dropout); // [B, T, 2]
      const [start_logits, end_logits] = tf.unstack(logits, -1) as [tf.Tensor, tf.Tensor]; // [B, T] each
      const { start_positions, end_positions } = inputs;
      if (!start_positions || !end_positions) return { start_logits, end_logits };
      const loss = tf.div(tf.add(crossEntropy(start_logits, start_positions), crossEntropy(end_logits, end_positions)), 2);
      return { loss, start_logits, end_logits };
    };
  }
  const losses = {
    single_label_classification: (logits: tf.Tensor, labels: tf.Tensor, weights?: tf.Tensor) => crossEntropy(logits, labels, loss, weights),
    multi_label_classification: binaryCrossEntropy,
    regression: meanSquaredError,
  };
  const lossOf = losses[taskFacts(task).problems ? problem : 'single_label_classification'];
  return (weights, inputs, dropout): Record<string, tf.Tensor> => {
    const { labels } = inputs;
    const taught = LOSS_FACTORS.labels in inputs ? distillation : undefined;
    const states: tf.Tensor[] = [];
    const observes = taught && (taught.hidden > 0 || taught.pooled > 0);
    const logits = head.logits(config, weights, inputs, dropout, observes ? (state) => states.push(state) : undefined);
    if (!labels) return { logits };
    const lossOfLabels = () => lossOf(logits, labels, inputs.loss_weights);
    if (!taught) return { loss: lossOfLabels(), logits };
    const pooled = () => pooledState(states.at(-1)!, weights, family.pooler!);
    return { ...distillationLoss({ logits, states, pooled, lossOfLabels }, inputs, problem, taught), logits };
  };
}

/**
 * The outputs of a teacher: `logits`, those of its hidden states whose positions are listed, as `states.POSITION`, and
 * `pooled`, what the student's pooler learns.
 */
export function teacherProgram<C extends Config>(
  { family, task, config }: { family: Family<C>; task: Task; config: C },
  { logits: wanted, states, pooled }: { logits: boolean; states: readonly number[]; pooled: boolean },
): Program {
  const head = family.heads[task] as Head<C>;
  return (weights, inputs, dropout) => {
    const observed: tf.Tensor[] = [];
    const logits = head.logits(config, weights, inputs, dropout, states.length > 0 || pooled ? (state) => observed.push(state) : undefined);
    return {
      ...(wanted && { logits }),
      ...Object.fromEntries(states.map((state) => [`states.${state}`, observed[state]!])),
      ...(pooled && { pooled: pooledTarget(observed.at(-1)!, inputs.attention_mask!) }),
    };
  };
}

/** The axes of the inputs of such a program. */
export function axesFor(task: Task, problem: ProblemType, labels: number): Axes {
  const tokens = ['batch', 'sequence'];
  const ofInputs = oneLabel(task, problem) ? ['batch'] : ['batch', labels];
  const { labelled } = taskFacts(task);
  return {
    input_ids: tokens,
    attention_mask: tokens,
    token_type_ids: tokens,
    decoder_input_ids: ['batch', 'target'],
    label_positions: ['positions'],
    labels: labelled === 'positions' ? ['positions'] : labelled === 'token' ? tokens : ofInputs,
    loss_weights: ['batch'],
    start_positions: ['batch'],
    end_positions: ['batch'],
  };
}

/** A decoder as programs: one graph each, for all sizes. */
interface Decoding {
  cache: { layers: number; heads: number; width: number };
  /** For encoder-decoders. */
  encode?: { program: Program; axes: Axes };
  decode: { program: Program; axes: Axes };
}

/** Undefined for a family that does not generate. */
export function decodingOf<C extends Config>({ family, config }: { family: Family<C>; config: C }): Decoding | undefined {
  const { decoder } = family;
  if (!decoder) return undefined;
  const { encode, cross } = decoder;
  const cache = decoder.cache(config);
  const { heads, layers, width } = cache;
  const tokens = ['batch', 'tokens'];
  const source = ['batch', 'source'];
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
        program: (weights, inputs) => cross!(config, weights, encode(config, weights, inputs)),
        axes: { input_ids: source, attention_mask: source },
      },
    }),
    decode: { program: (weights, inputs) => decoder.decode(config, weights, inputs), axes },
  };
}

/** A trained model as an ONNX file: inputs int64 [batch, sequence], outputs float32, with the names that Hugging Face uses. */
export const modelOnnx = (
  { program, weights, task }: { program: Program; weights: HostTensors; task: Task },
  quantize?: Quantization,
): Uint8Array => exportOnnx(program, weights, { outputs: outputsOf(task), quantize });
