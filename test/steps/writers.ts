/**
 * Generating models, small enough to learn a sentence in seconds: folders with a config and a tokenizer, without
 * weights.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const special = (content: string, id: number) => ({
  id,
  content,
  special: true,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
});

function writeFolder(folder: string, files: Record<string, object>): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), JSON.stringify(content));
}

/** GPT-2 with a byte-level vocabulary of printable ASCII; token 0 ends a text. */
export function smallGpt2(folder: string, change: object = {}): void {
  const letters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const vocabulary = ['<|endoftext|>', 'Ġ', ...letters];
  writeFolder(folder, {
    'config.json': {
      model_type: 'gpt2',
      vocab_size: vocabulary.length,
      n_positions: 48,
      n_embd: 32,
      n_layer: 2,
      n_head: 2,
      initializer_range: 0.1,
      bos_token_id: 0,
      eos_token_id: 0,
      ...change,
    },
    'tokenizer.json': {
      version: '1.0',
      added_tokens: [special('<|endoftext|>', 0)],
      normalizer: null,
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      post_processor: null,
      decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
        merges: [],
      },
    },
    'tokenizer_config.json': { tokenizer_class: 'GPT2Tokenizer', eos_token: '<|endoftext|>' },
    'generation_config.json': { eos_token_id: 0, max_new_tokens: 20 },
  });
}

/** T5 with these words, and letters for all others. */
export function smallT5(folder: string, words: string[], change: object = {}): void {
  const letters = Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i));
  const pieces: [string, number][] = [
    ['<pad>', 0],
    ['</s>', 0],
    ['<unk>', 0],
    ['▁', -4],
    ...words.map((word): [string, number] => [`▁${word}`, -3]),
    ...letters.map((letter): [string, number] => [letter, -8]),
  ];
  writeFolder(folder, {
    'config.json': {
      model_type: 't5',
      vocab_size: pieces.length,
      d_model: 32,
      d_kv: 16,
      d_ff: 64,
      num_layers: 1,
      num_heads: 2,
      feed_forward_proj: 'gated-gelu',
      decoder_start_token_id: 0,
      dropout_rate: 0.0,
      ...change,
    },
    'tokenizer.json': {
      version: '1.0',
      added_tokens: [special('<pad>', 0), special('</s>', 1), special('<unk>', 2)],
      normalizer: null,
      pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
        pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 0 } }],
        special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
      },
      decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
      model: { type: 'Unigram', unk_id: 2, vocab: pieces, byte_fallback: false },
    },
    'tokenizer_config.json': { eos_token: '</s>', pad_token: '<pad>', unk_token: '<unk>' },
  });
}
