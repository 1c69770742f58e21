/** What a model family is: how its config is read, which weights it has, and what it computes for each task. */
import type { Dropout } from '../runtime/runtime.ts';
import type { tf } from '../runtime/tfjs.ts';
import type { ConfigFile } from './config.ts';
import type { Parameters, Weights } from './nn.ts';

/** What a model can be trained for. */
export type Task = 'text-classification';

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
  /** Reads config.json: the family's defaults for what it leaves out, a StepError for what we cannot honour. */
  configure(file: ConfigFile): C;
  /** The most tokens a sequence may have. */
  maxLength(config: C): number;
  /** The weights without a head. */
  parameters(config: C): Parameters;
  heads: Record<Task, Head<C>>;
}

export interface Head<C extends Config = any> {
  /** The class in transformers that loads such a checkpoint. */
  architecture: string;
  /** Weights on top of the base model: a checkpoint may lack them, and they then start at random. */
  parameters(config: C, labels: number): Parameters;
  /** Those that have one row for each label. */
  labelled: string[];
  /** `input_ids`, `attention_mask` and, optionally, `token_type_ids`, all int32 [B, T] → logits [B, labels]. */
  logits(config: C, weights: Weights, inputs: Record<string, tf.Tensor>, dropout: Dropout): tf.Tensor2D;
}
