/** The vocabulary of a model folder, checked against the files that name its tokens. */

import { existsSync } from 'node:fs';
import path from 'node:path';
import { StepError } from '../../engine/contract/step.ts';
import { listed, readJson, shown } from '../ml/models/json.ts';
import { tokenizerJson } from '../ml/models/tokenizer-json.ts';
import type { VocabularyModel } from './kept-tokens.ts';
import { idsIn } from './reduced-config.ts';

/** A parsed tokenizer.json. */
export interface TokenizerFile {
  model: VocabularyModel;
  added_tokens?: { id: number; content: string }[];
  post_processor?: PostProcessor | null;
  padding?: { pad_id: number; pad_token: string } | null;
}

export interface PostProcessor {
  type: string;
  /** Of a `Sequence`. */
  processors?: PostProcessor[];
  /** Of BERT's and RoBERTa's. */
  sep?: [token: string, id: number];
  cls?: [token: string, id: number];
  /** Of a `TemplateProcessing`. */
  special_tokens?: Record<string, { id: string; ids: number[]; tokens: string[] }>;
}

export interface Vocabulary {
  file: TokenizerFile;
  ids: Map<string, number>;
  /** By id. */
  tokens: Map<number, string>;
  /** The tokens that files of the folder name. */
  special: Set<string>;
  /** The token of unknown words, if there is one. */
  unknownToken: string | undefined;
}

/**
 * `configured`: the ids that config.json names, by field.
 * @throws StepError if files of the folder name tokens that the vocabulary lacks
 */
export async function readVocabulary(folder: string, configured: Record<string, number[]>): Promise<Vocabulary> {
  const file = parseTokenizer(await tokenizerJson(folder), folder);
  const ids = idsOf(file);
  const tokens = new Map([...ids].map(([token, id]) => [id, token]));
  const special = await specialTokens(folder, file, ids);
  const named = { 'config.json': configured, 'generation_config.json': await generationIds(folder) };
  for (const [name, fields] of Object.entries(named)) {
    refuseUnknownIds(folder, name, fields, tokens);
    for (const id of Object.values(fields).flat()) special.add(tokens.get(id)!);
  }
  return { file, ids, tokens, special, unknownToken: unknownTokenOf(file) };
}

/** @throws StepError if the vocabulary lacks one of the tokens */
export function refuseUnknownTokens(keep: readonly string[], { ids, special }: Vocabulary): void {
  const unknown = keep.filter((token) => !ids.has(token));
  if (unknown.length === 0) return;
  const examples = [...ids.keys()].filter((token) => /\p{L}{2}/u.test(token) && !special.has(token));
  throw new StepError(
    `the vocabulary has no token ${listed(unknown)}`,
    `Write tokens as in tokenizer.json, for example ${listed(examples.slice(-4))}.`,
    ['keep'],
  );
}

function parseTokenizer(json: string, folder: string): TokenizerFile {
  const wrong = (why: string) => new StepError(`tokenizer.json of ${shown(folder)} ${why}`, 'Copy it again from the original.', ['model']);
  let file: TokenizerFile;
  try {
    file = JSON.parse(json);
  } catch (error) {
    throw wrong(`is not JSON: ${(error as Error).message}`);
  }
  const { vocab, type } = Object(Object(file).model);
  if (typeof vocab !== 'object' || vocab === null || Array.isArray(vocab) !== (type === 'Unigram')) throw wrong('has no vocabulary');
  return file;
}

/** The ids of all tokens, also of those that were added. */
export function idsOf({ model, added_tokens = [] }: TokenizerFile): Map<string, number> {
  const ids = new Map<string, number>(
    model.type === 'Unigram' ? model.vocab.map(([piece], id) => [piece, id]) : Object.entries(model.vocab),
  );
  for (const { content, id } of added_tokens) ids.set(content, id);
  return ids;
}

/**
 * The tokens that must be kept because files of the folder name them: added tokens, those around every text, and
 * those with a role.
 * @throws StepError if the vocabulary lacks one of them
 */
async function specialTokens(folder: string, file: TokenizerFile, ids: ReadonlyMap<string, number>): Promise<Set<string>> {
  const special = new Set((file.added_tokens ?? []).map(({ content }) => content));
  for (const [token, id] of aroundTexts(file.post_processor)) {
    if (ids.get(token) !== id) throw missing(`the post_processor of tokenizer.json adds ${token} as ${id}`, token, ids);
    special.add(token);
  }
  for (const name of ['special_tokens_map.json', 'tokenizer_config.json']) {
    if (!existsSync(path.join(folder, name))) continue;
    for (const [role, value] of Object.entries(await readJson(path.join(folder, name)))) {
      const token = typeof value === 'string' ? value : (value as { content?: unknown } | null)?.content;
      if (!/^(bos|eos|unk|sep|pad|cls|mask)_token$/.test(role) || typeof token !== 'string') continue;
      if (!ids.has(token)) throw missing(`${name} of ${shown(folder)} names ${token} as ${role}`, token, ids);
      special.add(token);
    }
  }
  return special;
}

function aroundTexts(processor: PostProcessor | null | undefined): [token: string, id: number][] {
  if (!processor) return [];
  const { processors = [], sep, cls, special_tokens = {} } = processor;
  return [
    ...processors.flatMap(aroundTexts),
    ...(sep ? [sep] : []),
    ...(cls ? [cls] : []),
    ...Object.values(special_tokens).flatMap(({ tokens, ids }) => tokens.map((token, i): [string, number] => [token, ids[i]!])),
  ];
}

function missing(claim: string, token: string, ids: ReadonlyMap<string, number>): StepError {
  const known = ids.get(token);
  const special = [...ids.keys()].filter((other) => /^[[<].*[\]>]$/.test(other));
  return new StepError(
    `${claim}, but the vocabulary ${known === undefined ? 'does not contain it' : `has it as ${known}`}`,
    `Use the tokenizer files that belong together.${special.length > 0 ? ` The vocabulary contains ${listed(special)}.` : ''}`,
    ['model'],
  );
}

function refuseUnknownIds(folder: string, name: string, ids: Record<string, number[]>, known: ReadonlyMap<number, string>): void {
  for (const [field, values] of Object.entries(ids)) {
    const unknown = values.find((id) => !known.has(id));
    if (unknown !== undefined)
      throw new StepError(
        `${name} of ${shown(folder)}: ${field} is ${unknown}, but the tokenizer has no token with this id`,
        'config.json and tokenizer.json belong to different models, or tokenizer.json lacks the special tokens: take both from the same one.',
        ['model'],
      );
  }
}

async function generationIds(folder: string): Promise<Record<string, number[]>> {
  const file = path.join(folder, 'generation_config.json');
  return existsSync(file) ? idsIn(await readJson(file)) : {};
}

function unknownTokenOf({ model }: TokenizerFile): string | undefined {
  if (model.type === 'Unigram') return model.unk_id == null ? undefined : model.vocab[model.unk_id]?.[0];
  const token = model.unk_token ?? undefined;
  if (token !== undefined && !Object.hasOwn(model.vocab, token))
    throw new StepError(
      `tokenizer.json: the vocabulary does not contain ${token}, its unknown token (unk_token)`,
      'Take a tokenizer.json with its special tokens.',
      ['model'],
    );
  return token;
}
