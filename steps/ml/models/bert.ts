/**
 * BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805), as transformers' BertFor… classes compute it. Read
 * from top to bottom: config, family and heads, weights, encoder, embeddings, block, attention. The exports besides
 * the family are for RoBERTa and ELECTRA, whose encoders are the same under other names.
 *
 * In the comments B is the batch, T the tokens of a sequence, H the hidden size, F the intermediate size, V the
 * vocabulary.
 */

import { attention, betweenLayers, embedding, firstRows, firstToken, linear } from '../runtime/ops.ts';
import type { Dropout } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import { type ConfigFile, ConfigReader } from './config.ts';
import { type Family, type Observe, stackDepth } from './family.ts';
import * as nn from './nn.ts';

/** Names and defaults are those of transformers' BertConfig. */
export interface BertConfig {
  model_type: string;
  vocab_size: number;
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  intermediate_size: number;
  hidden_act: nn.ActivationName;
  hidden_dropout_prob: number;
  attention_probs_dropout_prob: number;
  classifier_dropout: number;
  max_position_embeddings: number;
  type_vocab_size: number;
  initializer_range: number;
  layer_norm_eps: number;
  pad_token_id: number;
}

export const bert: Family<BertConfig> = {
  type: 'bert',
  prefix: 'bert',
  dropouts: ['hidden_dropout_prob', 'attention_probs_dropout_prob', 'classifier_dropout'],
  loraTargets: ['query', 'value'],

  configure: (file) => configureEncoder(file, { model_type: 'bert', vocab_size: 30522, pad_token_id: 0 }),

  maxLength: (config) => config.max_position_embeddings,

  depthOf: stackDepth(/^bert\.embeddings\./, /^bert\.encoder\.layer\.(\d+)\./),

  typed: (config) => config.type_vocab_size > 1,

  parameters: (config) => encoderParameters('bert', config),

  heads: {
    'text-classification': {
      architecture: 'BertForSequenceClassification',
      // The checkpoint of a masked language model has no pooler, so it belongs to the head.
      parameters: (config, labels) => ({
        ...nn.linearParameters('bert.pooler.dense', config.hidden_size, config.hidden_size),
        ...nn.linearParameters('classifier', config.hidden_size, labels),
      }),
      labelled: ['classifier.weight', 'classifier.bias'],
      logits(config, weights, inputs, dropout, observe) {
        const first = encodeFirst(passOf(config, weights, dropout, observe), inputs, positions(weights, inputs)); // [B, H]
        const pooled = tf.tanh(nn.linear(first, weights, 'bert.pooler.dense')); // [B, H]
        return nn.linear(dropout(pooled, config.classifier_dropout), weights, 'classifier'); // [B, labels]
      },
    },

    'token-classification': {
      architecture: 'BertForTokenClassification',
      parameters: (config, labels) => nn.linearParameters('classifier', config.hidden_size, labels),
      labelled: ['classifier.weight', 'classifier.bias'],
      logits(config, weights, inputs, dropout) {
        const hidden = encode(passOf(config, weights, dropout), inputs, positions(weights, inputs)); // [B, T, H]
        return nn.linear(dropout(hidden, config.classifier_dropout), weights, 'classifier'); // [B, T, labels]
      },
    },

    'question-answering': {
      architecture: 'BertForQuestionAnswering',
      parameters: (config) => nn.linearParameters('qa_outputs', config.hidden_size, 2),
      labelled: [],
      logits(config, weights, inputs, dropout) {
        const hidden = encode(passOf(config, weights, dropout), inputs, positions(weights, inputs)); // [B, T, H]
        return nn.linear(hidden, weights, 'qa_outputs'); // [B, T, 2]
      },
    },

    'masked-lm': {
      architecture: 'BertForMaskedLM',
      parameters: (config) => ({
        ...nn.linearParameters('cls.predictions.transform.dense', config.hidden_size, config.hidden_size),
        ...nn.layerNormParameters('cls.predictions.transform.LayerNorm', config.hidden_size),
        ...nn.biasParameters('cls.predictions.bias', config.vocab_size),
      }),
      labelled: [],
      tied: {
        'cls.predictions.decoder.weight': 'bert.embeddings.word_embeddings.weight',
        'cls.predictions.decoder.bias': 'cls.predictions.bias',
      },
      logits(config, weights, inputs, dropout, observe) {
        const hidden = encode(passOf(config, weights, dropout, observe), inputs, positions(weights, inputs)); // [B, T, H]
        const masked = nn.labelledStates(hidden, inputs); // [P, H]
        const dense = nn.activation(config.hidden_act, nn.linear(masked, weights, 'cls.predictions.transform.dense')); // [P, H]
        const x = nn.layerNorm(dense, weights, 'cls.predictions.transform.LayerNorm', config.layer_norm_eps);
        const decoder = weights['bert.embeddings.word_embeddings.weight']!; // [V, H]
        return linear(x, decoder, weights['cls.predictions.bias']!); // [P, V]
      },
    },
  },
};

const passOf = (config: BertConfig, weights: nn.Weights, dropout: Dropout, observe?: Observe): Pass => ({
  base: 'bert',
  config,
  weights,
  dropout,
  observe,
});

/** The embeddings of the positions of all tokens [T, H]. */
export const positions = (weights: nn.Weights, { input_ids }: Record<string, tf.Tensor>): tf.Tensor =>
  firstRows(weights['bert.embeddings.position_embeddings.weight']!, input_ids!.shape[1]!);

/** The defaults of an encoder like BERT; the optional ones are BERT's if they are omitted. */
type Defaults = Pick<BertConfig, 'model_type' | 'vocab_size' | 'pad_token_id'> &
  Partial<Pick<BertConfig, 'hidden_size' | 'num_attention_heads' | 'intermediate_size'>>;

/** Reads the config of an encoder with BERT's defaults, except for these. */
export function configureEncoder(file: ConfigFile, defaults: Defaults): BertConfig {
  const read = new ConfigReader(file);
  const config: BertConfig = {
    model_type: defaults.model_type,
    vocab_size: read.count('vocab_size', defaults.vocab_size),
    hidden_size: read.count('hidden_size', defaults.hidden_size ?? 768),
    num_hidden_layers: read.layers('num_hidden_layers', 12),
    num_attention_heads: read.count('num_attention_heads', defaults.num_attention_heads ?? 12),
    intermediate_size: read.count('intermediate_size', defaults.intermediate_size ?? 3072),
    hidden_act: read.oneOf('hidden_act', nn.activationNames, 'gelu'),
    hidden_dropout_prob: read.rate('hidden_dropout_prob', 0.1),
    attention_probs_dropout_prob: read.rate('attention_probs_dropout_prob', 0.1),
    classifier_dropout: read.rate('classifier_dropout', read.rate('hidden_dropout_prob', 0.1)),
    max_position_embeddings: read.count('max_position_embeddings', 512),
    type_vocab_size: read.count('type_vocab_size', 2),
    initializer_range: read.positive('initializer_range', 0.02),
    layer_norm_eps: read.positive('layer_norm_eps', 1e-12),
    pad_token_id: read.index('pad_token_id', defaults.pad_token_id),
  };
  read.only('position_embedding_type', 'absolute');
  read.only('is_decoder', false);
  read.only('add_cross_attention', false);
  read.multiple('hidden_size', 'num_attention_heads', config);
  read.paddingWithin(config);
  return config;
}

/** `E` is the size of the embeddings. If it is not the hidden size, a linear layer projects the embeddings. */
export function encoderParameters(base: string, config: BertConfig, E = config.hidden_size): nn.Parameters {
  const { hidden_size: H, intermediate_size: F } = config;
  const parameters: nn.Parameters = {
    ...nn.embeddingParameters(`${base}.embeddings.word_embeddings`, config.vocab_size, E, config.pad_token_id),
    ...nn.embeddingParameters(`${base}.embeddings.position_embeddings`, config.max_position_embeddings, E),
    ...nn.embeddingParameters(`${base}.embeddings.token_type_embeddings`, config.type_vocab_size, E),
    ...nn.layerNormParameters(`${base}.embeddings.LayerNorm`, E),
    ...(E !== H && nn.linearParameters(`${base}.embeddings_project`, E, H)),
  };
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const name = `${base}.encoder.layer.${layer}`;
    Object.assign(parameters, {
      ...nn.linearParameters(`${name}.attention.self.query`, H, H),
      ...nn.linearParameters(`${name}.attention.self.key`, H, H),
      ...nn.linearParameters(`${name}.attention.self.value`, H, H),
      ...nn.linearParameters(`${name}.attention.output.dense`, H, H),
      ...nn.layerNormParameters(`${name}.attention.output.LayerNorm`, H),
      ...nn.linearParameters(`${name}.intermediate.dense`, H, F),
      ...nn.linearParameters(`${name}.output.dense`, F, H),
      ...nn.layerNormParameters(`${name}.output.LayerNorm`, H),
    });
  }
  return parameters;
}

/** A forward pass; `base` is the prefix of the weights' names. */
interface Pass {
  base: string;
  config: BertConfig;
  weights: nn.Weights;
  dropout: Dropout;
  observe?: Observe | undefined;
}

/**
 * int32 ids, mask and types [B, T], and position embeddings [T, H] or [B, T, H] → the last hidden states [B, T, H].
 */
export function encode(pass: Pass, inputs: Record<string, tf.Tensor>, positions: tf.Tensor): tf.Tensor {
  const mask = nn.additiveMask(inputs.attention_mask!); // [B, 1, 1, T]
  const x = encodeButLast(pass, inputs, positions, mask); // [B, T, H]
  const last = block(pass, x, x, mask, pass.config.num_hidden_layers - 1);
  pass.observe?.(last);
  return last;
}

/**
 * The same → the last hidden state of the first token, [CLS], [B, H]. A classifier reads only this token, so the last
 * block computes only this one, which saves nearly half of a model with two blocks, unless the others are observed.
 */
export function encodeFirst(pass: Pass, inputs: Record<string, tf.Tensor>, positions: tf.Tensor): tf.Tensor {
  if (pass.observe) return tf.reshape(firstToken(encode(pass, inputs, positions)), [-1, pass.config.hidden_size]);
  const mask = nn.additiveMask(inputs.attention_mask!); // [B, 1, 1, T]
  const x = encodeButLast(pass, inputs, positions, mask); // [B, T, H]
  const first = firstToken(x); // [B, 1, H]
  return tf.reshape(block(pass, first, x, mask, pass.config.num_hidden_layers - 1), [-1, pass.config.hidden_size]);
}

function encodeButLast(pass: Pass, inputs: Record<string, tf.Tensor>, positions: tf.Tensor, mask: tf.Tensor): tf.Tensor {
  let x = betweenLayers(embed(pass, inputs, positions), pass.observe); // [B, T, H]
  for (let layer = 0; layer < pass.config.num_hidden_layers - 1; layer++) x = betweenLayers(block(pass, x, x, mask, layer), pass.observe); // [B, T, H]
  return x;
}

function embed({ base, config, weights, dropout }: Pass, { input_ids, token_type_ids }: Record<string, tf.Tensor>, positions: tf.Tensor) {
  const words = embedding(weights[`${base}.embeddings.word_embeddings.weight`]!, input_ids!); // [B, T, H]
  // Without types, or with a single type, every token has type 0: one row, added to all.
  const typeRows = weights[`${base}.embeddings.token_type_embeddings.weight`]!;
  const typed = token_type_ids && config.type_vocab_size > 1;
  const type = typed ? embedding(typeRows, token_type_ids) : tf.slice(typeRows, 0, 1); // [B, T, H] or [1, H]
  const sum = tf.add(words, tf.add(positions, type)); // [B, T, H]
  const x = dropout(nn.layerNorm(sum, weights, `${base}.embeddings.LayerNorm`, config.layer_norm_eps), config.hidden_dropout_prob);
  return weights[`${base}.embeddings_project.weight`] ? nn.linear(x, weights, `${base}.embeddings_project`) : x;
}

/** `tokens` [B, Q, H], all or some of the sequence, attend to `x` [B, T, H], all of them → [B, Q, H]. */
function block(pass: Pass, tokens: tf.Tensor, x: tf.Tensor, mask: tf.Tensor, layer: number): tf.Tensor {
  const { base, config, weights, dropout } = pass;
  const name = `${base}.encoder.layer.${layer}`;
  const attended = dropout(attend(pass, tokens, x, mask, `${name}.attention`), config.hidden_dropout_prob); // [B, Q, H]
  const a = nn.layerNorm(tf.add(tokens, attended), weights, `${name}.attention.output.LayerNorm`, config.layer_norm_eps);
  const inner = nn.activation(config.hidden_act, nn.linear(a, weights, `${name}.intermediate.dense`)); // [B, Q, F]
  const fed = dropout(nn.linear(inner, weights, `${name}.output.dense`), config.hidden_dropout_prob); // [B, Q, H]
  return nn.layerNorm(tf.add(a, fed), weights, `${name}.output.LayerNorm`, config.layer_norm_eps);
}

function attend({ config, weights, dropout }: Pass, tokens: tf.Tensor, x: tf.Tensor, mask: tf.Tensor, name: string): tf.Tensor {
  const context = attention(
    nn.linear(tokens, weights, `${name}.self.query`), // [B, Q, H]
    nn.linear(x, weights, `${name}.self.key`), // [B, T, H]
    nn.linear(x, weights, `${name}.self.value`), // [B, T, H]
    { heads: config.num_attention_heads, mask, dropout, rate: config.attention_probs_dropout_prob },
  ); // [B, Q, H]
  return nn.linear(context, weights, `${name}.output.dense`);
}
