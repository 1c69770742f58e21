/** The rows of bench/train.ts: models and batches. */

export interface Row {
  name: string;
  /** config.json of a model with random weights; undefined for MiniLM-L6, which has pretrained weights. */
  config?: Record<string, unknown>;
  /** Default: text-classification. */
  task?: 'causal-lm' | 'seq2seq';
  batch: number;
  /** Maximum number of tokens of a mail; for causal-lm, of a block of joined mails. */
  length: 32 | 128 | 256;
  /** For seq2seq: number of tokens of the target, which is the beginning of a mail. */
  target?: number;
  /** Number of steps of each run: enough for a steady pace, few enough for an evening. */
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

/** Rows of generative models. Their vocabularies are as large as on the hub, and their ids come from the mails. */
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

/** The report of a run, one line of JSON. */
export interface Measured {
  /** Time of the steps after the first ones, which compile and warm up. */
  seconds: number;
  /** Tokens in that time, without padding. */
  tokens: number;
  /** Floating-point operations of the matrix products in that time. */
  flops: number;
  /** Peak memory of the process. */
  bytes: number;
  /** Mean loss of the steps after the first ones. */
  loss: number;
}

/** Number of warm-up steps. */
export const WARM_UP = 2;
