/**
 * ELECTRA (Clark et al. 2020, https://arxiv.org/abs/2003.10555), as transformers' ElectraFor… classes compute it:
 * BERT's encoder, from bert.ts, with embeddings of their own size, and without a pooler. Discriminators are the models
 * to fine-tune; a generator is a masked language model.
 */

import { type BertConfig, configureEncoder, encode, encoderParameters, positions } from './bert.ts';
import { ConfigReader } from './config.ts';
import { type Family, stackDepth } from './family.ts';
import { answerHead, type Backbone, maskedHead, sequenceHead, tokenHead } from './heads.ts';

/** Names and defaults are those of transformers' ElectraConfig. Its `summary_…` fields are only for multiple choice. */
interface ElectraConfig extends BertConfig {
  embedding_size: number;
}

const backbone: Backbone<ElectraConfig> = {
  classes: 'Electra',
  width: (config) => config.hidden_size,
  encode: (config, weights, inputs, dropout, reading) =>
    encode({ base: 'electra', config, weights, dropout }, inputs, positions(weights, inputs, 'electra'), reading),
};

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
    'text-classification': sequenceHead(backbone, {
      dense: 'classifier.dense',
      activation: 'gelu', // independent of hidden_act
      output: 'classifier.out_proj',
      rate: (config) => config.classifier_dropout,
      twice: true,
    }),
    'token-classification': tokenHead(backbone, (config) => config.classifier_dropout),
    'question-answering': answerHead(backbone),
    'masked-lm': maskedHead(backbone, {
      dense: 'generator_predictions.dense',
      activation: () => 'gelu', // independent of hidden_act
      norm: 'generator_predictions.LayerNorm',
      epsilon: (config) => config.layer_norm_eps,
      words: 'electra.embeddings.word_embeddings.weight',
      bias: 'generator_lm_head.bias',
      copies: { words: 'generator_lm_head.weight' },
      size: (config) => config.embedding_size,
    }),
  },
};
