/** Rewrites the tokenizer of a model folder for fewer tokens, whose ids close up in their old order. */

import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ConfigFile } from '../ml/models/config.ts';
import { readJson, readText } from '../ml/models/json.ts';
import { readEncoding } from '../ml/tasks/encoder.ts';
import { keptMerges, type VocabularyModel } from './kept-tokens.ts';
import type { PostProcessor, TokenizerFile } from './vocabulary.ts';

/**
 * What a model adds to texts. `prefix`: what stands before each text in training and inference. `texts`: this prefix, and
 * those that the files of the folder offer, such as those of T5's tasks and the words of a chat template.
 */
export async function addedTexts(folder: string, config: ConfigFile): Promise<{ prefix: string; texts: string[] }> {
  const read = async (name: string): Promise<Record<string, unknown>> =>
    existsSync(path.join(folder, name)) ? readJson(path.join(folder, name)) : {};
  const { prefix = config.prefix } = await readEncoding(folder);
  const tasks = Object.values(Object(config.task_specific_params)).map((params) => Object(params).prefix);
  const { prompts } = await read('config_sentence_transformers.json');
  const { chat_template } = await read('tokenizer_config.json');
  const file = path.join(folder, 'chat_template.jinja');
  const templates = [chat_template, ...(existsSync(file) ? [await readText(file)] : [])].flat();
  const given = [prefix, ...tasks, ...Object.values(Object(prompts)), ...templates.flatMap(wordsOfTemplate)];
  const texts = given.filter((text): text is string => typeof text === 'string' && text.trim() !== '');
  // A space at the end may become part of the next word.
  return { prefix: typeof prefix === 'string' ? prefix : '', texts: [...new Set(texts.flatMap((text) => [text, text.trimEnd()]))] };
}

/** What stands outside of a template's tags, and the strings within them. A folder with several templates lists them with their names. */
function wordsOfTemplate(template: unknown): string[] {
  const text = typeof template === 'string' ? template : Object(template).template;
  if (typeof text !== 'string') return [];
  const strings = [...text.matchAll(/(['"])(.*?)\1/gs)].map(([, , words]) => words!.replaceAll('\\n', '\n'));
  return [...text.split(/\{[{%#].*?[}%#]\}/s), ...strings];
}

/** Writes tokenizer.json and tokenizer_config.json with the ids of `moved`, which maps old ids to new ones. */
export async function writeReducedTokenizer(
  from: string,
  to: string,
  file: TokenizerFile,
  moved: ReadonlyMap<number, number>,
): Promise<void> {
  const reduced: TokenizerFile = {
    ...file,
    model: reducedModel(file.model, moved),
    ...(file.added_tokens && { added_tokens: file.added_tokens.map((token) => ({ ...token, id: moved.get(token.id)! })) }),
    ...(file.post_processor && { post_processor: movedProcessor(file.post_processor, moved) }),
    ...(file.padding && { padding: { ...file.padding, pad_id: moved.get(file.padding.pad_id) ?? 0 } }),
  };
  await writeFile(path.join(to, 'tokenizer.json'), JSON.stringify(reduced));
  if (!existsSync(path.join(from, 'tokenizer_config.json'))) return;
  const config = await readJson(path.join(from, 'tokenizer_config.json'));
  if (config.added_tokens_decoder)
    config.added_tokens_decoder = Object.fromEntries(
      Object.entries(config.added_tokens_decoder).flatMap(([id, token]) => {
        const now = moved.get(Number(id));
        return now === undefined ? [] : [[String(now), token]];
      }),
    );
  await writeFile(path.join(to, 'tokenizer_config.json'), `${JSON.stringify(config, null, 2)}\n`);
}

/** Files of older tokenizers that repeat the vocabulary; tokenizer.json replaces them. */
export const VOCABULARY_FILES: readonly string[] = [
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'added_tokens.json',
  'spiece.model',
  'sentencepiece.bpe.model',
  'tokenizer.model',
];

function reducedModel(model: VocabularyModel, moved: ReadonlyMap<number, number>): VocabularyModel {
  if (model.type === 'Unigram') {
    const unk = model.unk_id == null ? model.unk_id : moved.get(model.unk_id);
    return { ...model, vocab: model.vocab.filter((_, id) => moved.has(id)), ...(unk === undefined ? {} : { unk_id: unk }) };
  }
  const left = Object.entries(model.vocab).flatMap(([token, id]) => (moved.has(id) ? [[token, moved.get(id)!] as const] : []));
  const vocab = Object.fromEntries(left.sort(([, a], [, b]) => a - b));
  if (model.type !== 'BPE') return { ...model, vocab };
  const kept = new Set(left.map(([token]) => token));
  return { ...model, vocab, merges: keptMerges(model.merges, kept, model.continuing_subword_prefix ?? '') };
}

function movedProcessor(processor: PostProcessor, moved: ReadonlyMap<number, number>): PostProcessor {
  const pair = ([token, id]: [string, number]): [string, number] => [token, moved.get(id)!];
  const { processors, sep, cls, special_tokens } = processor;
  return {
    ...processor,
    ...(processors && { processors: processors.map((one) => movedProcessor(one, moved)) }),
    ...(sep && { sep: pair(sep) }),
    ...(cls && { cls: pair(cls) }),
    ...(special_tokens && {
      special_tokens: Object.fromEntries(
        Object.entries(special_tokens).map(([name, token]) => [name, { ...token, ids: token.ids.map((id) => moved.get(id)!) }]),
      ),
    }),
  };
}
