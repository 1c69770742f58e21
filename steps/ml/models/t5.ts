/**
 * T5 (Raffel et al. 2020, https://arxiv.org/abs/1910.10683), v1.0 and v1.1 with Flan-T5, as transformers'
 * T5ForConditionalGeneration computes it. Read from top to bottom: config, family and head, the decoder, weights,
 * encoder and decoder, their layers, relative positions.
 *
 * In the comments B is the batch, S the tokens of an input, T those of a target, H the model's width, I the width of
 * all heads together, V the vocabulary.
 */

import { StepError } from '../../../engine/contract/step.ts';
import { attend, attendWithPast, betweenLayers, embedding, joinHeads, lastToken, linear, splitHeads } from '../runtime/ops.ts';
import type { Dropout } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import { type ConfigFile, ConfigReader } from './config.ts';
import type { Family } from './family.ts';
import * as nn from './nn.ts';

const WORDS = 'shared.weight';

export const t5: Family<T5Config> = {
  type: 't5',
  prefix: '',
  dropouts: ['dropout_rate'],
  loraTargets: ['q', 'v'],

  configure,

  maxLength: (config) => config.n_positions,

  // The layers of the decoder follow those of the encoder, whose final norm belongs to its last layer.
  depthOf(weight, { num_layers }) {
    const [, encoder, decoder] = /^(?:encoder\.block\.(\d+)|decoder\.block\.(\d+))\./.exec(weight) ?? [];
    if (weight.startsWith('shared.')) return 0;
    if (weight.startsWith(`${ENCODER}.final_layer_norm.`)) return num_layers;
    if (encoder !== undefined) return Number(encoder) + 1;
    return decoder === undefined ? undefined : num_layers + Number(decoder) + 1;
  },

  typed: () => false,

  parameters,

  heads: {
    seq2seq: {
      architecture: 'T5ForConditionalGeneration',
      parameters: (config) => (config.scale_decoder_outputs ? {} : nn.projectionParameters('lm_head', config.d_model, config.vocab_size)),
      labelled: [],
      tied: { 'encoder.embed_tokens.weight': WORDS, 'decoder.embed_tokens.weight': WORDS, 'lm_head.weight': WORDS },
      tiedTo: { 'lm_head.weight': WORDS },
      states(config, weights, inputs, dropout) {
        const pass = { config, weights, dropout };
        const encoded = encode(pass, inputs); // [B, S, H]
        const decoded = decode(pass, inputs, encoded); // [B, T, H]
        return { states: predicting(pass, nn.labelledStates(decoded, inputs)), vocabulary: vocabulary(pass) }; // [P, H] and [V, H]
      },
    },
  },

  decoder: {
    fields: ['is_encoder_decoder', 'num_layers', 'num_decoder_layers', 'num_heads', 'd_kv'],

    cache: ({ num_decoder_layers, num_heads, d_kv }) => ({ layers: num_decoder_layers, heads: num_heads, width: d_kv }),

    encode: (config, weights, inputs) => encode({ config, weights, dropout: none }, inputs), // [B, S, H]

    cross(config, weights, encoded) {
      const pass = { config, weights, dropout: none };
      const outputs: Record<string, tf.Tensor> = {};
      for (let layer = 0; layer < config.num_decoder_layers; layer++) {
        const name = `decoder.block.${layer}.layer.1.EncDecAttention`;
        outputs[`cross_key.${layer}`] = heads(pass, encoded, `${name}.k`); // [B, heads, S, d]
        outputs[`cross_value.${layer}`] = heads(pass, encoded, `${name}.v`);
      }
      return outputs;
    },

    decode(config, weights, inputs, every = false) {
      const pass = { config, weights, dropout: none };
      const { input_ids, attention_mask, position_ids, past_mask, encoder_attention_mask } = inputs;
      const index = tf.range(0, input_ids!.shape[1]!, 1, 'int32');
      const mask = tf.add(nn.causalMask(attention_mask!), bias(pass, DECODER, tf.sub(tf.expandDims(index, 0), tf.expandDims(index, 1)))); // [B, heads, T, T]
      const pastMask = past_mask && tf.add(nn.additiveMask(past_mask), biasOfSlots(pass, position_ids!, past_mask)); // [B, heads, T, slots]
      const sourceMask = nn.additiveMask(encoder_attention_mask!); // [B, 1, 1, S]
      const outputs: Record<string, tf.Tensor> = {};
      const decoded = decoderBlocks(pass, input_ids!, {
        self(q, x, layer) {
          const name = `decoder.block.${layer}.layer.0.SelfAttention`;
          const [key, value] = [heads(pass, x, `${name}.k`), heads(pass, x, `${name}.v`)]; // [B, heads, T, d]
          outputs[`key.${layer}`] = key;
          outputs[`value.${layer}`] = value;
          if (!pastMask) return attend(q, key, value, { mask, ...PLAIN });
          const past = { key: inputs[`past_key.${layer}`]!, value: inputs[`past_value.${layer}`]!, mask: pastMask };
          return attendWithPast(q, key, value, past, { mask, scale: 1 });
        },
        cross: (q, layer) => attend(q, inputs[`cross_key.${layer}`]!, inputs[`cross_value.${layer}`]!, { mask: sourceMask, ...PLAIN }),
      });
      const states = every ? decoded : lastToken(decoded, attention_mask!); // [B, T, H] or [B, H]
      return { logits: linear(predicting(pass, states), vocabulary(pass)), ...outputs };
    },
  },
};

const none: Dropout = (x) => x;

/** Attention as at inference; T5 does not scale its scores. */
const PLAIN = { dropout: none, rate: 0, scale: 1 };

/** Names and defaults are those of transformers' T5Config. */
function configure(file: ConfigFile) {
  const read = new ConfigReader(file);
  const num_layers = read.layers('num_layers', 6);
  const pad_token_id = read.index('pad_token_id', 0);
  const config = {
    model_type: 't5',
    is_encoder_decoder: true,
    vocab_size: read.count('vocab_size', 32128),
    d_model: read.count('d_model', 512),
    d_kv: read.count('d_kv', 64),
    d_ff: read.count('d_ff', 2048),
    num_layers,
    num_decoder_layers: read.layers('num_decoder_layers', num_layers),
    num_heads: read.count('num_heads', 8),
    /** The length of T5's pretraining. Relative positions have no limit, so a greater value is valid. */
    n_positions: read.count('n_positions', 512),
    relative_attention_num_buckets: read.count('relative_attention_num_buckets', 32),
    relative_attention_max_distance: read.count('relative_attention_max_distance', 128),
    dropout_rate: read.rate('dropout_rate', 0.1),
    layer_norm_epsilon: read.positive('layer_norm_epsilon', 1e-6),
    /** The deviation of the embeddings. */
    initializer_range: read.positive('initializer_factor', 1),
    ...feedForward(read),
    // v1.0 predicts with the embeddings, from states scaled by 1/√H; v1.1 with separate weights, `lm_head`, if it has them.
    // transformers 5 always ties, and records here what earlier models declared with tie_word_embeddings.
    scale_decoder_outputs: read.flag('scale_decoder_outputs', read.flag('tie_word_embeddings', true)),
    eos_token_id: read.index('eos_token_id', 1),
    pad_token_id,
    decoder_start_token_id: read.index('decoder_start_token_id', pad_token_id),
  };
  read.only('is_encoder_decoder', true);
  read.paddingWithin(config);
  const { relative_attention_num_buckets: all, relative_attention_max_distance: most } = config;
  if (all < 4 || most <= Math.floor(all / 2))
    throw new StepError(
      `config.json: no distances are left for ${all} buckets (relative_attention_num_buckets) up to ${most} (relative_attention_max_distance)`,
      'There must be at least 4 buckets, and the greatest distance must exceed half of their number.',
    );
  return config;
}

/** `relu`, `gated-gelu` …: the activation, and whether it gates a second layer's output. */
function feedForward(read: ConfigReader) {
  const known = nn.activationNames.flatMap((name) => [name, `gated-${name}`]);
  const activation = read.oneOf('feed_forward_proj', known, 'relu');
  const is_gated_act = activation.startsWith('gated-');
  // In gated variants gelu means the tanh approximation, with which v1.1 was trained.
  const dense_act_fn = activation === 'gated-gelu' ? 'gelu_new' : (activation.replace('gated-', '') as nn.ActivationName);
  return { dense_act_fn, is_gated_act };
}

type T5Config = ReturnType<typeof configure>;

function parameters(config: T5Config): nn.Parameters {
  const { d_model: H, d_kv, d_ff: F, num_heads, initializer_range: factor } = config;
  const I = num_heads * d_kv;
  const attention = (name: string): nn.Parameters => ({
    ...nn.projectionParameters(`${name}.q`, H, I, factor / Math.sqrt(H * d_kv)),
    ...nn.projectionParameters(`${name}.k`, H, I, factor / Math.sqrt(H)),
    ...nn.projectionParameters(`${name}.v`, H, I, factor / Math.sqrt(H)),
    ...nn.projectionParameters(`${name}.o`, I, H, factor / Math.sqrt(I)),
  });
  const feedForward = (name: string): nn.Parameters => ({
    ...Object.assign(
      {},
      ...(config.is_gated_act ? ['wi_0', 'wi_1'] : ['wi']).map((wi) =>
        nn.projectionParameters(`${name}.DenseReluDense.${wi}`, H, F, factor / Math.sqrt(H)),
      ),
    ),
    ...nn.projectionParameters(`${name}.DenseReluDense.wo`, F, H, factor / Math.sqrt(F)),
    ...nn.rmsNormParameters(`${name}.layer_norm`, H),
  });
  const stack = (base: string, layers: number): nn.Parameters => {
    const all: nn.Parameters = {};
    for (let block = 0; block < layers; block++) {
      const name = `${base}.block.${block}.layer`;
      Object.assign(all, attention(`${name}.0.SelfAttention`));
      if (block === 0)
        all[`${name}.0.${RELATIVE}`] = {
          shape: [config.relative_attention_num_buckets, num_heads],
          start: 'normal',
          deviation: factor / Math.sqrt(H),
          decay: false, // a bias, if not by its shape: transformers' Trainer leaves it alone
        };
      Object.assign(all, nn.rmsNormParameters(`${name}.0.layer_norm`, H));
      if (base === DECODER) Object.assign(all, attention(`${name}.1.EncDecAttention`), nn.rmsNormParameters(`${name}.1.layer_norm`, H));
      Object.assign(all, feedForward(`${name}.${base === DECODER ? 2 : 1}`));
    }
    return { ...all, ...nn.rmsNormParameters(`${base}.final_layer_norm`, H) };
  };
  return {
    ...nn.embeddingParameters('shared', config.vocab_size, H),
    ...stack(ENCODER, config.num_layers),
    ...stack(DECODER, config.num_decoder_layers),
  };
}

const ENCODER = 'encoder';
const DECODER = 'decoder';
const RELATIVE = 'SelfAttention.relative_attention_bias.weight';

type Pass = nn.Pass<T5Config>;

/** int32 ids and mask [B, S] → [B, S, H]. */
function encode(pass: Pass, { input_ids, attention_mask }: Record<string, tf.Tensor>): tf.Tensor {
  const { config } = pass;
  const mask = tf.add(nn.additiveMask(attention_mask!), bias(pass, ENCODER, distances(input_ids!))); // [B, heads, S, S]
  let x = betweenLayers(embed(pass, input_ids!)); // [B, S, H]
  for (let block = 0; block < config.num_layers; block++) {
    const name = `${ENCODER}.block.${block}.layer`;
    x = sublayer(pass, x, `${name}.0`, (normed) => attention(pass, normed, normed, mask, `${name}.0.SelfAttention`));
    x = betweenLayers(sublayer(pass, x, `${name}.1`, (normed) => feed(pass, normed, `${name}.1.DenseReluDense`)));
  }
  return final(pass, x, ENCODER);
}

/** The targets' ids [B, T] from the start token on, and the encoded inputs [B, S, H] → [B, T, H]. Padding is at the end. */
function decode(pass: Pass, { attention_mask, decoder_input_ids }: Record<string, tf.Tensor>, encoded: tf.Tensor): tf.Tensor {
  const { config, dropout } = pass;
  const ids = decoder_input_ids!;
  const mask = tf.add(nn.causalMask(tf.onesLike(ids)), bias(pass, DECODER, distances(ids))); // [B, heads, T, T]
  const sourceMask = nn.additiveMask(attention_mask!); // [B, 1, 1, S]
  const options = { dropout, rate: config.dropout_rate, scale: 1 };
  return decoderBlocks(pass, ids, {
    self(q, x, block) {
      const name = `${DECODER}.block.${block}.layer.0.SelfAttention`;
      return attend(q, heads(pass, x, `${name}.k`), heads(pass, x, `${name}.v`), { mask, ...options });
    },
    cross(q, block) {
      const name = `${DECODER}.block.${block}.layer.1.EncDecAttention`;
      return attend(q, heads(pass, encoded, `${name}.k`), heads(pass, encoded, `${name}.v`), { mask: sourceMask, ...options });
    },
  });
}

/** What the decoder's queries [B, heads, T, d] attend to: the target's own states `x` [B, T, H], and the input. */
interface Attended {
  self(q: tf.Tensor, x: tf.Tensor, block: number): tf.Tensor;
  cross(q: tf.Tensor, block: number): tf.Tensor;
}

function decoderBlocks(pass: Pass, ids: tf.Tensor, { self, cross }: Attended): tf.Tensor {
  let x = betweenLayers(embed(pass, ids)); // [B, T, H]
  for (let block = 0; block < pass.config.num_decoder_layers; block++) {
    const name = `${DECODER}.block.${block}.layer`;
    const [own, other] = [`${name}.0.SelfAttention`, `${name}.1.EncDecAttention`];
    x = sublayer(pass, x, `${name}.0`, (normed) => output(pass, self(heads(pass, normed, `${own}.q`), normed, block), own));
    x = sublayer(pass, x, `${name}.1`, (normed) => output(pass, cross(heads(pass, normed, `${other}.q`), block), other));
    x = betweenLayers(sublayer(pass, x, `${name}.2`, (normed) => feed(pass, normed, `${name}.2.DenseReluDense`)));
  }
  return final(pass, x, DECODER);
}

const embed = ({ config, weights, dropout }: Pass, ids: tf.Tensor): tf.Tensor =>
  dropout(embedding(weights[WORDS]!, ids), config.dropout_rate);

const final = ({ config, weights, dropout }: Pass, x: tf.Tensor, base: string): tf.Tensor =>
  dropout(nn.rmsNorm(x, weights, `${base}.final_layer_norm`, config.layer_norm_epsilon), config.dropout_rate);

/** The residual connection: the layer of the normed x is added to x. */
function sublayer({ config, weights, dropout }: Pass, x: tf.Tensor, name: string, layer: (normed: tf.Tensor) => tf.Tensor): tf.Tensor {
  const normed = nn.rmsNorm(x, weights, `${name}.layer_norm`, config.layer_norm_epsilon);
  return tf.add(x, dropout(layer(normed), config.dropout_rate));
}

/** Tokens [B, Q, H] attend to `x` [B, K, H] → [B, Q, H]. */
function attention(pass: Pass, tokens: tf.Tensor, x: tf.Tensor, mask: tf.Tensor, name: string): tf.Tensor {
  const [q, k, v] = [heads(pass, tokens, `${name}.q`), heads(pass, x, `${name}.k`), heads(pass, x, `${name}.v`)];
  return output(pass, attend(q, k, v, { mask, dropout: pass.dropout, rate: pass.config.dropout_rate, scale: 1 }), name);
}

/** [B, T, H] → [B, heads, T, d]. */
const heads = ({ config, weights }: Pass, x: tf.Tensor, name: string): tf.Tensor =>
  splitHeads(nn.linear(x, weights, name), config.num_heads);

/** The heads' outputs [B, heads, T, d] → [B, T, H]. */
const output = ({ weights }: Pass, context: tf.Tensor, name: string): tf.Tensor => nn.linear(joinHeads(context), weights, `${name}.o`);

function feed({ config, weights, dropout }: Pass, x: tf.Tensor, name: string): tf.Tensor {
  const act = (wi: string) => nn.activation(config.dense_act_fn, nn.linear(x, weights, `${name}.${wi}`));
  const inner = config.is_gated_act ? tf.mul(act('wi_0'), nn.linear(x, weights, `${name}.wi_1`)) : act('wi'); // [B, T, F]
  return nn.linear(dropout(inner, config.dropout_rate), weights, `${name}.wo`);
}

/** States as the vocabulary's weights expect them. */
const predicting = ({ config }: Pass, states: tf.Tensor): tf.Tensor =>
  config.scale_decoder_outputs ? tf.mul(states, config.d_model ** -0.5) : states;

const vocabulary = ({ weights }: Pass): tf.Tensor => weights['lm_head.weight'] ?? weights[WORDS]!;

/** For ids [B, T]: the distance from each token to each other, int32 [T, T]; negative for earlier tokens. */
function distances(ids: tf.Tensor): tf.Tensor {
  const index = tf.range(0, ids.shape[1]!, 1, 'int32');
  return tf.sub(tf.expandDims(index, 0), tf.expandDims(index, 1));
}

/** Distances int32 [Q, K] → the position bias of the scores, [1, heads, Q, K]. */
function bias({ config, weights }: Pass, base: string, distances: tf.Tensor): tf.Tensor {
  const rows = weights[`${base}.block.0.layer.0.${RELATIVE}`]!; // [buckets, heads]
  return tf.expandDims(tf.transpose(embedding(rows, buckets(config, base, distances)), [2, 0, 1]), 0);
}

/** The same for the decoder's tokens at `positions` [B, T] and the slots [B, slots] of its cache → [B, heads, T, slots]. */
function biasOfSlots({ config, weights }: Pass, positions: tf.Tensor, slots: tf.Tensor): tf.Tensor {
  const index = tf.range(0, slots.shape[1]!, 1, 'int32');
  const distances = tf.sub(tf.reshape(index, [1, 1, -1]), tf.expandDims(positions, 2)); // [B, T, slots]
  const rows = weights[`${DECODER}.block.0.layer.0.${RELATIVE}`]!;
  return tf.transpose(embedding(rows, buckets(config, DECODER, distances)), [0, 3, 1, 2]);
}

/** The bucket of each distance: the encoder has as many for later tokens as for earlier ones. */
function buckets(config: T5Config, base: string, distances: tf.Tensor): tf.Tensor {
  const { relative_attention_num_buckets, relative_attention_max_distance: most } = config;
  const bidirectional = base === ENCODER;
  const count = bidirectional ? Math.floor(relative_attention_num_buckets / 2) : relative_attention_num_buckets;
  const table = tf.tensor1d(bucketsOf(count, most), 'int32');
  const [zero, end] = [tf.scalar(0, 'int32'), tf.scalar(most, 'int32')];
  const away = bidirectional ? tf.abs(distances) : tf.maximum(tf.neg(distances), zero);
  const bucket = tf.gather(table, tf.minimum(away, end) as tf.Tensor1D);
  if (!bidirectional) return bucket;
  return tf.add(bucket, tf.mul(tf.cast(tf.greater(distances, zero), 'int32'), tf.scalar(count, 'int32')));
}

/** The buckets of the distances 0 … `most` and above. Half of the buckets hold one distance each, the others ever more. */
export function bucketsOf(count: number, most: number): Int32Array {
  const { fround, log, floor } = Math;
  const exact = floor(count / 2);
  // In float32, as in transformers: otherwise distances at the border of a bucket would fall into the one before.
  const width = fround(log(most / exact));
  return Int32Array.from({ length: most + 1 }, (_, away) => {
    if (away < exact) return away;
    const share = fround(fround(log(fround(away / exact))) / width);
    return Math.min(count - 1, exact + floor(fround(share * (count - exact))));
  });
}
