/**
 * RoBERTa (Liu et al. 2019, https://arxiv.org/abs/1907.11692), as transformers' RobertaFor… classes compute it:
 * BERT's encoder, from bert.ts, with positions counted from the padding token's id on, and its own heads.
 * XLM-RoBERTa (Conneau et al. 2019, https://arxiv.org/abs/1911.02116) and CamemBERT (Martin et al. 2019,
 * https://arxiv.org/abs/1911.03894) are the same network, and their weights have RoBERTa's names.
 *
 * In the comments B is the batch, T the tokens of a sequence, H the hidden size, V the vocabulary.
 */

import { StepError } from '../../../engine/contract/step.ts';
import { embedding } from '../runtime/ops.ts';
import { tf } from '../runtime/tfjs.ts';
import { type BertConfig, configureEncoder, encode, encoderParameters } from './bert.ts';
import type { ConfigFile } from './config.ts';
import { type Family, stackDepth } from './family.ts';
import { answerHead, type Backbone, maskedHead, sequenceHead, tokenHead } from './heads.ts';
import * as nn from './nn.ts';

const POSITIONS = 'roberta.embeddings.position_embeddings';

export const roberta = familyLikeRoberta('roberta', 'Roberta', 50265);
export const xlmRoberta = familyLikeRoberta('xlm-roberta', 'XLMRoberta', 30522);
export const camembert = familyLikeRoberta('camembert', 'Camembert', 30522);

/**
 * `classes`: the prefix of its class names in transformers; `vocabulary`: the default of `vocab_size`. The fields of
 * transformers' RobertaConfig are those of BertConfig.
 */
function familyLikeRoberta(type: string, classes: string, vocabulary: number): Family<BertConfig> {
  const backbone: Backbone<BertConfig> = {
    classes,
    width: (config) => config.hidden_size,
    encode: (config, weights, inputs, dropout, reading) =>
      encode({ base: 'roberta', config, weights, dropout }, inputs, positions(config, weights, inputs), reading),
  };
  return {
    type,
    prefix: 'roberta',
    dropouts: ['hidden_dropout_prob', 'attention_probs_dropout_prob', 'classifier_dropout'],
    loraTargets: ['query', 'value'],

    configure: (file) => configure(file, type, vocabulary),

    // The rows up to that of the padding token are not used for tokens: 514 rows are for 512 tokens.
    maxLength: (config) => config.max_position_embeddings - config.pad_token_id - 1,

    depthOf: stackDepth(/^roberta\.embeddings\./, /^roberta\.encoder\.layer\.(\d+)\./),

    typed: (config) => config.type_vocab_size > 1,

    parameters: (config) => ({
      ...encoderParameters('roberta', config),
      ...nn.embeddingParameters(POSITIONS, config.max_position_embeddings, config.hidden_size, config.pad_token_id),
    }),

    heads: {
      'text-classification': sequenceHead(backbone, {
        dense: 'classifier.dense',
        activation: 'tanh',
        output: 'classifier.out_proj',
        rate: (config) => config.classifier_dropout,
        twice: true,
      }),
      'token-classification': tokenHead(backbone, (config) => config.classifier_dropout),
      'question-answering': answerHead(backbone),
      'masked-lm': maskedHead(backbone, {
        dense: 'lm_head.dense',
        activation: () => 'gelu', // independent of hidden_act
        norm: 'lm_head.layer_norm',
        epsilon: (config) => config.layer_norm_eps,
        words: 'roberta.embeddings.word_embeddings.weight',
        bias: 'lm_head.bias',
        copies: { words: 'lm_head.decoder.weight', bias: 'lm_head.decoder.bias' },
      }),
    },
  };
}

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

/** The embeddings of the positions of all tokens [B, T, H]. */
const positions = (config: BertConfig, weights: nn.Weights, { input_ids }: Record<string, tf.Tensor>): tf.Tensor =>
  embedding(weights[`${POSITIONS}.weight`]!, positionIds(input_ids!, config.pad_token_id));

/** int32 ids [B, T] → positions [B, T]: tokens are counted from padding + 1 on, and padding at any place is not counted. */
function positionIds(ids: tf.Tensor, padding: number): tf.Tensor {
  const real = tf.cast(tf.notEqual(ids, tf.scalar(padding, 'int32')), 'int32'); // [B, T]
  return tf.add(tf.mul(tf.cumsum(real, 1), real), tf.scalar(padding, 'int32'));
}
