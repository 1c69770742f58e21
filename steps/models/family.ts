/** What a model family is: how its config is read, which weights it has, and what it computes for each task. */
import type { Dropout } from '../runtime/runtime.ts';
import type { tf } from '../runtime/tfjs.ts';
import type { ConfigFile } from './config.ts';
import type { Parameters, Weights } from './nn.ts';

/** What a model can be trained for. */
export type Task = 'text-classification' | 'token-classification' | 'question-answering' | 'masked-lm' | GeneratingTask;

/** The tasks of a model that writes a text, one token after the other. */
export type GeneratingTask = 'causal-lm' | 'seq2seq';

export const isGenerating = (task: Task): task is GeneratingTask => task === 'causal-lm' || task === 'seq2seq';

/** What a text classifier's labels are: one of several, any number of them, or one number; config.json's `problem_type`. */
export type ProblemType = 'single_label_classification' | 'multi_label_classification' | 'regression';

/** The fields of a config that are read whatever the family is. */
export interface Config {
  model_type: string;
  vocab_size: number;
  pad_token_id: number;
  initializer_range: number;
  /** Of families that write: the token that ends a text. */
  eos_token_id?: number;
  /** Of encoder-decoders: the token before the first of a target. */
  decoder_start_token_id?: number;
}

type Tensors = Record<string, tf.Tensor>;

export interface Family<C extends Config = any> {
  /** `model_type` in config.json. */
  type: string;
  /** What the base model's weights are called by in a checkpoint with a head; one without a head leaves it out. Empty where no name differs. */
  prefix: string;
  /** Ends of names of constants that old versions of transformers saved among the weights: they are passed over. */
  constants?: string[];
  /** The fields of config.json that are dropout rates. */
  dropouts: string[];
  /** The linear layers that LoRA adapts if none are named, by how their names end: the queries and values of attention. */
  loraTargets: string[];
  /** Reads config.json: the family's defaults for what it leaves out, a StepError for what we cannot honour. */
  configure(file: ConfigFile): C;
  /** The most tokens a sequence may have. */
  maxLength(config: C): number;
  /** Whether several layers are one set of weights, so that none of them can learn in its own way. Most families never do that. */
  sharesLayers?(config: C): boolean;
  /** Whether it tells the two texts of a pair apart by their token types. */
  typed(config: C): boolean;
  /** The weights without a head. */
  parameters(config: C): Parameters;
  heads: Partial<Record<Exclude<Task, GeneratingTask>, Head<C>> & Record<GeneratingTask, GeneratingHead<C>>>;
  /** How it writes a text. Of the families that have a head for a generating task. */
  decoder?: Decoder<C>;
}

interface HeadWeights<C extends Config> {
  /** The class in transformers that loads such a checkpoint. */
  architecture: string;
  /** Weights on top of the base model: a checkpoint may lack them, and they then start at random. */
  parameters(config: C, labels: number): Parameters;
  /** Those that have one row for each label. */
  labelled: string[];
  /** Where checkpoints have copies of weights that are the embeddings' or this head's own, and of which: they are passed over. */
  tied?: Record<string, string>;
  /** Weights that are another's, by name, where a checkpoint lacks them: so transformers loads it. */
  copies?: Record<string, string>;
}

export interface Head<C extends Config = any> extends HeadWeights<C> {
  /**
   * `input_ids`, `attention_mask` and, optionally, `token_type_ids`, all int32 [B, T] → logits:
   * text-classification [B, labels]; token-classification [B, T, labels]; question-answering [B, T, 2], of each token as the
   * answer's first and as its last; masked-lm [B, T, vocabulary], or, with `label_positions` int32 [P], places in the flat
   * batch, [P, vocabulary] of those alone.
   */
  logits(config: C, weights: Weights, inputs: Tensors, dropout: Dropout): tf.Tensor;
}

export interface GeneratingHead<C extends Config = any> extends HeadWeights<C> {
  /**
   * `input_ids`, `attention_mask` int32 [B, T]; of seq2seq `decoder_input_ids` [B, D], too → what the logits are a product of:
   * states [B, T, H] (of seq2seq [B, D, H]), or [P, H] at the `label_positions` int32 [P] of the flat batch, and the vocabulary's
   * rows [V, H]. It takes large products to predict a token: they are made where one is to be predicted only.
   */
  states(config: C, weights: Weights, inputs: Tensors, dropout: Dropout): { states: tf.Tensor; vocabulary: tf.Tensor };
}

/**
 * Predicts token after token, from a cache of the keys and values of those before, which the caller holds: `slots` of which some are
 * filled, in any number and, for a family with position ids, in any order. Both are programs for any B, T, slots and S.
 */
export interface Decoder<C extends Config = any> {
  /** The cache's sizes: of each layer keys and values, [B, heads, slots, width] each. */
  cache(config: C): { layers: number; heads: number; width: number };
  /**
   * Of encoder-decoders: once for each input. `input_ids`, `attention_mask` int32 [B, S] →
   * `cross_key.N`, `cross_value.N` [B, heads, S, width] of each layer N.
   */
  encode?(config: C, weights: Weights, inputs: Tensors): Tensors;
  /**
   * The next T tokens of each row:
   *   input_ids       int32 [B, T]
   *   attention_mask  int32 [B, T], 0 on padding, on whichever side it is
   *   position_ids    int32 [B, T], of each token, counted from 0 without padding
   *   past_mask       int32 [B, slots], 1 where a slot is filled
   *   past_key.N, past_value.N         [B, heads, slots, width]; they and past_mask are left out where nothing is cached yet
   *   cross_key.N, cross_value.N, encoder_attention_mask  as of `encode`; of encoder-decoders
   * → `logits` [B, vocabulary] at the last token of each row that is no padding, and `key.N`, `value.N` [B, heads, T, width],
   * which the caller puts into free slots.
   * Where position_ids are no input of the family's model (T5) the slot of a token is its position.
   */
  decode(config: C, weights: Weights, inputs: Tensors): Tensors;
}
