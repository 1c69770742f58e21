/**
 * RoBERTa (Liu et al. 2019, https://arxiv.org/abs/1907.11692), as transformers' RobertaFor… classes compute it:
 * BERT's encoder, from bert.ts, with positions counted from the padding token's id on, and its own heads.
 * XLM-RoBERTa (Conneau et al. 2019, https://arxiv.org/abs/1911.02116) and CamemBERT (Martin et al. 2019,
 * https://arxiv.org/abs/1911.03894) are the same network, and their weights have RoBERTa's names.
 *
 * In the comments B is the batch, T the tokens of a sequence, H the hidden size, V the vocabulary.
 */

import { StepError } from '../../../engine/step.ts';
import { embedding, linear } from '../runtime/ops.ts';
import type { Dropout } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import { type BertConfig, configureEncoder, encode, encodeFirst, encoderParameters } from './bert.ts';
import type { ConfigFile } from './config.ts';
import { type Family, type Observe, stackDepth } from './family.ts';
import * as nn from './nn.ts';

const POSITIONS = 'roberta.embeddings.position_embeddings';

/** The fields of transformers' RobertaConfig are those of BertConfig. */
export const roberta: Family<BertConfig> = {
  type: 'roberta',
  prefix: 'roberta',
  dropouts: ['hidden_dropout_prob', 'attention_probs_dropout_prob', 'classifier_dropout'],
  loraTargets: ['query', 'value'],

  configure: (file) => configure(file, 'roberta', 50265),

  // The rows up to that of the padding token are not used for tokens: 514 rows are for 512 tokens.
  maxLength: (config) => config.max_position_embeddings - config.pad_token_id - 1,

  depthOf: stackDepth(/^roberta\.embeddings\./, /^roberta\.encoder\.layer\.(\d+)\./),

  typed: (config) => config.type_vocab_size > 1,

  parameters: (config) => ({
    ...encoderParameters('roberta', config),
    ...nn.embeddingParameters(POSITIONS, config.max_position_embeddings, config.hidden_size, config.pad_token_id),
  }),

  heads: {
    'text-classification': {
      architecture: 'RobertaForSequenceClassification',
      parameters: (config, labels) => ({
        ...nn.linearParameters('classifier.dense', config.hidden_size, config.hidden_size),
        ...nn.linearParameters('classifier.out_proj', config.hidden_size, labels),
      }),
      labelled: ['classifier.out_proj.weight', 'classifier.out_proj.bias'],
      logits(config, weights, inputs, dropout, observe) {
        const first = encodeFirst(passOf(config, weights, dropout, observe), inputs, positions(config, weights, inputs)); // [B, H], of <s>
        const dense = tf.tanh(nn.linear(dropout(first, config.classifier_dropout), weights, 'classifier.dense')); // [B, H]
        return nn.linear(dropout(dense, config.classifier_dropout), weights, 'classifier.out_proj'); // [B, labels]
      },
    },

    'token-classification': {
      architecture: 'RobertaForTokenClassification',
      parameters: (config, labels) => nn.linearParameters('classifier', config.hidden_size, labels),
      labelled: ['classifier.weight', 'classifier.bias'],
      logits(config, weights, inputs, dropout) {
        const hidden = encode(passOf(config, weights, dropout), inputs, positions(config, weights, inputs)); // [B, T, H]
        return nn.linear(dropout(hidden, config.classifier_dropout), weights, 'classifier'); // [B, T, labels]
      },
    },

    'question-answering': {
      architecture: 'RobertaForQuestionAnswering',
      parameters: (config) => nn.linearParameters('qa_outputs', config.hidden_size, 2),
      labelled: [],
      logits(config, weights, inputs, dropout) {
        const hidden = encode(passOf(config, weights, dropout), inputs, positions(config, weights, inputs)); // [B, T, H]
        return nn.linear(hidden, weights, 'qa_outputs'); // [B, T, 2]
      },
    },

    'masked-lm': {
      architecture: 'RobertaForMaskedLM',
      parameters: (config) => ({
        ...nn.linearParameters('lm_head.dense', config.hidden_size, config.hidden_size),
        ...nn.layerNormParameters('lm_head.layer_norm', config.hidden_size),
        ...nn.biasParameters('lm_head.bias', config.vocab_size),
      }),
      labelled: [],
      tied: { 'lm_head.decoder.weight': 'roberta.embeddings.word_embeddings.weight', 'lm_head.decoder.bias': 'lm_head.bias' },
      logits(config, weights, inputs, dropout, observe) {
        const hidden = encode(passOf(config, weights, dropout, observe), inputs, positions(config, weights, inputs)); // [B, T, H]
        const masked = nn.labelledStates(hidden, inputs); // [P, H]
        const dense = nn.activation('gelu', nn.linear(masked, weights, 'lm_head.dense')); // [P, H], whatever hidden_act is
        const x = nn.layerNorm(dense, weights, 'lm_head.layer_norm', config.layer_norm_eps);
        const decoder = weights['roberta.embeddings.word_embeddings.weight']!; // [V, H]
        return linear(x, decoder, weights['lm_head.bias']!); // [P, V]
      },
    },
  },
};

export const xlmRoberta = renamed('xlm-roberta', 'XLMRoberta', 30522);
export const camembert = renamed('camembert', 'Camembert', 30522);

/** RoBERTa under another name: `classes` is the prefix of its class names in transformers. */
function renamed(type: string, classes: string, vocabulary: number): Family<BertConfig> {
  const heads = Object.entries(roberta.heads).map(([task, head]) => {
    return [task, { ...head, architecture: head.architecture.replace('Roberta', classes) }] as const;
  });
  return { ...roberta, type, configure: (file) => configure(file, type, vocabulary), heads: Object.fromEntries(heads) };
}

/** `vocabulary` is the default of `vocab_size`; all other defaults are the same. */
function configure(file: ConfigFile, type: string, vocabulary: number): BertConfig {
  const config = configureEncoder(file, { model_type: type, vocab_size: vocabulary, pad_token_id: 1 });
  const { max_position_embeddings: rows, pad_token_id } = config;
  if (rows <= pad_token_id + 1)
    throw new StepError(
      `config.json: max_position_embeddings ${rows} leaves no position for a token`,
      `It must be greater than ${pad_token_id + 1}, because RoBERTa counts positions from pad_token_id + 1.`,
    );
  return config;
}

const passOf = (config: BertConfig, weights: nn.Weights, dropout: Dropout, observe?: Observe) => ({
  base: 'roberta',
  config,
  weights,
  dropout,
  observe,
});

/** The embeddings of the positions of all tokens [B, T, H]. */
const positions = (config: BertConfig, weights: nn.Weights, { input_ids }: Record<string, tf.Tensor>): tf.Tensor =>
  embedding(weights[`${POSITIONS}.weight`]!, positionIds(input_ids!, config.pad_token_id));

/**
 * int32 ids [B, T] → positions [B, T]: tokens are counted from padding + 1 on, and padding, wherever it stands, is
 * not counted.
 */
function positionIds(ids: tf.Tensor, padding: number): tf.Tensor {
  const real = tf.cast(tf.notEqual(ids, tf.scalar(padding, 'int32')), 'int32'); // [B, T]
  return tf.add(tf.mul(tf.cumsum(real, 1), real), tf.scalar(padding, 'int32'));
}
