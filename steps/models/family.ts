/** What a model family is: how its config is read, which weights it has, and what it computes for each task. */
import type { Dropout } from '../runtime/runtime.ts';
import type { tf } from '../runtime/tfjs.ts';
import type { ConfigFile } from './config.ts';
import type { Parameters, Weights } from './nn.ts';

/** What a model can be trained for. */
export type Task = 'text-classification' | 'token-classification' | 'question-answering' | 'masked-lm';

/** What a text classifier's labels are: one of several, any number of them, or one number; config.json's `problem_type`. */
export type ProblemType = 'single_label_classification' | 'multi_label_classification' | 'regression';

/** The fields of a config that are read whatever the family is. */
export interface Config {
  model_type: string;
  vocab_size: number;
  pad_token_id: number;
  initializer_range: number;
}

export interface Family<C extends Config = any> {
  /** `model_type` in config.json. */
  type: string;
  /** What the base model's weights are called by in a checkpoint with a head; one without a head leaves it out. */
  prefix: string;
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
  heads: Partial<Record<Task, Head<C>>>;
}

export interface Head<C extends Config = any> {
  /** The class in transformers that loads such a checkpoint. */
  architecture: string;
  /** Weights on top of the base model: a checkpoint may lack them, and they then start at random. */
  parameters(config: C, labels: number): Parameters;
  /** Those that have one row for each label. */
  labelled: string[];
  /** Where checkpoints have copies of weights that are the embeddings' or this head's own: they are passed over. */
  tied?: string[];
  /**
   * `input_ids`, `attention_mask` and, optionally, `token_type_ids`, all int32 [B, T] → logits:
   * text-classification [B, labels]; token-classification [B, T, labels]; question-answering [B, T, 2], of each token as the
   * answer's first and as its last; masked-lm [B, T, vocabulary], or, with `masked_positions` int32 [P], places in the flat
   * batch, [P, vocabulary] of those alone.
   */
  logits(config: C, weights: Weights, inputs: Record<string, tf.Tensor>, dropout: Dropout): tf.Tensor;
}
