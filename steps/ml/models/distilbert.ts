/**
 * DistilBERT (Sanh et al. 2019, https://arxiv.org/abs/1910.01108), as transformers' DistilBertFor… classes compute
 * it: half of BERT's blocks, no token types, no pooler. Read from top to bottom: config, weights, embeddings,
 * attention, block, head.
 *
 * In the comments B is the batch, T the tokens of a sequence, H the hidden size (`dim`), F the intermediate size
 * (`hidden_dim`), V the vocabulary.
 */

import { attention, betweenLayers, embedding, firstRows, firstToken, linear } from '../runtime/ops.ts';
import type { Dropout } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import { ConfigReader } from './config.ts';
import { type Family, type Observe, stackDepth } from './family.ts';
import * as nn from './nn.ts';

const POSITIONS = 'distilbert.embeddings.position_embeddings';

/** Names and defaults are those of transformers' DistilBertConfig. */
interface DistilBertConfig {
  model_type: 'distilbert';
  vocab_size: number;
  max_position_embeddings: number;
  /** Position embeddings are initialized as sines and cosines, and trained like any weight. */
  sinusoidal_pos_embds: boolean;
  n_layers: number;
  n_heads: number;
  dim: number;
  hidden_dim: number;
  dropout: number;
  attention_dropout: number;
  activation: nn.ActivationName;
  seq_classif_dropout: number;
  qa_dropout: number;
  initializer_range: number;
  pad_token_id: number;
}

export const distilbert: Family<DistilBertConfig> = {
  type: 'distilbert',
  prefix: 'distilbert',
  dropouts: ['dropout', 'attention_dropout', 'seq_classif_dropout', 'qa_dropout'],
  loraTargets: ['q_lin', 'v_lin'],

  configure(file) {
    const read = new ConfigReader(file);
    const config: DistilBertConfig = {
      model_type: 'distilbert',
      vocab_size: read.count('vocab_size', 30522),
      max_position_embeddings: read.count('max_position_embeddings', 512),
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
  },

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
    for (let layer = 0; layer < config.n_layers; layer++) {
      const name = `distilbert.transformer.layer.${layer}`;
      Object.assign(parameters, {
        ...nn.linearParameters(`${name}.attention.q_lin`, H, H),
        ...nn.linearParameters(`${name}.attention.k_lin`, H, H),
        ...nn.linearParameters(`${name}.attention.v_lin`, H, H),
        ...nn.linearParameters(`${name}.attention.out_lin`, H, H),
        ...nn.layerNormParameters(`${name}.sa_layer_norm`, H),
        ...nn.linearParameters(`${name}.ffn.lin1`, H, F),
        ...nn.linearParameters(`${name}.ffn.lin2`, F, H),
        ...nn.layerNormParameters(`${name}.output_layer_norm`, H),
      });
    }
    return parameters;
  },

  heads: {
    'text-classification': {
      architecture: 'DistilBertForSequenceClassification',
      parameters: (config, labels) => ({
        ...nn.linearParameters('pre_classifier', config.dim, config.dim),
        ...nn.linearParameters('classifier', config.dim, labels),
      }),
      labelled: ['classifier.weight', 'classifier.bias'],
      logits(config, weights, inputs, dropout, observe) {
        const first = encodeFirst({ config, weights, dropout, observe }, inputs); // [B, H]
        const pooled = tf.relu(nn.linear(first, weights, 'pre_classifier')); // [B, H]
        return nn.linear(dropout(pooled, config.seq_classif_dropout), weights, 'classifier'); // [B, labels]
      },
    },

    'token-classification': {
      architecture: 'DistilBertForTokenClassification',
      parameters: (config, labels) => nn.linearParameters('classifier', config.dim, labels),
      labelled: ['classifier.weight', 'classifier.bias'],
      logits(config, weights, inputs, dropout) {
        const hidden = encode({ config, weights, dropout }, inputs); // [B, T, H]
        return nn.linear(dropout(hidden, config.dropout), weights, 'classifier'); // [B, T, labels]
      },
    },

    'question-answering': {
      architecture: 'DistilBertForQuestionAnswering',
      parameters: (config) => nn.linearParameters('qa_outputs', config.dim, 2),
      labelled: [],
      logits(config, weights, inputs, dropout) {
        const hidden = encode({ config, weights, dropout }, inputs); // [B, T, H]
        return nn.linear(dropout(hidden, config.qa_dropout), weights, 'qa_outputs'); // [B, T, 2]
      },
    },

    'masked-lm': {
      architecture: 'DistilBertForMaskedLM',
      parameters: (config) => ({
        ...nn.linearParameters('vocab_transform', config.dim, config.dim),
        ...nn.layerNormParameters('vocab_layer_norm', config.dim),
        ...nn.biasParameters('vocab_projector.bias', config.vocab_size),
      }),
      labelled: [],
      tied: { 'vocab_projector.weight': 'distilbert.embeddings.word_embeddings.weight' },
      logits(config, weights, inputs, dropout, observe) {
        const masked = nn.labelledStates(encode({ config, weights, dropout, observe }, inputs), inputs); // [P, H]
        const dense = nn.activation(config.activation, nn.linear(masked, weights, 'vocab_transform')); // [P, H]
        const x = nn.layerNorm(dense, weights, 'vocab_layer_norm', LAYER_NORM_EPS);
        const decoder = weights['distilbert.embeddings.word_embeddings.weight']!; // [V, H]
        return linear(x, decoder, weights['vocab_projector.bias']!); // [P, V]
      },
    },
  },
};

/** The config has no field for it. */
const LAYER_NORM_EPS = 1e-12;

interface Pass {
  config: DistilBertConfig;
  weights: nn.Weights;
  dropout: Dropout;
  observe?: Observe | undefined;
}

/** int32 ids and mask [B, T] → the last hidden states [B, T, H]. */
function encode(pass: Pass, { input_ids, attention_mask }: Record<string, tf.Tensor>): tf.Tensor {
  const mask = nn.additiveMask(attention_mask!); // [B, 1, 1, T]
  const x = encodeButLast(pass, input_ids!, mask); // [B, T, H]
  const last = block(pass, x, x, mask, pass.config.n_layers - 1);
  pass.observe?.(last);
  return last;
}

/**
 * int32 ids and mask [B, T] → the last hidden state of the first token, [CLS], [B, H]. A classifier reads only this
 * token, so the last block computes only this one, unless the others are observed.
 */
function encodeFirst(pass: Pass, inputs: Record<string, tf.Tensor>): tf.Tensor {
  const { n_layers, dim } = pass.config;
  if (pass.observe) return tf.reshape(firstToken(encode(pass, inputs)), [-1, dim]);
  const mask = nn.additiveMask(inputs.attention_mask!); // [B, 1, 1, T]
  const x = encodeButLast(pass, inputs.input_ids!, mask); // [B, T, H]
  const first = firstToken(x); // [B, 1, H]
  return tf.reshape(block(pass, first, x, mask, n_layers - 1), [-1, dim]);
}

function encodeButLast(pass: Pass, ids: tf.Tensor, mask: tf.Tensor): tf.Tensor {
  let x = betweenLayers(embed(pass, ids), pass.observe); // [B, T, H]
  for (let layer = 0; layer < pass.config.n_layers - 1; layer++) x = betweenLayers(block(pass, x, x, mask, layer), pass.observe); // [B, T, H]
  return x;
}

function embed({ config, weights, dropout }: Pass, ids: tf.Tensor): tf.Tensor {
  const words = embedding(weights['distilbert.embeddings.word_embeddings.weight']!, ids); // [B, T, H]
  const positions = firstRows(weights[`${POSITIONS}.weight`]!, ids.shape[1]!); // [T, H]
  return dropout(nn.layerNorm(tf.add(words, positions), weights, 'distilbert.embeddings.LayerNorm', LAYER_NORM_EPS), config.dropout);
}

/** `tokens` [B, Q, H], all or some of the sequence, attend to `x` [B, T, H], all of them → [B, Q, H]. */
function block(pass: Pass, tokens: tf.Tensor, x: tf.Tensor, mask: tf.Tensor, layer: number): tf.Tensor {
  const { config, weights, dropout } = pass;
  const name = `distilbert.transformer.layer.${layer}`;
  const attended = attend(pass, tokens, x, mask, `${name}.attention`); // [B, Q, H], without dropout
  const a = nn.layerNorm(tf.add(tokens, attended), weights, `${name}.sa_layer_norm`, LAYER_NORM_EPS);
  const inner = nn.activation(config.activation, nn.linear(a, weights, `${name}.ffn.lin1`)); // [B, Q, F]
  const fed = dropout(nn.linear(inner, weights, `${name}.ffn.lin2`), config.dropout); // [B, Q, H]
  return nn.layerNorm(tf.add(a, fed), weights, `${name}.output_layer_norm`, LAYER_NORM_EPS);
}

function attend({ config, weights, dropout }: Pass, tokens: tf.Tensor, x: tf.Tensor, mask: tf.Tensor, name: string): tf.Tensor {
  const context = attention(
    nn.linear(tokens, weights, `${name}.q_lin`), // [B, Q, H]
    nn.linear(x, weights, `${name}.k_lin`), // [B, T, H]
    nn.linear(x, weights, `${name}.v_lin`), // [B, T, H]
    { heads: config.n_heads, mask, dropout, rate: config.attention_dropout },
  ); // [B, Q, H]
  return nn.linear(context, weights, `${name}.out_lin`);
}
