/**
 * ALBERT (Lan et al. 2019, https://arxiv.org/abs/1909.11942), as transformers' AlbertForSequenceClassification
 * computes it: BERT with smaller embeddings, and one set of weights for all blocks of a group. Read from top to
 * bottom: config, weights, head, encoder, embeddings, block, attention.
 *
 * In the comments B is the batch, T the tokens of a sequence, E the embedding size, H the hidden size, F the
 * intermediate size.
 */

import { attention, betweenLayers, embedding, firstRows, firstToken, linear } from '../runtime/ops.ts';
import type { Dropout } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import { ConfigReader } from './config.ts';
import { type Family, type Observe, stackDepth } from './family.ts';
import * as nn from './nn.ts';

/** Names and defaults are those of transformers' AlbertConfig. */
interface AlbertConfig {
  model_type: 'albert';
  vocab_size: number;
  embedding_size: number;
  hidden_size: number;
  num_hidden_layers: number;
  num_hidden_groups: number;
  num_attention_heads: number;
  intermediate_size: number;
  inner_group_num: number;
  hidden_act: nn.ActivationName;
  hidden_dropout_prob: number;
  attention_probs_dropout_prob: number;
  max_position_embeddings: number;
  type_vocab_size: number;
  initializer_range: number;
  layer_norm_eps: number;
  classifier_dropout_prob: number;
  pad_token_id: number;
}

export const albert: Family<AlbertConfig> = {
  type: 'albert',
  prefix: 'albert',
  dropouts: ['hidden_dropout_prob', 'attention_probs_dropout_prob', 'classifier_dropout_prob'],
  loraTargets: ['query', 'value'],

  configure(file) {
    const read = new ConfigReader(file);
    const config: AlbertConfig = {
      model_type: 'albert',
      vocab_size: read.count('vocab_size', 30000),
      embedding_size: read.count('embedding_size', 128),
      hidden_size: read.count('hidden_size', 4096),
      num_hidden_layers: read.layers('num_hidden_layers', 12),
      num_hidden_groups: read.layers('num_hidden_groups', 1),
      num_attention_heads: read.count('num_attention_heads', 64),
      intermediate_size: read.count('intermediate_size', 16384),
      inner_group_num: read.layers('inner_group_num', 1),
      hidden_act: read.oneOf('hidden_act', nn.activationNames, 'gelu_new'),
      hidden_dropout_prob: read.rate('hidden_dropout_prob', 0),
      attention_probs_dropout_prob: read.rate('attention_probs_dropout_prob', 0),
      max_position_embeddings: read.count('max_position_embeddings', 512),
      type_vocab_size: read.count('type_vocab_size', 2),
      initializer_range: read.positive('initializer_range', 0.02),
      layer_norm_eps: read.positive('layer_norm_eps', 1e-12),
      classifier_dropout_prob: read.rate('classifier_dropout_prob', 0.1),
      pad_token_id: read.index('pad_token_id', 0),
    };
    read.only('position_embedding_type', 'absolute');
    read.multiple('hidden_size', 'num_attention_heads', config);
    read.paddingWithin(config);
    return config;
  },

  maxLength: (config) => config.max_position_embeddings,

  sharesLayers: (config) => config.num_hidden_groups < config.num_hidden_layers,

  depthOf: stackDepth(/^albert\.(embeddings|encoder\.embedding_hidden_mapping_in)\./, /^albert\.encoder\.albert_layer_groups\.(\d+)\./),

  typed: (config) => config.type_vocab_size > 1,

  parameters(config) {
    const { embedding_size: E, hidden_size: H, intermediate_size: F } = config;
    const parameters: nn.Parameters = {
      ...nn.embeddingParameters('albert.embeddings.word_embeddings', config.vocab_size, E, config.pad_token_id),
      ...nn.embeddingParameters('albert.embeddings.position_embeddings', config.max_position_embeddings, E),
      ...nn.embeddingParameters('albert.embeddings.token_type_embeddings', config.type_vocab_size, E),
      ...nn.layerNormParameters('albert.embeddings.LayerNorm', E),
      ...nn.linearParameters('albert.encoder.embedding_hidden_mapping_in', E, H),
    };
    for (let group = 0; group < config.num_hidden_groups; group++) {
      for (const name of blocksOfGroup(config, group)) {
        Object.assign(parameters, {
          ...nn.linearParameters(`${name}.attention.query`, H, H),
          ...nn.linearParameters(`${name}.attention.key`, H, H),
          ...nn.linearParameters(`${name}.attention.value`, H, H),
          ...nn.linearParameters(`${name}.attention.dense`, H, H),
          ...nn.layerNormParameters(`${name}.attention.LayerNorm`, H),
          ...nn.linearParameters(`${name}.ffn`, H, F),
          ...nn.linearParameters(`${name}.ffn_output`, F, H),
          ...nn.layerNormParameters(`${name}.full_layer_layer_norm`, H),
        });
      }
    }
    return parameters;
  },

  heads: {
    'text-classification': {
      architecture: 'AlbertForSequenceClassification',
      // The checkpoint of a masked language model has no pooler, so it belongs to the head.
      parameters: (config, labels) => ({
        ...nn.linearParameters('albert.pooler', config.hidden_size, config.hidden_size),
        ...nn.linearParameters('classifier', config.hidden_size, labels),
      }),
      labelled: ['classifier.weight', 'classifier.bias'],
      logits(config, weights, inputs, dropout, observe) {
        const first = encodeFirst({ config, weights, dropout, observe }, inputs); // [B, H]
        const pooled = tf.tanh(nn.linear(first, weights, 'albert.pooler')); // [B, H]
        return nn.linear(dropout(pooled, config.classifier_dropout_prob), weights, 'classifier'); // [B, labels]
      },
    },

    'token-classification': {
      architecture: 'AlbertForTokenClassification',
      parameters: (config, labels) => nn.linearParameters('classifier', config.hidden_size, labels),
      labelled: ['classifier.weight', 'classifier.bias'],
      logits(config, weights, inputs, dropout) {
        const hidden = encode({ config, weights, dropout }, inputs); // [B, T, H]
        return nn.linear(dropout(hidden, config.classifier_dropout_prob), weights, 'classifier'); // [B, T, labels]
      },
    },

    'question-answering': {
      architecture: 'AlbertForQuestionAnswering',
      parameters: (config) => nn.linearParameters('qa_outputs', config.hidden_size, 2),
      labelled: [],
      logits(config, weights, inputs, dropout) {
        return nn.linear(encode({ config, weights, dropout }, inputs), weights, 'qa_outputs'); // [B, T, 2]
      },
    },

    'masked-lm': {
      architecture: 'AlbertForMaskedLM',
      parameters: (config) => ({
        ...nn.linearParameters('predictions.dense', config.hidden_size, config.embedding_size),
        ...nn.layerNormParameters('predictions.LayerNorm', config.embedding_size),
        ...nn.biasParameters('predictions.bias', config.vocab_size),
      }),
      labelled: [],
      tied: { 'predictions.decoder.weight': 'albert.embeddings.word_embeddings.weight', 'predictions.decoder.bias': 'predictions.bias' },
      logits(config, weights, inputs, dropout, observe) {
        const masked = nn.labelledStates(encode({ config, weights, dropout, observe }, inputs), inputs); // [P, H]
        const dense = nn.activation(config.hidden_act, nn.linear(masked, weights, 'predictions.dense')); // [P, H] → [P, E]
        const x = nn.layerNorm(dense, weights, 'predictions.LayerNorm', config.layer_norm_eps);
        const decoder = weights['albert.embeddings.word_embeddings.weight']!; // [V, E]
        return linear(x, decoder, weights['predictions.bias']!); // [P, V]
      },
    },
  },
};

/** The prefixes of a group's blocks, in the order in which they run. */
const blocksOfGroup = ({ inner_group_num }: AlbertConfig, group: number): string[] =>
  Array.from({ length: inner_group_num }, (_, i) => `albert.encoder.albert_layer_groups.${group}.albert_layers.${i}`);

/** The same for the whole model: each layer runs the blocks of its group, which neighbouring layers share. */
const blocksOf = (config: AlbertConfig): string[] =>
  Array.from({ length: config.num_hidden_layers }, (_, layer) =>
    blocksOfGroup(config, Math.floor(layer / (config.num_hidden_layers / config.num_hidden_groups))),
  ).flat();

interface Pass {
  config: AlbertConfig;
  weights: nn.Weights;
  dropout: Dropout;
  observe?: Observe | undefined;
}

/** int32 ids, mask and types [B, T] → the last hidden states [B, T, H]. */
function encode(pass: Pass, inputs: Record<string, tf.Tensor>): tf.Tensor {
  const mask = nn.additiveMask(inputs.attention_mask!); // [B, 1, 1, T]
  const x = encodeButLast(pass, inputs, mask); // [B, T, H]
  const last = block(pass, x, x, mask, blocksOf(pass.config).at(-1)!);
  pass.observe?.(last);
  return last;
}

/**
 * int32 ids, mask and types [B, T] → the last hidden state of the first token, [CLS], [B, H]. A classifier reads only
 * this token, so the last block computes only this one, unless the others are observed.
 */
function encodeFirst(pass: Pass, inputs: Record<string, tf.Tensor>): tf.Tensor {
  if (pass.observe) return tf.reshape(firstToken(encode(pass, inputs)), [-1, pass.config.hidden_size]);
  const mask = nn.additiveMask(inputs.attention_mask!); // [B, 1, 1, T]
  const x = encodeButLast(pass, inputs, mask); // [B, T, H]
  const first = firstToken(x); // [B, 1, H]
  return tf.reshape(block(pass, first, x, mask, blocksOf(pass.config).at(-1)!), [-1, pass.config.hidden_size]);
}

function encodeButLast(pass: Pass, inputs: Record<string, tf.Tensor>, mask: tf.Tensor): tf.Tensor {
  const embedded = nn.linear(embed(pass, inputs), pass.weights, 'albert.encoder.embedding_hidden_mapping_in'); // [B, T, E] → [B, T, H]
  let x = betweenLayers(embedded, pass.observe); // [B, T, H]
  for (const name of blocksOf(pass.config).slice(0, -1)) x = betweenLayers(block(pass, x, x, mask, name), pass.observe); // [B, T, H]
  return x;
}

function embed({ config, weights, dropout }: Pass, { input_ids, token_type_ids }: Record<string, tf.Tensor>): tf.Tensor {
  const words = embedding(weights['albert.embeddings.word_embeddings.weight']!, input_ids!); // [B, T, E]
  const positions = firstRows(weights['albert.embeddings.position_embeddings.weight']!, input_ids!.shape[1]!); // [T, E]
  // Without types, or with a single type, every token has type 0: one row, added to all.
  const typeRows = weights['albert.embeddings.token_type_embeddings.weight']!;
  const typed = token_type_ids && config.type_vocab_size > 1;
  const type = typed ? embedding(typeRows, token_type_ids) : tf.slice(typeRows, 0, 1); // [B, T, E] or [1, E]
  const sum = tf.add(words, tf.add(positions, type)); // [B, T, E]
  return dropout(nn.layerNorm(sum, weights, 'albert.embeddings.LayerNorm', config.layer_norm_eps), config.hidden_dropout_prob);
}

/** `tokens` [B, Q, H], all or some of the sequence, attend to `x` [B, T, H], all of them → [B, Q, H]. */
function block(pass: Pass, tokens: tf.Tensor, x: tf.Tensor, mask: tf.Tensor, name: string): tf.Tensor {
  const { config, weights, dropout } = pass;
  const attended = dropout(attend(pass, tokens, x, mask, `${name}.attention`), config.hidden_dropout_prob); // [B, Q, H]
  const a = nn.layerNorm(tf.add(tokens, attended), weights, `${name}.attention.LayerNorm`, config.layer_norm_eps);
  const inner = nn.activation(config.hidden_act, nn.linear(a, weights, `${name}.ffn`)); // [B, Q, F]
  const fed = nn.linear(inner, weights, `${name}.ffn_output`); // [B, Q, H], without dropout
  return nn.layerNorm(tf.add(a, fed), weights, `${name}.full_layer_layer_norm`, config.layer_norm_eps);
}

function attend({ config, weights, dropout }: Pass, tokens: tf.Tensor, x: tf.Tensor, mask: tf.Tensor, name: string): tf.Tensor {
  const context = attention(
    nn.linear(tokens, weights, `${name}.query`), // [B, Q, H]
    nn.linear(x, weights, `${name}.key`), // [B, T, H]
    nn.linear(x, weights, `${name}.value`), // [B, T, H]
    { heads: config.num_attention_heads, mask, dropout, rate: config.attention_probs_dropout_prob },
  ); // [B, Q, H]
  return nn.linear(context, weights, `${name}.dense`);
}
