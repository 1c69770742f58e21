/**
 * The heads of encoders, as in transformers. The families differ in the names of the weights, in the activations and in
 * the dropout.
 *
 * In the comments B is the batch, T the tokens of a sequence, H the hidden size, E the size of the embeddings, P the
 * tokens to predict, V the vocabulary.
 */

import { linear } from '../runtime/ops.ts';
import type { Dropout } from '../runtime/runtime.ts';
import type { tf } from '../runtime/tfjs.ts';
import type { Config, Head } from './family.ts';
import * as nn from './nn.ts';

/** An encoder without a head. */
export interface Backbone<C extends Config> {
  /** The beginning of the names of transformers' classes. */
  classes: string;
  /** H */
  width(config: C): number;
  /** int32 ids, mask and, optionally, types [B, T] → the last hidden states [B, T, H], or with `first` that of [CLS] alone [B, H]. */
  encode(config: C, weights: nn.Weights, inputs: Record<string, tf.Tensor>, dropout: Dropout, reading: Reading): tf.Tensor;
}

export interface Reading {
  first: boolean;
  observe?: nn.Observe | undefined;
}

interface Pooling<C> {
  /** The names of the dense layer and of the layer that predicts the labels. */
  dense: string;
  output: string;
  activation: nn.ActivationName;
  rate(config: C): number;
  /** Dropout before the dense layer too. */
  twice?: boolean;
}

/** The first token → dense layer → labels [B, labels]. A masked language model has no dense layer, so it belongs to the head. */
export const sequenceHead = <C extends Config>(backbone: Backbone<C>, { dense, output, activation, rate, twice }: Pooling<C>): Head<C> => ({
  architecture: `${backbone.classes}ForSequenceClassification`,
  parameters: (config, labels) => ({
    ...nn.linearParameters(dense, backbone.width(config), backbone.width(config)),
    ...nn.linearParameters(output, backbone.width(config), labels),
  }),
  labelled: [`${output}.weight`, `${output}.bias`],
  logits(config, weights, inputs, dropout, observe) {
    const first = backbone.encode(config, weights, inputs, dropout, { first: true, observe }); // [B, H]
    const pooled = nn.activation(activation, nn.linear(twice ? dropout(first, rate(config)) : first, weights, dense)); // [B, H]
    return nn.linear(dropout(pooled, rate(config)), weights, output);
  },
});

/** Each token → labels [B, T, labels]. */
export const tokenHead = <C extends Config>(backbone: Backbone<C>, rate: (config: C) => number): Head<C> => ({
  architecture: `${backbone.classes}ForTokenClassification`,
  parameters: (config, labels) => nn.linearParameters('classifier', backbone.width(config), labels),
  labelled: ['classifier.weight', 'classifier.bias'],
  logits(config, weights, inputs, dropout) {
    const hidden = backbone.encode(config, weights, inputs, dropout, { first: false }); // [B, T, H]
    return nn.linear(dropout(hidden, rate(config)), weights, 'classifier');
  },
});

/** Each token → its scores as the first and the last of the answer [B, T, 2]. */
export const answerHead = <C extends Config>(backbone: Backbone<C>, rate: (config: C) => number = () => 0): Head<C> => ({
  architecture: `${backbone.classes}ForQuestionAnswering`,
  parameters: (config) => nn.linearParameters('qa_outputs', backbone.width(config), 2),
  labelled: [],
  logits(config, weights, inputs, dropout) {
    const hidden = backbone.encode(config, weights, inputs, dropout, { first: false }); // [B, T, H]
    return nn.linear(dropout(hidden, rate(config)), weights, 'qa_outputs');
  },
});

interface Prediction<C> {
  /** The names of the dense layer, of the norm, of the bias, and of the word embeddings, which predict the tokens. */
  dense: string;
  norm: string;
  bias: string;
  words: string;
  /** Copies of the embeddings and the bias that transformers stores. */
  copies: { words: string; bias?: string };
  activation(config: C): nn.ActivationName;
  epsilon(config: C): number;
  /** E; default H. */
  size?(config: C): number;
}

/** Tokens to predict → dense layer → word embeddings [P, V]. */
export const maskedHead = <C extends Config>(backbone: Backbone<C>, names: Prediction<C>): Head<C> => ({
  architecture: `${backbone.classes}ForMaskedLM`,
  parameters(config) {
    const size = (names.size ?? backbone.width)(config);
    return {
      ...nn.linearParameters(names.dense, backbone.width(config), size),
      ...nn.layerNormParameters(names.norm, size),
      ...nn.biasParameters(names.bias, config.vocab_size),
    };
  },
  labelled: [],
  tied: { [names.copies.words]: names.words, ...(names.copies.bias && { [names.copies.bias]: names.bias }) },
  logits(config, weights, inputs, dropout, observe) {
    const masked = nn.labelledStates(backbone.encode(config, weights, inputs, dropout, { first: false, observe }), inputs); // [P, H]
    const dense = nn.activation(names.activation(config), nn.linear(masked, weights, names.dense)); // [P, E]
    const x = nn.layerNorm(dense, weights, names.norm, names.epsilon(config));
    return linear(x, weights[names.words]!, weights[names.bias]!);
  },
});
