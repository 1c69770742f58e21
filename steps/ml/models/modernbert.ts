/**
 * ModernBERT (Warner et al. 2024, https://arxiv.org/abs/2412.13663), as transformers' ModernBertFor… classes compute
 * it: norms before attention and feed-forward layer, few biases, rotary positions, a gated feed-forward layer, and
 * attention that in most layers reaches only the neighbours of a token. transformers omits padding from its
 * computations, which does not change the results. Read from top to bottom: family and heads, config, weights, encoder,
 * block, attention.
 *
 * In the comments B is the batch, T the tokens of a sequence, H the hidden size, F the intermediate size, V the
 * vocabulary.
 */

import { StepError } from '../../../engine/contract/step.ts';
import { attend, betweenLayers, embedding, firstToken, joinHeads, linear, rotaryTables, rotate, splitHeads } from '../runtime/ops.ts';
import { tf } from '../runtime/tfjs.ts';
import { type ConfigFile, ConfigReader } from './config.ts';
import { type Family, type Head, stackDepth } from './family.ts';
import * as nn from './nn.ts';

const LAYER_TYPES = ['full_attention', 'sliding_attention'] as const;
type LayerType = (typeof LAYER_TYPES)[number];

const WORDS = 'model.embeddings.tok_embeddings.weight';

export const modernBert: Family<ModernBertConfig> = {
  type: 'modernbert',
  prefix: 'model',
  dropouts: ['attention_dropout', 'embedding_dropout', 'mlp_dropout', 'classifier_dropout'],
  loraTargets: ['Wqkv'],

  configure,

  maxLength: (config) => config.max_position_embeddings,

  depthOf: stackDepth(/^model\.embeddings\./, /^model\.layers\.(\d+)\./),

  typed: () => false,

  parameters,

  heads: {
    'text-classification': classifierHead('ModernBertForSequenceClassification', (pass, inputs) =>
      pass.config.classifier_pooling === 'cls' ? encode(pass, inputs, true) : meanOf(encode(pass, inputs), inputs),
    ), // [B, labels]
    'token-classification': classifierHead('ModernBertForTokenClassification', encode), // [B, T, labels]
    'question-answering': {
      ...classifierHead('ModernBertForQuestionAnswering', encode), // [B, T, 2]
      parameters: (config) => classifierParameters(config, 2),
    },
    'masked-lm': {
      architecture: 'ModernBertForMaskedLM',
      parameters: (config) => ({
        ...denseParameters(config),
        ...(config.decoder_bias && nn.biasParameters('decoder.bias', config.vocab_size)),
      }),
      labelled: [],
      tied: { 'decoder.weight': WORDS },
      logits(config, weights, inputs, dropout, observe) {
        const masked = nn.labelledStates(encode({ config, weights, dropout, observe }, inputs), inputs); // [P, H]
        return linear(dense(config, weights, masked), weights[WORDS]!, weights['decoder.bias']); // [P, V]
      },
    },
  },
};

/** All classifiers have the same names, also that of question-answering, which can use none for other tasks. */
function classifierHead(
  architecture: string,
  states: (pass: Pass, inputs: Record<string, tf.Tensor>) => tf.Tensor,
): Head<ModernBertConfig> {
  return {
    architecture,
    parameters: classifierParameters,
    labelled: ['classifier.weight', 'classifier.bias'],
    logits(config, weights, inputs, dropout, observe) {
      const hidden = dense(config, weights, states({ config, weights, dropout, observe }, inputs)); // [.., H]
      return nn.linear(dropout(hidden, config.classifier_dropout), weights, 'classifier');
    },
  };
}

/**
 * Names and defaults are those of transformers' ModernBertConfig. Its fields `deterministic_flash_attn`,
 * `reference_compile` and `repad_logits_with_grad` affect only how it computes, and `sparse_prediction` only which
 * logits it returns besides the same loss.
 */
function configure(file: ConfigFile) {
  const read = new ConfigReader(file);
  const config = {
    model_type: 'modernbert',
    vocab_size: read.count('vocab_size', 50368),
    hidden_size: read.count('hidden_size', 768),
    intermediate_size: read.count('intermediate_size', 1152),
    num_hidden_layers: read.layers('num_hidden_layers', 22),
    num_attention_heads: read.count('num_attention_heads', 12),
    hidden_activation: read.oneOf('hidden_activation', nn.activationNames, 'gelu'),
    max_position_embeddings: read.count('max_position_embeddings', 8192),
    initializer_range: read.positive('initializer_range', 0.02),
    initializer_cutoff_factor: read.positive('initializer_cutoff_factor', 2),
    norm_eps: read.positive('norm_eps', 1e-5),
    norm_bias: read.flag('norm_bias', false),
    pad_token_id: read.index('pad_token_id', 50283),
    attention_bias: read.flag('attention_bias', false),
    attention_dropout: read.rate('attention_dropout', 0),
    /** For each layer: whether its tokens attend to all others or only to their neighbours. */
    layer_types: layerTypesOf(file, read.layers('num_hidden_layers', 22)),
    /** The base of the rotary frequencies, by the type of the layer. */
    rope_theta: {
      full_attention: thetaOf(file, 'full_attention', read.positive('global_rope_theta', 160_000)),
      sliding_attention: thetaOf(file, 'sliding_attention', read.positive('local_rope_theta', 10_000)),
    },
    /** The number of neighbours that a token attends to, on both sides together. */
    local_attention: read.count('local_attention', 128),
    embedding_dropout: read.rate('embedding_dropout', 0),
    mlp_bias: read.flag('mlp_bias', false),
    mlp_dropout: read.rate('mlp_dropout', 0),
    decoder_bias: read.flag('decoder_bias', true),
    classifier_pooling: read.oneOf('classifier_pooling', ['cls', 'mean'], 'cls'),
    classifier_dropout: read.rate('classifier_dropout', 0),
    classifier_bias: read.flag('classifier_bias', false),
    classifier_activation: read.oneOf('classifier_activation', nn.activationNames, 'gelu'),
  };
  read.multiple('hidden_size', 'num_attention_heads', config);
  read.paddingWithin(config);
  const width = config.hidden_size / config.num_attention_heads;
  read.only('head_dim', width);
  read.only('rope_scaling', null);
  if (file.local_rope_theta === null)
    throw new StepError(
      'config.json: local_rope_theta null is not supported: versions of transformers read it differently',
      'Set it to the number that the model was trained with.',
    );
  if (config.initializer_cutoff_factor < 0.1)
    throw new StepError(`config.json: initializer_cutoff_factor is ${config.initializer_cutoff_factor}, but must be at least 0.1`);
  if (width % 2 !== 0)
    throw new StepError(
      `config.json: hidden_size ${config.hidden_size} gives ${config.num_attention_heads} attention heads a width of ${width}`,
      'The width must be even, because rotary positions rotate pairs of numbers.',
    );
  return config;
}

type ModernBertConfig = ReturnType<typeof configure>;

/** `layer_types` as transformers 5 writes it, or as given by `global_attn_every_n_layers` in older files. */
function layerTypesOf(file: ConfigFile, layers: number): LayerType[] {
  const every = new ConfigReader(file).count('global_attn_every_n_layers', 3);
  const types = file.layer_types ?? Array.from({ length: layers }, (_, layer) => LAYER_TYPES[layer % every === 0 ? 0 : 1]);
  if (Array.isArray(types) && types.length === layers && types.every((type) => LAYER_TYPES.includes(type))) return types;
  throw new StepError(
    `config.json: layer_types is ${JSON.stringify(types)}, but must contain a type for each of the ${layers} layers`,
    `The types are ${LAYER_TYPES.join(' and ')}.`,
  );
}

/** `rope_parameters` as transformers 5 writes it, or the field of older files. */
function thetaOf(file: ConfigFile, type: LayerType, former: number): number {
  const all = (file.rope_parameters ?? {}) as ConfigFile;
  const unknown = Object.keys(all).find((key) => !LAYER_TYPES.includes(key as LayerType));
  if (unknown !== undefined || typeof all !== 'object')
    throw new StepError(
      `config.json: rope_parameters ${JSON.stringify(all)} is not supported`,
      `The parameters must be given by the type of the layer: ${LAYER_TYPES.join(' and ')}.`,
    );
  const name = (field: string) => `rope_parameters.${type}.${field}`;
  const read = new ConfigReader(Object.fromEntries(Object.entries(all[type] ?? {}).map(([field, value]) => [name(field), value])));
  read.only(name('rope_type'), 'default');
  read.only(name('type'), 'default');
  return read.positive(name('rope_theta'), former);
}

function parameters(config: ModernBertConfig): nn.Parameters {
  const { hidden_size: H, intermediate_size: F, attention_bias, mlp_bias } = config;
  const parameters: nn.Parameters = {
    ...nn.embeddingParameters('model.embeddings.tok_embeddings', config.vocab_size, H, config.pad_token_id),
    ...normParameters(config, 'model.embeddings.norm'),
  };
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const name = `model.layers.${layer}`;
    Object.assign(parameters, {
      ...(layer > 0 && normParameters(config, `${name}.attn_norm`)),
      ...linearParameters(`${name}.attn.Wqkv`, H, 3 * H, attention_bias),
      ...linearParameters(`${name}.attn.Wo`, H, H, attention_bias, residualDeviation(config)),
      ...normParameters(config, `${name}.mlp_norm`),
      ...linearParameters(`${name}.mlp.Wi`, H, 2 * F, mlp_bias),
      ...linearParameters(`${name}.mlp.Wo`, F, H, mlp_bias, residualDeviation(config)),
    });
  }
  return withCutoff(config, { ...parameters, ...normParameters(config, 'model.final_norm') });
}

/** The first part of every head. */
const denseParameters = (config: ModernBertConfig): nn.Parameters =>
  withCutoff(config, {
    ...linearParameters('head.dense', config.hidden_size, config.hidden_size, config.classifier_bias, residualDeviation(config)),
    ...normParameters(config, 'head.norm'),
  });

function classifierParameters(config: ModernBertConfig, labels: number): nn.Parameters {
  const { hidden_size: H } = config;
  const classifier = linearParameters('classifier', H, labels, true, 1 / Math.sqrt(H));
  return { ...denseParameters(config), ...withCutoff(config, classifier) };
}

const linearParameters = (name: string, from: number, to: number, bias: boolean, deviation?: number): nn.Parameters => ({
  ...nn.projectionParameters(name, from, to, deviation),
  ...(bias && nn.biasParameters(`${name}.bias`, to)),
});

const normParameters = ({ hidden_size, norm_bias }: ModernBertConfig, name: string): nn.Parameters => ({
  [`${name}.weight`]: { shape: [hidden_size], start: 'ones', decay: false },
  ...(norm_bias && nn.biasParameters(`${name}.bias`, hidden_size)),
});

/** The more layers there are, the smaller are the initial outputs of each. */
const residualDeviation = ({ initializer_range, num_hidden_layers }: ModernBertConfig): number =>
  initializer_range / Math.sqrt(2 * num_hidden_layers);

const withCutoff = ({ initializer_cutoff_factor: cutoff }: ModernBertConfig, parameters: nn.Parameters): nn.Parameters =>
  Object.fromEntries(Object.entries(parameters).map(([name, each]) => [name, each.start === 'normal' ? { ...each, cutoff } : each]));

type Pass = nn.Pass<ModernBertConfig>;

/** Hidden states [.., H] → [.., H] */
function dense(config: ModernBertConfig, weights: nn.Weights, hidden: tf.Tensor): tf.Tensor {
  const active = nn.activation(config.classifier_activation, nn.linear(hidden, weights, 'head.dense'));
  return nn.layerNorm(active, weights, 'head.norm', config.norm_eps);
}

/** [B, T, H] → [B, H], the mean of the tokens that are not padding. */
function meanOf(hidden: tf.Tensor, { attention_mask }: Record<string, tf.Tensor>): tf.Tensor {
  const real = tf.cast(attention_mask!, 'float32'); // [B, T]
  const sum = tf.reshape(tf.matMul(tf.expandDims(real, 1), hidden), [-1, hidden.shape[2]!]);
  return tf.div(sum, tf.sum(real, 1, true));
}

/**
 * int32 ids and mask [B, T] → [B, T, H], the last hidden states; or with `first` that of the first token, [CLS], alone
 * [B, H]: the last block then computes no other, unless they are observed.
 */
function encode(pass: Pass, inputs: Record<string, tf.Tensor>, first = false): tf.Tensor {
  const { config, weights, dropout, observe } = pass;
  const shared = sharedBy(pass, inputs);
  const words = embedding(weights[WORDS]!, inputs.input_ids!, (rows) =>
    nn.layerNorm(rows, weights, 'model.embeddings.norm', config.norm_eps),
  );
  let x = betweenLayers(dropout(words, config.embedding_dropout), observe); // [B, T, H]
  for (let layer = 0; layer < config.num_hidden_layers - 1; layer++) x = betweenLayers(block(pass, x, shared, layer, false), observe);
  const last = block(pass, x, shared, config.num_hidden_layers - 1, first && !observe); // [B, Q, H]
  const normed = nn.layerNorm(last, weights, 'model.final_norm', config.norm_eps);
  observe?.(normed);
  return first ? tf.reshape(observe ? firstToken(normed) : normed, [-1, config.hidden_size]) : normed;
}

/**
 * The inputs that layers of one type share: the mask that is added to the scores, [B, 1, 1, T] or [B, 1, T, T], and the
 * rotations of the positions [T, d / 2].
 */
type Shared = Record<LayerType, { mask: tf.Tensor; positions: { cos: tf.Tensor; sin: tf.Tensor } }>;

function sharedBy({ config }: Pass, { input_ids, attention_mask }: Record<string, tf.Tensor>): Shared {
  const [tokens, width] = [input_ids!.shape[1]!, config.hidden_size / config.num_attention_heads];
  const { full_attention, sliding_attention } = config.rope_theta;
  return {
    full_attention: { mask: nn.additiveMask(attention_mask!), positions: rotaryTables(tokens, width, full_attention) },
    sliding_attention: {
      mask: nn.windowMask(attention_mask!, Math.floor(config.local_attention / 2)),
      positions: rotaryTables(tokens, width, sliding_attention),
    },
  };
}

/** [B, T, H] → [B, T, H], or only the first token [B, 1, H]. */
function block(pass: Pass, x: tf.Tensor, shared: Shared, layer: number, first: boolean): tf.Tensor {
  const { config, weights, dropout } = pass;
  const name = `model.layers.${layer}`;
  const normed = layer === 0 ? x : nn.layerNorm(x, weights, `${name}.attn_norm`, config.norm_eps); // the embeddings have their own norm
  const attended = attention(pass, normed, shared[config.layer_types[layer]!], `${name}.attn`, first); // [B, Q, H]
  const a = tf.add(first ? firstToken(x) : x, attended); // [B, Q, H]
  const inner = nn.linear(nn.layerNorm(a, weights, `${name}.mlp_norm`, config.norm_eps), weights, `${name}.mlp.Wi`); // [B, Q, 2 F]
  const [value, gate] = tf.split(inner, 2, 2) as [tf.Tensor, tf.Tensor];
  const gated = dropout(tf.mul(nn.activation(config.hidden_activation, value), gate), config.mlp_dropout); // [B, Q, F]
  return tf.add(a, nn.linear(gated, weights, `${name}.mlp.Wo`));
}

/** All tokens, or only the first, attend to all within reach: [B, T, H] → [B, Q, H]. */
function attention(pass: Pass, x: tf.Tensor, { mask, positions }: Shared[LayerType], name: string, first: boolean): tf.Tensor {
  const { config, weights, dropout } = pass;
  const [q, k, v] = tf.split(nn.linear(x, weights, `${name}.Wqkv`), 3, 2) as [tf.Tensor, tf.Tensor, tf.Tensor]; // [B, T, H] each
  const split = (t: tf.Tensor) => splitHeads(t, config.num_attention_heads); // [B, heads, Q, d]
  // The position of the first token is 0, whose rotation is the identity.
  const queries = first ? split(firstToken(q)) : rotate(split(q), positions);
  const context = attend(queries, rotate(split(k), positions), split(v), {
    mask: first && mask.shape[2] !== 1 ? tf.slice(mask, [0, 0, 0, 0], [-1, -1, 1, -1]) : mask,
    dropout,
    rate: config.attention_dropout,
  });
  return dropout(nn.linear(joinHeads(context), weights, `${name}.Wo`), config.attention_dropout); // [B, Q, H]
}
