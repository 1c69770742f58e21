/**
 * BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805), as transformers' BertFor… classes compute it. Read
 * from top to bottom: config, family, weights, encoder, embeddings. The exports besides the family are for RoBERTa and
 * ELECTRA, whose encoders are the same under other names.
 *
 * In the comments B is the batch, T the tokens of a sequence, H the hidden size, F the intermediate size, V the
 * vocabulary.
 */

import { embedding, firstRows } from '../runtime/ops.ts';
import { tf } from '../runtime/tfjs.ts';
import { type ConfigFile, ConfigReader } from './config.ts';
import { type Family, stackDepth } from './family.ts';
import { answerHead, type Backbone, maskedHead, type Reading, sequenceHead, tokenHead } from './heads.ts';
import * as nn from './nn.ts';

const POOLER = 'bert.pooler.dense';

const backbone: Backbone<BertConfig> = {
  classes: 'Bert',
  width: (config) => config.hidden_size,
  encode: (config, weights, inputs, dropout, reading) =>
    encode({ base: 'bert', config, weights, dropout }, inputs, positions(weights, inputs), reading),
};

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

  pooler: POOLER,

  heads: {
    'text-classification': sequenceHead(backbone, {
      dense: POOLER,
      activation: 'tanh',
      output: 'classifier',
      rate: (config) => config.classifier_dropout,
    }),
    'token-classification': tokenHead(backbone, (config) => config.classifier_dropout),
    'question-answering': answerHead(backbone),
    'masked-lm': maskedHead(backbone, {
      dense: 'cls.predictions.transform.dense',
      activation: (config) => config.hidden_act,
      norm: 'cls.predictions.transform.LayerNorm',
      epsilon: (config) => config.layer_norm_eps,
      words: 'bert.embeddings.word_embeddings.weight',
      bias: 'cls.predictions.bias',
      copies: { words: 'cls.predictions.decoder.weight', bias: 'cls.predictions.decoder.bias' },
    }),
  },
};

/** The defaults of an encoder like BERT; the optional ones are BERT's if they are omitted. */
interface Defaults {
  model_type: string;
  vocab_size: number;
  pad_token_id: number;
  hidden_size?: number;
  num_attention_heads?: number;
  intermediate_size?: number;
}

/** The names are those of transformers' BertConfig, and the defaults BERT's except for these. */
export function configureEncoder(file: ConfigFile, defaults: Defaults) {
  const read = new ConfigReader(file);
  const config = {
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

export type BertConfig = ReturnType<typeof configureEncoder>;

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
  for (const names of blocksOf(base, config)) Object.assign(parameters, nn.blockParameters(names, H, F));
  return parameters;
}

const blocksOf = (base: string, config: BertConfig): nn.BlockNames[] =>
  Array.from({ length: config.num_hidden_layers }, (_, layer) => {
    const name = `${base}.encoder.layer.${layer}`;
    return {
      query: `${name}.attention.self.query`,
      key: `${name}.attention.self.key`,
      value: `${name}.attention.self.value`,
      output: `${name}.attention.output.dense`,
      attentionNorm: `${name}.attention.output.LayerNorm`,
      inner: `${name}.intermediate.dense`,
      outer: `${name}.output.dense`,
      norm: `${name}.output.LayerNorm`,
    };
  });

/** The embeddings of the positions of all tokens [T, H]. */
export const positions = (weights: nn.Weights, { input_ids }: Record<string, tf.Tensor>, base = 'bert'): tf.Tensor =>
  firstRows(weights[`${base}.embeddings.position_embeddings.weight`]!, input_ids!.shape[1]!);

/** `base` is the prefix of the weights' names. */
type Pass = nn.Pass<BertConfig> & { base: string };

/**
 * int32 ids, mask and types [B, T], and position embeddings [T, H] or [B, T, H] → the last hidden states [B, T, H], or
 * that of the first token alone [B, H].
 */
export function encode(
  pass: Pass,
  inputs: Record<string, tf.Tensor>,
  positions: tf.Tensor,
  reading: Reading = { first: false },
): tf.Tensor {
  const { base, config, weights, dropout } = pass;
  const options = {
    heads: config.num_attention_heads,
    mask: nn.additiveMask(inputs.attention_mask!),
    activation: config.hidden_act,
    epsilon: config.layer_norm_eps,
    dropout,
    rates: { attention: config.attention_probs_dropout_prob, attended: config.hidden_dropout_prob, fed: config.hidden_dropout_prob },
  };
  return nn.blocks(embed(pass, inputs, positions), weights, blocksOf(base, config), options, reading);
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
