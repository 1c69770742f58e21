/**
 * The layers that models consist of. Each has two sides: its weights, by their Hugging Face names, and its
 * computation.
 */

import * as ops from '../runtime/ops.ts';
import type { Dropout } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';

export interface Parameter {
  shape: number[];
  /** The initialization of an untrained model; the deviation of `normal` is the config's `initializer_range`, or its own. */
  start: 'normal' | 'zeros' | 'ones' | 'sinusoids' | 'identity';
  deviation?: number;
  /** For `normal`: the maximum distance from 0, in deviations. */
  cutoff?: number;
  /** The layout of a linear layer's weight: PyTorch's Linear is [out, in], transformers' Conv1D [in, out]. */
  layer?: 'Linear' | 'Conv1D';
  /** Weight decay excludes biases and norms. */
  decay: boolean;
  /** The row of the padding token: it is initialized to zero and gets no gradient from lookups. */
  paddingRow?: number;
}

export type Parameters = Record<string, Parameter>;

export type Weights = Record<string, tf.Tensor>;

/** Receives the hidden states [B, T, H]: those of the embeddings, then those of each layer, as transformers' `hidden_states`. */
export type Observe = (state: tf.Tensor) => void;

/** A forward pass. */
export interface Pass<C> {
  config: C;
  weights: Weights;
  dropout: Dropout;
  observe?: Observe | undefined;
}

export const linearParameters = (name: string, from: number, to: number): Parameters => ({
  [`${name}.weight`]: { shape: [to, from], start: 'normal', decay: true, layer: 'Linear' },
  [`${name}.bias`]: { shape: [to], start: 'zeros', decay: false },
});

/** A linear layer without bias. */
export const projectionParameters = (name: string, from: number, to: number, deviation?: number): Parameters => ({
  [`${name}.weight`]: { shape: [to, from], start: 'normal', decay: true, layer: 'Linear', ...(deviation !== undefined && { deviation }) },
});

/** [.., from] → [.., to], including the LoRA adapter of the weight if there is one. */
export function linear(x: tf.Tensor, weights: Weights, name: string): tf.Tensor {
  const weight = weights[`${name}.weight`]!;
  return adapted(ops.linear(x, weight, weights[`${name}.bias`]), x, weight);
}

export const conv1dParameters = (name: string, from: number, to: number, deviation?: number): Parameters => ({
  [`${name}.weight`]: { shape: [from, to], start: 'normal', decay: true, layer: 'Conv1D', ...(deviation !== undefined && { deviation }) },
  [`${name}.bias`]: { shape: [to], start: 'zeros', decay: false },
});

/** The same with the weight transposed. */
export function conv1d(x: tf.Tensor, weights: Weights, name: string): tf.Tensor {
  const weight = weights[`${name}.weight`]!;
  return adapted(ops.conv1d(x, weight, weights[`${name}.bias`]!), x, weight);
}

/** The output y of a layer for x, plus that of the weight's adapter. */
function adapted(y: tf.Tensor, x: tf.Tensor, weight: tf.Tensor): tf.Tensor {
  const adapter = adapters.get(weight);
  if (!adapter) return y;
  return tf.add(y, tf.mul(ops.linear(ops.linear(adapter.dropout(x), adapter.a), adapter.b), adapter.scale));
}

/** Adapters by the weights that they adapt; lora.ts sets them for one run of a program. */
export const adapters = new WeakMap<tf.Tensor, { a: tf.Tensor; b: tf.Tensor; scale: number; dropout: (x: tf.Tensor) => tf.Tensor }>();

export const layerNormParameters = (name: string, size: number): Parameters => ({
  [`${name}.weight`]: { shape: [size], start: 'ones', decay: false },
  [`${name}.bias`]: { shape: [size], start: 'zeros', decay: false },
});

/** A norm without a bias only scales. */
export const layerNorm = (x: tf.Tensor, weights: Weights, name: string, epsilon: number): tf.Tensor =>
  ops.layerNorm(x, weights[`${name}.weight`]!, weights[`${name}.bias`], epsilon);

export const rmsNormParameters = (name: string, size: number): Parameters => ({
  [`${name}.weight`]: { shape: [size], start: 'ones', decay: false },
});

export const rmsNorm = (x: tf.Tensor, weights: Weights, name: string, epsilon: number): tf.Tensor =>
  ops.rmsNorm(x, weights[`${name}.weight`]!, epsilon);

export const embeddingParameters = (name: string, rows: number, size: number, paddingRow?: number): Parameters => ({
  [`${name}.weight`]: { shape: [rows, size], start: 'normal', decay: true, ...(paddingRow === undefined ? {} : { paddingRow }) },
});

/**
 * Selects hidden states [B, T, H] at the `label_positions` [P] of the flat batch → [P, H]; all of them if there are
 * none. Predicting a token costs a product with the whole vocabulary, so it is done only for masked tokens.
 */
export function labelledStates(hidden: tf.Tensor, { label_positions }: Record<string, tf.Tensor>): tf.Tensor {
  return label_positions ? ops.embedding(tf.reshape(hidden, [-1, hidden.shape.at(-1)!]), label_positions) : hidden;
}

/** The bias of a decoder whose weight is the word embeddings. */
export const biasParameters = (name: string, size: number): Parameters => ({ [name]: { shape: [size], start: 'zeros', decay: false } });

const silu = (x: tf.Tensor): tf.Tensor => tf.mul(x, tf.sigmoid(x));

/** By the names in configs, which are those of transformers' ACT2FN; several names may mean the same function. */
const activations = {
  gelu: ops.gelu,
  gelu_python: ops.gelu,
  gelu_new: ops.geluNew,
  gelu_fast: ops.geluNew,
  gelu_accurate: ops.geluNew,
  gelu_pytorch_tanh: ops.geluNew,
  gelu_python_tanh: ops.geluNew,
  quick_gelu: (x: tf.Tensor): tf.Tensor => tf.mul(x, tf.sigmoid(tf.mul(x, 1.702))),
  relu: (x: tf.Tensor): tf.Tensor => tf.relu(x),
  silu,
  swish: silu,
  tanh: (x: tf.Tensor): tf.Tensor => tf.tanh(x),
};

export type ActivationName = keyof typeof activations;

export const activationNames = Object.keys(activations) as ActivationName[];

export const activation = (name: ActivationName, x: tf.Tensor): tf.Tensor => activations[name](x);

/** The names of the weights of a block as in BERT, with norms after attention and after the feed-forward layer. */
export interface BlockNames {
  query: string;
  key: string;
  value: string;
  output: string;
  attentionNorm: string;
  inner: string;
  outer: string;
  norm: string;
}

/** `width`: of the hidden states; `inner`: of the feed-forward layer. */
export const blockParameters = (names: BlockNames, width: number, inner: number): Parameters => ({
  ...linearParameters(names.query, width, width),
  ...linearParameters(names.key, width, width),
  ...linearParameters(names.value, width, width),
  ...linearParameters(names.output, width, width),
  ...layerNormParameters(names.attentionNorm, width),
  ...linearParameters(names.inner, width, inner),
  ...linearParameters(names.outer, inner, width),
  ...layerNormParameters(names.norm, width),
});

interface BlockOptions {
  heads: number;
  /** Added to the scores: [B, 1, 1, T]. */
  mask: tf.Tensor;
  activation: ActivationName;
  epsilon: number;
  dropout: Dropout;
  /** Dropout of the probabilities, of what attention adds, and of what the feed-forward layer adds. */
  rates: { attention: number; attended: number; fed: number };
}

/**
 * Embedded tokens [B, T, H] through blocks → [B, T, H], or with `first` the first token alone [B, H]. A classifier reads
 * only this token, so the last block computes only this one, unless the others are observed. This saves nearly half of a
 * model with two blocks.
 */
export function blocks(
  embedded: tf.Tensor,
  weights: Weights,
  names: BlockNames[],
  options: BlockOptions,
  { first, observe }: { first: boolean; observe?: Observe | undefined },
): tf.Tensor {
  let x = ops.betweenLayers(embedded, observe);
  for (const each of names.slice(0, -1)) x = ops.betweenLayers(block(x, x, weights, each, options), observe);
  const last = block(first && !observe ? ops.firstToken(x) : x, x, weights, names.at(-1)!, options);
  observe?.(last);
  return first ? tf.reshape(observe ? ops.firstToken(last) : last, [-1, last.shape[2]!]) : last;
}

/** `tokens` [B, Q, H], all or some of the sequence, attend to `x` [B, T, H], all of them → [B, Q, H]. */
function block(tokens: tf.Tensor, x: tf.Tensor, weights: Weights, names: BlockNames, options: BlockOptions): tf.Tensor {
  const { heads, mask, epsilon, dropout, rates } = options;
  const context = ops.attention(
    linear(tokens, weights, names.query), // [B, Q, H]
    linear(x, weights, names.key), // [B, T, H]
    linear(x, weights, names.value), // [B, T, H]
    { heads, mask, dropout, rate: rates.attention },
  ); // [B, Q, H]
  const attended = dropout(linear(context, weights, names.output), rates.attended);
  const a = layerNorm(tf.add(tokens, attended), weights, names.attentionNorm, epsilon);
  const inner = activation(options.activation, linear(a, weights, names.inner)); // [B, Q, F]
  const fed = dropout(linear(inner, weights, names.outer), rates.fed); // [B, Q, H]
  return layerNorm(tf.add(a, fed), weights, names.norm, epsilon);
}

/** int32 [B, T], 1 = attend → [B, 1, 1, T] to add to scores: 0, or the lowest float32. */
export function additiveMask(attentionMask: tf.Tensor): tf.Tensor {
  const [batch, length] = attentionMask.shape as [number, number];
  return tf.reshape(lowestWhereNot(tf.cast(attentionMask, 'float32')), [batch, 1, 1, length]);
}

/** int32 [B, T] → [B, 1, T, T]: each token attends to tokens up to itself whose mask is 1. */
export const causalMask = (attentionMask: tf.Tensor): tf.Tensor => maskOfPairs(attentionMask, tf.greaterEqual);

/** The same, but each token attends to tokens at most `reach` positions away, on both sides. */
export const windowMask = (attentionMask: tf.Tensor, reach: number): tf.Tensor =>
  maskOfPairs(attentionMask, (query, key) => tf.lessEqual(tf.abs(tf.sub(query, key)), tf.scalar(reach, 'int32')));

/** Keeps the pairs of positions [T, 1] and [1, T] that `kept` selects. (The sum of two masks would overflow.) */
function maskOfPairs(attentionMask: tf.Tensor, kept: (query: tf.Tensor, key: tf.Tensor) => tf.Tensor): tf.Tensor {
  const [batch, length] = attentionMask.shape as [number, number];
  const index = tf.range(0, length, 1, 'int32');
  const pairs = kept(tf.reshape(index, [length, 1]), tf.reshape(index, [1, length])); // [T, T]
  const real = tf.reshape(tf.cast(attentionMask, 'float32'), [batch, 1, 1, length]);
  return lowestWhereNot(tf.mul(real, tf.cast(pairs, 'float32')));
}

const lowestWhereNot = (kept: tf.Tensor): tf.Tensor => tf.mul(tf.sub(1, kept), LOWEST);

const LOWEST = -3.4028234663852886e38;
