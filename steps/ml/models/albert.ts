/**
 * ALBERT (Lan et al. 2019, https://arxiv.org/abs/1909.11942), as transformers' AlbertForSequenceClassification
 * computes it: BERT with smaller embeddings, and one set of weights for all blocks of a group. Read from top to
 * bottom: config, encoder, family, blocks, embeddings.
 *
 * In the comments B is the batch, T the tokens of a sequence, E the embedding size, H the hidden size, F the
 * intermediate size.
 */

import { embedding, firstRows } from '../runtime/ops.ts';
import type { Dropout } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import { type ConfigFile, ConfigReader } from './config.ts';
import { type Family, stackDepth } from './family.ts';
import { answerHead, type Backbone, maskedHead, sequenceHead, tokenHead } from './heads.ts';
import * as nn from './nn.ts';

/** Names and defaults are those of transformers' AlbertConfig. */
function configure(file: ConfigFile) {
  const read = new ConfigReader(file);
  const config = {
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
}

type AlbertConfig = ReturnType<typeof configure>;

const POOLER = 'albert.pooler';

const backbone: Backbone<AlbertConfig> = {
  classes: 'Albert',
  width: (config) => config.hidden_size,
  encode(config, weights, inputs, dropout, { first, observe }) {
    const options = {
      heads: config.num_attention_heads,
      mask: nn.additiveMask(inputs.attention_mask!),
      activation: config.hidden_act,
      epsilon: config.layer_norm_eps,
      dropout,
      rates: { attention: config.attention_probs_dropout_prob, attended: config.hidden_dropout_prob, fed: 0 },
    };
    const embedded = embed(config, weights, inputs, dropout); // [B, T, E]
    return nn.blocks(nn.linear(embedded, weights, 'albert.encoder.embedding_hidden_mapping_in'), weights, blocksOf(config), options, {
      first,
      observe,
    });
  },
};

export const albert: Family<AlbertConfig> = {
  type: 'albert',
  prefix: 'albert',
  dropouts: ['hidden_dropout_prob', 'attention_probs_dropout_prob', 'classifier_dropout_prob'],
  loraTargets: ['query', 'value'],

  configure,

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
    for (let group = 0; group < config.num_hidden_groups; group++)
      for (const names of blocksOfGroup(config, group)) Object.assign(parameters, nn.blockParameters(names, H, F));
    return parameters;
  },

  pooler: POOLER,

  heads: {
    'text-classification': sequenceHead(backbone, {
      dense: POOLER,
      activation: 'tanh',
      output: 'classifier',
      rate: (config) => config.classifier_dropout_prob,
    }),
    'token-classification': tokenHead(backbone, (config) => config.classifier_dropout_prob),
    'question-answering': answerHead(backbone),
    'masked-lm': maskedHead(backbone, {
      dense: 'predictions.dense',
      activation: (config) => config.hidden_act,
      norm: 'predictions.LayerNorm',
      epsilon: (config) => config.layer_norm_eps,
      words: 'albert.embeddings.word_embeddings.weight',
      bias: 'predictions.bias',
      copies: { words: 'predictions.decoder.weight', bias: 'predictions.decoder.bias' },
      size: (config) => config.embedding_size,
    }),
  },
};

/** The blocks of a group, in the order in which they run. */
const blocksOfGroup = ({ inner_group_num }: AlbertConfig, group: number): nn.BlockNames[] =>
  Array.from({ length: inner_group_num }, (_, i) => {
    const name = `albert.encoder.albert_layer_groups.${group}.albert_layers.${i}`;
    return {
      query: `${name}.attention.query`,
      key: `${name}.attention.key`,
      value: `${name}.attention.value`,
      output: `${name}.attention.dense`,
      attentionNorm: `${name}.attention.LayerNorm`,
      inner: `${name}.ffn`,
      outer: `${name}.ffn_output`,
      norm: `${name}.full_layer_layer_norm`,
    };
  });

/** The same for the whole model: each layer runs the blocks of its group, which neighbouring layers share. */
const blocksOf = (config: AlbertConfig): nn.BlockNames[] =>
  Array.from({ length: config.num_hidden_layers }, (_, layer) =>
    blocksOfGroup(config, Math.floor(layer / (config.num_hidden_layers / config.num_hidden_groups))),
  ).flat();

function embed(
  config: AlbertConfig,
  weights: nn.Weights,
  { input_ids, token_type_ids }: Record<string, tf.Tensor>,
  dropout: Dropout,
): tf.Tensor {
  const words = embedding(weights['albert.embeddings.word_embeddings.weight']!, input_ids!); // [B, T, E]
  const positions = firstRows(weights['albert.embeddings.position_embeddings.weight']!, input_ids!.shape[1]!); // [T, E]
  // Without types, or with a single type, every token has type 0: one row, added to all.
  const typeRows = weights['albert.embeddings.token_type_embeddings.weight']!;
  const typed = token_type_ids && config.type_vocab_size > 1;
  const type = typed ? embedding(typeRows, token_type_ids) : tf.slice(typeRows, 0, 1); // [B, T, E] or [1, E]
  const sum = tf.add(words, tf.add(positions, type)); // [B, T, E]
  return dropout(nn.layerNorm(sum, weights, 'albert.embeddings.LayerNorm', config.layer_norm_eps), config.hidden_dropout_prob);
}
