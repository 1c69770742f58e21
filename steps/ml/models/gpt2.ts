/**
 * GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), as transformers' GPT2… classes compute it.
 * Read from top to bottom: config, family and heads, the decoder, weights, the blocks.
 *
 * In the comments B is the batch, T the tokens of a sequence, H the hidden size, F the intermediate size, V the vocabulary.
 */

import { StepError } from '../../../engine/contract/step.ts';
import { attend, attendWithPast, betweenLayers, embedding, firstRows, joinHeads, lastToken, linear, splitHeads } from '../runtime/ops.ts';
import type { Dropout } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import { type ConfigFile, ConfigReader } from './config.ts';
import { type Family, stackDepth } from './family.ts';
import * as nn from './nn.ts';

const WORDS = 'transformer.wte.weight';
const POSITIONS = 'transformer.wpe.weight';

export const gpt2: Family<Gpt2Config> = {
  type: 'gpt2',
  prefix: 'transformer',
  constants: ['.attn.bias', '.attn.masked_bias'],
  dropouts: ['resid_pdrop', 'embd_pdrop', 'attn_pdrop'],
  loraTargets: ['c_attn'],

  configure,

  maxLength: (config) => config.n_positions,

  depthOf: stackDepth(/^transformer\.(wte|wpe)\./, /^transformer\.h\.(\d+)\./),

  typed: () => false,

  parameters,

  heads: {
    'text-classification': {
      architecture: 'GPT2ForSequenceClassification',
      parameters(config, labels) {
        if (!config.pad_token_named)
          throw new StepError(
            'config.json has no pad_token_id, and GPT-2 classifies a text by the last token that is not padding',
            `Set one that occurs in no text: usually the end-of-text token, "pad_token_id": ${config.eos_token_id}.`,
          );
        return nn.projectionParameters('score', config.n_embd, labels);
      },
      labelled: ['score.weight'],
      logits(config, weights, inputs, dropout, observe) {
        const hidden = read(config, weights, inputs, dropout, observe); // [B, T, H]
        const real = tf.notEqual(inputs.input_ids!, tf.scalar(config.pad_token_id, 'int32'));
        return nn.linear(lastToken(hidden, real), weights, 'score'); // [B, labels]
      },
    },

    'causal-lm': {
      architecture: 'GPT2LMHeadModel',
      parameters: (config) => (config.tie_word_embeddings ? {} : nn.projectionParameters('lm_head', config.n_embd, config.vocab_size)),
      labelled: [],
      tied: { 'lm_head.weight': WORDS },
      states: (config, weights, inputs, dropout) => ({
        states: nn.labelledStates(read(config, weights, inputs, dropout), inputs), // [P, H]
        vocabulary: vocabulary(config, weights), // [V, H]
      }),
    },
  },

  decoder: {
    fields: ['n_layer', 'n_head', 'n_embd'],

    cache: ({ n_layer, n_head, n_embd }) => ({ layers: n_layer, heads: n_head, width: n_embd / n_head }),

    decode(config, weights, inputs, every = false) {
      const { input_ids, attention_mask, position_ids, past_mask } = inputs;
      const mask = nn.causalMask(attention_mask!); // [B, 1, T, T]
      const pastMask = past_mask && nn.additiveMask(past_mask); // [B, 1, 1, slots]
      const outputs: Record<string, tf.Tensor> = {};
      const embedded = tf.add(embedding(weights[WORDS]!, input_ids!), embedding(weights[POSITIONS]!, position_ids!)); // [B, T, H]
      const hidden = blocks({ config, weights, dropout: (x) => x }, embedded, (q, key, value, layer, scale) => {
        outputs[`key.${layer}`] = key;
        outputs[`value.${layer}`] = value;
        if (!pastMask) return attend(q, key, value, { mask, scale, dropout: (x) => x, rate: 0 });
        const past = { key: inputs[`past_key.${layer}`]!, value: inputs[`past_value.${layer}`]!, mask: pastMask };
        return attendWithPast(q, key, value, past, { mask, scale });
      });
      const predicting = every ? hidden : lastToken(hidden, attention_mask!); // [B, T, H] or [B, H]
      return { logits: linear(predicting, vocabulary(config, weights)), ...outputs };
    },
  },
};

const vocabulary = (config: Gpt2Config, weights: nn.Weights): tf.Tensor => weights[config.tie_word_embeddings ? WORDS : 'lm_head.weight']!;

/** Names and defaults are those of transformers' GPT2Config. */
function configure(file: ConfigFile) {
  const read = new ConfigReader(file);
  const n_embd = read.count('n_embd', 768);
  const eos_token_id = read.index('eos_token_id', 50256);
  const config = {
    model_type: 'gpt2',
    vocab_size: read.count('vocab_size', 50257),
    n_positions: read.count('n_positions', 1024),
    n_embd,
    n_layer: read.layers('n_layer', 12),
    n_head: read.count('n_head', 12),
    n_inner: read.count('n_inner', 4 * n_embd),
    activation_function: read.oneOf('activation_function', nn.activationNames, 'gelu_new'),
    resid_pdrop: read.rate('resid_pdrop', 0.1),
    embd_pdrop: read.rate('embd_pdrop', 0.1),
    attn_pdrop: read.rate('attn_pdrop', 0.1),
    layer_norm_epsilon: read.positive('layer_norm_epsilon', 1e-5),
    initializer_range: read.positive('initializer_range', 0.02),
    scale_attn_weights: read.flag('scale_attn_weights', true),
    /** Divides the attention scores of each layer by its number, from 1 on. */
    scale_attn_by_inverse_layer_idx: read.flag('scale_attn_by_inverse_layer_idx', false),
    /** Tokens are predicted with their embeddings; otherwise with separate weights, `lm_head`. */
    tie_word_embeddings: read.flag('tie_word_embeddings', true),
    eos_token_id,
    /** GPT-2 has no padding token of its own, so batches are padded with the end-of-text token. */
    pad_token_id: read.index('pad_token_id', eos_token_id),
    pad_token_named: typeof file.pad_token_id === 'number',
  };
  read.only('add_cross_attention', false);
  read.multiple('n_embd', 'n_head', config);
  if (config.pad_token_named) read.paddingWithin(config);
  return config;
}

type Gpt2Config = ReturnType<typeof configure>;

function parameters(config: Gpt2Config): nn.Parameters {
  const { n_embd: H, n_inner: F, n_layer } = config;
  // The more blocks there are, the smaller is the initialization of what each adds to the residual stream.
  const residual = config.initializer_range / Math.sqrt(2 * n_layer);
  const parameters: nn.Parameters = {
    ...nn.embeddingParameters('transformer.wte', config.vocab_size, H),
    ...nn.embeddingParameters('transformer.wpe', config.n_positions, H),
  };
  for (let layer = 0; layer < n_layer; layer++) {
    const name = `transformer.h.${layer}`;
    Object.assign(parameters, {
      ...nn.layerNormParameters(`${name}.ln_1`, H),
      ...nn.conv1dParameters(`${name}.attn.c_attn`, H, 3 * H),
      ...nn.conv1dParameters(`${name}.attn.c_proj`, H, H, residual),
      ...nn.layerNormParameters(`${name}.ln_2`, H),
      ...nn.conv1dParameters(`${name}.mlp.c_fc`, H, F),
      ...nn.conv1dParameters(`${name}.mlp.c_proj`, F, H, residual),
    });
  }
  return { ...parameters, ...nn.layerNormParameters('transformer.ln_f', H) };
}

type Pass = nn.Pass<Gpt2Config>;

/** Whole sequences, int32 ids and mask [B, T] → the last hidden states [B, T, H]. Padding is at the end. */
function read(
  config: Gpt2Config,
  weights: nn.Weights,
  inputs: Record<string, tf.Tensor>,
  dropout: Dropout,
  observe?: nn.Observe,
): tf.Tensor {
  const { input_ids, attention_mask } = inputs;
  const positions = firstRows(weights[POSITIONS]!, input_ids!.shape[1]!); // [T, H]
  const embedded = dropout(tf.add(embedding(weights[WORDS]!, input_ids!), positions), config.embd_pdrop); // [B, T, H]
  const mask = nn.causalMask(attention_mask!); // [B, 1, T, T]
  return blocks({ config, weights, dropout, observe }, embedded, (q, k, v, _, scale) =>
    attend(q, k, v, { mask, scale, dropout, rate: config.attn_pdrop }),
  );
}

/** For one layer: queries, keys and values [B, heads, T, d], and the factor of the scores → [B, heads, T, d]. */
type Attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, layer: number, scale: number) => tf.Tensor;

/** Embedded tokens [B, T, H] → [B, T, H], through all blocks and the last norm. */
function blocks(pass: Pass, embedded: tf.Tensor, attend: Attend): tf.Tensor {
  const { config, weights, observe } = pass;
  let x = embedded;
  for (let layer = 0; layer < config.n_layer; layer++) x = block(pass, betweenLayers(x, observe), attend, layer); // [B, T, H]
  const last = nn.layerNorm(betweenLayers(x), weights, 'transformer.ln_f', config.layer_norm_epsilon);
  observe?.(last);
  return last;
}

/** Norms precede attention and feed-forward layer, so that x itself passes unchanged. */
function block({ config, weights, dropout }: Pass, x: tf.Tensor, attend: Attend, layer: number): tf.Tensor {
  const name = `transformer.h.${layer}`;
  const depth = config.scale_attn_by_inverse_layer_idx ? layer + 1 : 1;
  const scale = (config.scale_attn_weights ? 1 / Math.sqrt(config.n_embd / config.n_head) : 1) / depth;
  const first = nn.layerNorm(x, weights, `${name}.ln_1`, config.layer_norm_epsilon);
  const [q, k, v] = tf
    .split(nn.conv1d(first, weights, `${name}.attn.c_attn`), 3, 2) // [B, T, H] each
    .map((t) => splitHeads(t, config.n_head)) as [tf.Tensor, tf.Tensor, tf.Tensor]; // [B, heads, T, d] each
  const context = joinHeads(attend(q, k, v, layer, scale)); // [B, T, H]
  const a = tf.add(x, dropout(nn.conv1d(context, weights, `${name}.attn.c_proj`), config.resid_pdrop));
  const second = nn.layerNorm(a, weights, `${name}.ln_2`, config.layer_norm_epsilon);
  const inner = nn.activation(config.activation_function, nn.conv1d(second, weights, `${name}.mlp.c_fc`)); // [B, T, F]
  return tf.add(a, dropout(nn.conv1d(inner, weights, `${name}.mlp.c_proj`), config.resid_pdrop));
}
