/**
 * ELECTRA (Clark et al. 2020, https://arxiv.org/abs/2003.10555), as transformers' ElectraFor… classes compute it:
 * BERT's encoder, from bert.ts, with embeddings of their own size, and without a pooler. Discriminators are the models
 * to fine-tune; a generator is a masked language model.
 *
 * In the comments B is the batch, T the tokens of a sequence, E the embedding size, H the hidden size, V the
 * vocabulary.
 */

import { firstRows, linear } from '../runtime/ops.ts';
import type { Dropout } from '../runtime/runtime.ts';
import type { tf } from '../runtime/tfjs.ts';
import { type BertConfig, configureEncoder, encode, encodeFirst, encoderParameters } from './bert.ts';
import { ConfigReader } from './config.ts';
import { type Family, type Observe, stackDepth } from './family.ts';
import * as nn from './nn.ts';

/** Names and defaults are those of transformers' ElectraConfig. Its `summary_…` fields are only for multiple choice. */
interface ElectraConfig extends BertConfig {
  embedding_size: number;
}

const WORDS = 'electra.embeddings.word_embeddings.weight';

export const electra: Family<ElectraConfig> = {
  type: 'electra',
  prefix: 'electra',
  dropouts: ['hidden_dropout_prob', 'attention_probs_dropout_prob', 'classifier_dropout'],
  loraTargets: ['query', 'value'],

  configure(file) {
    const sizes = { vocab_size: 30522, hidden_size: 256, num_attention_heads: 4, intermediate_size: 1024, pad_token_id: 0 };
    const embedding_size = new ConfigReader(file).count('embedding_size', 128);
    return { ...configureEncoder(file, { model_type: 'electra', ...sizes }), embedding_size };
  },

  maxLength: (config) => config.max_position_embeddings,

  depthOf: stackDepth(/^electra\.embeddings(_project)?\./, /^electra\.encoder\.layer\.(\d+)\./),

  typed: (config) => config.type_vocab_size > 1,

  parameters: (config) => encoderParameters('electra', config, config.embedding_size),

  heads: {
    'text-classification': {
      architecture: 'ElectraForSequenceClassification',
      parameters: (config, labels) => ({
        ...nn.linearParameters('classifier.dense', config.hidden_size, config.hidden_size),
        ...nn.linearParameters('classifier.out_proj', config.hidden_size, labels),
      }),
      labelled: ['classifier.out_proj.weight', 'classifier.out_proj.bias'],
      logits(config, weights, inputs, dropout, observe) {
        const first = encodeFirst(passOf(config, weights, dropout, observe), inputs, positions(weights, inputs)); // [B, H], of [CLS]
        const dense = nn.linear(dropout(first, config.classifier_dropout), weights, 'classifier.dense'); // [B, H]
        const active = nn.activation('gelu', dense); // independent of hidden_act
        return nn.linear(dropout(active, config.classifier_dropout), weights, 'classifier.out_proj'); // [B, labels]
      },
    },

    'token-classification': {
      architecture: 'ElectraForTokenClassification',
      parameters: (config, labels) => nn.linearParameters('classifier', config.hidden_size, labels),
      labelled: ['classifier.weight', 'classifier.bias'],
      logits(config, weights, inputs, dropout) {
        const hidden = encode(passOf(config, weights, dropout), inputs, positions(weights, inputs)); // [B, T, H]
        return nn.linear(dropout(hidden, config.classifier_dropout), weights, 'classifier'); // [B, T, labels]
      },
    },

    'question-answering': {
      architecture: 'ElectraForQuestionAnswering',
      parameters: (config) => nn.linearParameters('qa_outputs', config.hidden_size, 2),
      labelled: [],
      logits(config, weights, inputs, dropout) {
        const hidden = encode(passOf(config, weights, dropout), inputs, positions(weights, inputs)); // [B, T, H]
        return nn.linear(hidden, weights, 'qa_outputs'); // [B, T, 2]
      },
    },

    'masked-lm': {
      architecture: 'ElectraForMaskedLM',
      parameters: (config) => ({
        ...nn.linearParameters('generator_predictions.dense', config.hidden_size, config.embedding_size),
        ...nn.layerNormParameters('generator_predictions.LayerNorm', config.embedding_size),
        ...nn.biasParameters('generator_lm_head.bias', config.vocab_size),
      }),
      labelled: [],
      tied: { 'generator_lm_head.weight': WORDS },
      logits(config, weights, inputs, dropout, observe) {
        const hidden = encode(passOf(config, weights, dropout, observe), inputs, positions(weights, inputs)); // [B, T, H]
        const masked = nn.labelledStates(hidden, inputs); // [P, H]
        const dense = nn.activation('gelu', nn.linear(masked, weights, 'generator_predictions.dense')); // [P, E], independent of hidden_act
        const x = nn.layerNorm(dense, weights, 'generator_predictions.LayerNorm', config.layer_norm_eps);
        return linear(x, weights[WORDS]!, weights['generator_lm_head.bias']!); // [P, V]
      },
    },
  },
};

const passOf = (config: ElectraConfig, weights: nn.Weights, dropout: Dropout, observe?: Observe) => ({
  base: 'electra',
  config,
  weights,
  dropout,
  observe,
});

/** The rows of the positions of all tokens [T, E]. */
const positions = (weights: nn.Weights, { input_ids }: Record<string, tf.Tensor>): tf.Tensor =>
  firstRows(weights['electra.embeddings.position_embeddings.weight']!, input_ids!.shape[1]!);
