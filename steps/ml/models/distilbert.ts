/**
 * DistilBERT (Sanh et al. 2019, https://arxiv.org/abs/1910.01108), as transformers' DistilBertFor… classes compute
 * it: half of BERT's blocks, no token types, no pooler. Read from top to bottom: config, encoder, family,
 * embeddings.
 *
 * In the comments B is the batch, T the tokens of a sequence, H the hidden size (`dim`), F the intermediate size
 * (`hidden_dim`), V the vocabulary.
 */

import { embedding, firstRows } from '../runtime/ops.ts';
import type { Dropout } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import { type ConfigFile, ConfigReader } from './config.ts';
import { type Family, stackDepth } from './family.ts';
import { answerHead, type Backbone, maskedHead, sequenceHead, tokenHead } from './heads.ts';
import * as nn from './nn.ts';

const POSITIONS = 'distilbert.embeddings.position_embeddings';

/** Names and defaults are those of transformers' DistilBertConfig. */
function configure(file: ConfigFile) {
  const read = new ConfigReader(file);
  const config = {
    model_type: 'distilbert',
    vocab_size: read.count('vocab_size', 30522),
    max_position_embeddings: read.count('max_position_embeddings', 512),
    /** Position embeddings are initialized as sines and cosines, and trained like any weight. */
    sinusoidal_pos_embds: read.flag('sinusoidal_pos_embds', false),
    n_layers: read.layers('n_layers', 6),
    n_heads: read.count('n_heads', 12),
    dim: read.count('dim', 768),
    hidden_dim: read.count('hidden_dim', 3072),
    dropout: read.rate('dropout', 0.1),
    attention_dropout: read.rate('attention_dropout', 0.1),
    activation: read.oneOf('activation', nn.activationNames, 'gelu'),
    seq_classif_dropout: read.rate('seq_classif_dropout', 0.2),
    qa_dropout: read.rate('qa_dropout', 0.1),
    initializer_range: read.positive('initializer_range', 0.02),
    pad_token_id: read.index('pad_token_id', 0),
  };
  read.multiple('dim', 'n_heads', config);
  read.paddingWithin(config);
  return config;
}

type DistilBertConfig = ReturnType<typeof configure>;

/** The config has no field for it. */
const LAYER_NORM_EPS = 1e-12;

const backbone: Backbone<DistilBertConfig> = {
  classes: 'DistilBert',
  width: (config) => config.dim,
  encode(config, weights, { input_ids, attention_mask }, dropout, { first, observe }) {
    const options = {
      heads: config.n_heads,
      mask: nn.additiveMask(attention_mask!),
      activation: config.activation,
      epsilon: LAYER_NORM_EPS,
      dropout,
      rates: { attention: config.attention_dropout, attended: 0, fed: config.dropout },
    };
    return nn.blocks(embed(config, weights, input_ids!, dropout), weights, blocksOf(config), options, { first, observe });
  },
};

export const distilbert: Family<DistilBertConfig> = {
  type: 'distilbert',
  prefix: 'distilbert',
  dropouts: ['dropout', 'attention_dropout', 'seq_classif_dropout', 'qa_dropout'],
  loraTargets: ['q_lin', 'v_lin'],

  configure,

  maxLength: (config) => config.max_position_embeddings,

  depthOf: stackDepth(/^distilbert\.embeddings\./, /^distilbert\.transformer\.layer\.(\d+)\./),

  typed: () => false,

  parameters(config) {
    const { dim: H, hidden_dim: F } = config;
    const parameters: nn.Parameters = {
      ...nn.embeddingParameters('distilbert.embeddings.word_embeddings', config.vocab_size, H, config.pad_token_id),
      ...nn.embeddingParameters(POSITIONS, config.max_position_embeddings, H),
      ...nn.layerNormParameters('distilbert.embeddings.LayerNorm', H),
    };
    if (config.sinusoidal_pos_embds) parameters[`${POSITIONS}.weight`]!.start = 'sinusoids';
    for (const names of blocksOf(config)) Object.assign(parameters, nn.blockParameters(names, H, F));
    return parameters;
  },

  heads: {
    'text-classification': sequenceHead(backbone, {
      dense: 'pre_classifier',
      activation: 'relu',
      output: 'classifier',
      rate: (config) => config.seq_classif_dropout,
    }),
    'token-classification': tokenHead(backbone, (config) => config.dropout),
    'question-answering': answerHead(backbone, (config) => config.qa_dropout),
    'masked-lm': maskedHead(backbone, {
      dense: 'vocab_transform',
      activation: (config) => config.activation,
      norm: 'vocab_layer_norm',
      epsilon: () => LAYER_NORM_EPS,
      words: 'distilbert.embeddings.word_embeddings.weight',
      bias: 'vocab_projector.bias',
      copies: { words: 'vocab_projector.weight' },
    }),
  },
};

const blocksOf = (config: DistilBertConfig): nn.BlockNames[] =>
  Array.from({ length: config.n_layers }, (_, layer) => {
    const name = `distilbert.transformer.layer.${layer}`;
    return {
      query: `${name}.attention.q_lin`,
      key: `${name}.attention.k_lin`,
      value: `${name}.attention.v_lin`,
      output: `${name}.attention.out_lin`,
      attentionNorm: `${name}.sa_layer_norm`,
      inner: `${name}.ffn.lin1`,
      outer: `${name}.ffn.lin2`,
      norm: `${name}.output_layer_norm`,
    };
  });

function embed(config: DistilBertConfig, weights: nn.Weights, ids: tf.Tensor, dropout: Dropout): tf.Tensor {
  const words = embedding(weights['distilbert.embeddings.word_embeddings.weight']!, ids); // [B, T, H]
  const positions = firstRows(weights[`${POSITIONS}.weight`]!, ids.shape[1]!); // [T, H]
  return dropout(nn.layerNorm(tf.add(words, positions), weights, 'distilbert.embeddings.LayerNorm', LAYER_NORM_EPS), config.dropout);
}
