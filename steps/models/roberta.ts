/**
 * RoBERTa (Liu et al. 2019, https://arxiv.org/abs/1907.11692), as transformers' RobertaForSequenceClassification computes it:
 * BERT's encoder, which bert.ts has, with positions counted from the padding token's id on, and a head of two layers.
 *
 * In the comments B is the batch, T the tokens of a sequence, H the hidden size.
 */
import { embedding } from '../runtime/ops.ts';
import { tf } from '../runtime/tfjs.ts';
import { type BertConfig, configureEncoder, encodeFirst, encoderParameters } from './bert.ts';
import type { Family } from './family.ts';
import * as nn from './nn.ts';

const POSITIONS = 'roberta.embeddings.position_embeddings';

/** The fields of transformers' RobertaConfig are those of BertConfig. */
export const roberta: Family<BertConfig> = {
  type: 'roberta',
  prefix: 'roberta',
  dropouts: ['hidden_dropout_prob', 'attention_probs_dropout_prob', 'classifier_dropout'],

  configure: (file) => configureEncoder(file, { model_type: 'roberta', vocab_size: 50265, pad_token_id: 1 }),

  // The rows up to the padding token's are no token's positions: 514 of them are for 512 tokens.
  maxLength: (config) => config.max_position_embeddings - config.pad_token_id - 1,

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
      logits(config, weights, inputs, dropout) {
        const positions = embedding(weights[`${POSITIONS}.weight`]!, positionIds(inputs.input_ids!, config.pad_token_id)); // [B, T, H]
        const first = encodeFirst({ base: 'roberta', config, weights, dropout }, inputs, positions); // [B, H], of <s>
        const dense = tf.tanh(nn.linear(dropout(first, config.classifier_dropout), weights, 'classifier.dense')); // [B, H]
        return nn.linear(dropout(dense, config.classifier_dropout), weights, 'classifier.out_proj') as tf.Tensor2D; // [B, labels]
      },
    },
  },
};

/** int32 ids [B, T] → positions [B, T]: tokens count from padding + 1 on, and padding, wherever it stands, is not counted. */
function positionIds(ids: tf.Tensor, padding: number): tf.Tensor {
  const real = tf.cast(tf.notEqual(ids, tf.scalar(padding, 'int32')), 'int32'); // [B, T]
  return tf.add(tf.mul(tf.cumsum(real, 1), real), tf.scalar(padding, 'int32'));
}
