/**
 * Well-known models of the Hugging Face hub that tunesmith trains. The facts are those of the page of each model,
 * https://huggingface.co/NAME, and of its config.json; `parameters` are compared with transformers by test/golden/hub-models.py.
 */

import type { ConfigFile } from '../ml/models/config.ts';

export interface HubModel {
  /** Owner and name on the hub. */
  name: string;
  /** In words. */
  languages: string;
  /** The name that SPDX gives the licence. */
  licence: string;
  /** Of the pre-trained model with its own head, tied weights once. */
  parameters: number;
  /** The size of its file of weights, which is downloaded. */
  bytes: number;
  /** The fields of config.json that decide its shapes. Its other fields have the defaults of the family. */
  config: ConfigFile & { model_type: string };
  /** Set if the weights are not in safetensors, so that they must be converted once. */
  unsafe?: true;
}

const bert = (vocab_size: number): HubModel['config'] => ({ model_type: 'bert', vocab_size });

const distilbert = (vocab_size: number): HubModel['config'] => ({ model_type: 'distilbert', vocab_size });

/** RoBERTa and the models that were made of it; `more` differs from roberta-base. */
const roberta = (model_type: string, vocab_size: number, more: object = {}): HubModel['config'] => ({
  model_type,
  vocab_size,
  max_position_embeddings: 514,
  type_vocab_size: 1,
  layer_norm_eps: 1e-5,
  pad_token_id: 1,
  ...more,
});

export const HUB_MODELS: readonly HubModel[] = [
  {
    name: 'answerdotai/ModernBERT-base',
    languages: 'English',
    licence: 'Apache-2.0',
    parameters: 149_655_232,
    bytes: 598_635_032,
    config: { model_type: 'modernbert', vocab_size: 50368, max_position_embeddings: 8192, pad_token_id: 50283 },
  },
  {
    name: 'FacebookAI/roberta-base',
    languages: 'English',
    licence: 'MIT',
    parameters: 124_697_433,
    bytes: 498_818_054,
    config: roberta('roberta', 50265),
  },
  {
    name: 'FacebookAI/roberta-large',
    languages: 'English',
    licence: 'MIT',
    parameters: 355_412_057,
    bytes: 1_421_700_479,
    config: roberta('roberta', 50265, { hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, intermediate_size: 4096 }),
  },
  {
    name: 'google-bert/bert-base-uncased',
    languages: 'English',
    licence: 'Apache-2.0',
    parameters: 109_514_298,
    bytes: 440_449_768,
    config: bert(30522),
  },
  {
    name: 'google-bert/bert-base-cased',
    languages: 'English',
    licence: 'Apache-2.0',
    parameters: 108_340_804,
    bytes: 435_755_784,
    config: bert(28996),
  },
  {
    name: 'distilbert/distilbert-base-uncased',
    languages: 'English',
    licence: 'Apache-2.0',
    parameters: 66_985_530,
    bytes: 267_954_768,
    config: distilbert(30522),
  },
  {
    name: 'distilbert/distilroberta-base',
    languages: 'English',
    licence: 'Apache-2.0',
    parameters: 82_170_201,
    bytes: 331_055_963,
    config: roberta('roberta', 50265, { num_hidden_layers: 6 }),
  },
  {
    name: 'albert/albert-base-v2',
    languages: 'English',
    licence: 'Apache-2.0',
    parameters: 11_221_680,
    bytes: 47_372_894,
    config: {
      model_type: 'albert',
      vocab_size: 30000,
      embedding_size: 128,
      hidden_size: 768,
      num_attention_heads: 12,
      intermediate_size: 3072,
      hidden_act: 'gelu_new',
      hidden_dropout_prob: 0,
      attention_probs_dropout_prob: 0,
    },
  },
  {
    name: 'google/electra-small-discriminator',
    languages: 'English',
    licence: 'Apache-2.0',
    parameters: 13_549_057,
    bytes: 54_236_116,
    config: {
      model_type: 'electra',
      vocab_size: 30522,
      embedding_size: 128,
      hidden_size: 256,
      num_attention_heads: 4,
      intermediate_size: 1024,
    },
    unsafe: true,
  },
  {
    name: 'almanach/camembert-base',
    languages: 'French',
    licence: 'MIT',
    parameters: 110_655_493,
    bytes: 445_000_000,
    config: roberta('camembert', 32005),
  },
  {
    name: 'FacebookAI/xlm-roberta-base',
    languages: '100 languages',
    licence: 'MIT',
    parameters: 278_295_186,
    bytes: 1_115_567_652,
    config: roberta('xlm-roberta', 250002),
  },
  {
    name: 'google-bert/bert-base-multilingual-cased',
    languages: '104 languages',
    licence: 'Apache-2.0',
    parameters: 177_974_523,
    bytes: 714_290_682,
    config: bert(119547),
  },
  {
    name: 'distilbert/distilbert-base-multilingual-cased',
    languages: '104 languages',
    licence: 'Apache-2.0',
    parameters: 135_445_755,
    bytes: 541_795_680,
    config: distilbert(119547),
  },
  {
    name: 'openai-community/gpt2',
    languages: 'English',
    licence: 'MIT',
    parameters: 124_439_808,
    bytes: 548_105_171,
    config: { model_type: 'gpt2', vocab_size: 50257 },
  },
  {
    name: 'distilbert/distilgpt2',
    languages: 'English',
    licence: 'Apache-2.0',
    parameters: 81_912_576,
    bytes: 352_824_413,
    config: { model_type: 'gpt2', vocab_size: 50257, n_layer: 6 },
  },
  {
    name: 'google-t5/t5-small',
    languages: 'English, French, German, Romanian',
    licence: 'Apache-2.0',
    parameters: 60_506_624,
    bytes: 242_043_056,
    config: { model_type: 't5', vocab_size: 32128, decoder_start_token_id: 0 },
  },
  {
    name: 'google/flan-t5-small',
    languages: 'English, French, German, Romanian and others',
    licence: 'Apache-2.0',
    parameters: 76_961_152,
    bytes: 307_867_048,
    config: {
      model_type: 't5',
      vocab_size: 32128,
      d_ff: 1024,
      num_layers: 8,
      num_decoder_layers: 8,
      num_heads: 6,
      feed_forward_proj: 'gated-gelu',
      tie_word_embeddings: false,
      decoder_start_token_id: 0,
    },
  },
];

/** What is known of the models in the package besides their files. */
export const BOX_MODELS: Readonly<Record<string, { languages: string; licence: string }>> = {
  'tunesmith-small': { languages: 'English', licence: 'Apache-2.0' },
  'bert-tiny': { languages: 'English', licence: 'Apache-2.0' },
  'gpt2-tiny': { languages: 'English', licence: 'Apache-2.0, WordNet' },
  't5-tiny': { languages: 'English', licence: 'Apache-2.0, WordNet' },
};
