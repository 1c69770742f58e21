/** The rows of bench/train.ts: a model, and the batches that it is trained on. */

export interface Row {
  name: string;
  /** config.json of a model with a random start; none for MiniLM-L6, which has real weights. */
  config?: Record<string, unknown>;
  /** Text classification if not given. */
  task?: 'causal-lm' | 'seq2seq';
  batch: number;
  /** Tokens of a mail at most; of causal-lm those of a block of joined mails. */
  length: 32 | 128 | 256;
  /** Of seq2seq: tokens of the target, which are a mail's first. */
  target?: number;
  /** Steps of each run: enough for a steady pace, few enough for an evening. */
  steps: number;
}

const base = {
  vocab_size: 30522, // that of the tokens, whatever the family's own
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  pad_token_id: 0,
};

export const rows: Row[] = [
  { name: 'MiniLM-L6 16×128', batch: 16, length: 128, steps: 24 },
  { name: 'MiniLM-L6 32×32', batch: 32, length: 32, steps: 40 },
  { name: 'BERT-base 8×128', config: { ...base, model_type: 'bert' }, batch: 8, length: 128, steps: 10 },
  {
    name: 'DistilBERT 8×128',
    config: { model_type: 'distilbert', vocab_size: 30522, dim: 768, n_layers: 6, n_heads: 12, hidden_dim: 3072, pad_token_id: 0 },
    batch: 8,
    length: 128,
    steps: 16,
  },
  {
    name: 'RoBERTa-base 8×128',
    config: { ...base, model_type: 'roberta', max_position_embeddings: 514, type_vocab_size: 1, layer_norm_eps: 1e-5 },
    batch: 8,
    length: 128,
    steps: 10,
  },
  { name: 'ALBERT-base 8×128', config: { ...base, model_type: 'albert', embedding_size: 128 }, batch: 8, length: 128, steps: 10 },
  {
    name: 'BERT-tiny 32×128',
    config: { ...base, model_type: 'bert', hidden_size: 128, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 512 },
    batch: 32,
    length: 128,
    steps: 130,
  },
];

/** Rows of models that write. Their ids are those of the mails, so their vocabularies are as large as they are on the hub. */
rows.push(
  {
    name: 'GPT-2 small 4×256',
    config: { model_type: 'gpt2', vocab_size: 50257 },
    task: 'causal-lm',
    batch: 4,
    length: 256,
    steps: 8,
  },
  {
    name: 'T5-small 8×128+32',
    config: { model_type: 't5', vocab_size: 32128, decoder_start_token_id: 0 },
    task: 'seq2seq',
    batch: 8,
    length: 128,
    target: 32,
    steps: 14,
  },
);

/** What a run says of itself, as one line of JSON. */
export interface Measured {
  /** After the first steps, which compile and warm up. */
  seconds: number;
  /** In those seconds, without padding. */
  tokens: number;
  /** In those seconds, of the matrix products. */
  flops: number;
  /** Of the process, at its highest. */
  bytes: number;
  /** Mean of the steps after the first ones. */
  loss: number;
}

/** Steps that are not measured. */
export const WARM_UP = 2;
