/** Converts text to ids with Hugging Face's tokenizers library. */

import { existsSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Tokenizer as Library, type Encoding as LibraryEncoding } from 'tokenizers';
import { StepError } from '../../../engine/contract/step.ts';
import { type Beginning, beginning, unsureWords, withoutLoose } from '../data/token-prefix.ts';
import { readJson } from './json.ts';
import { findTokenizerJson, tokenizerJson } from './tokenizer-json.ts';

/** @throws StepError if the tokenizer returns ids without an embedding in the model */
export function checkVocabulary({ size }: Tokenizer, rows: number): void {
  if (size > rows)
    throw new StepError(
      `the tokenizer has ${size} tokens, but the model's embedding table has only ${rows} rows`,
      'tokenizer.json and config.json (vocab_size) belong to different models: take both from the same one.',
    );
}

/** Which of two texts is truncated if both together are too long; the names are those of transformers. */
export type Truncation = 'longest_first' | 'only_first' | 'only_second';

export interface TokenizerOptions {
  /** The maximum number of tokens of a sequence, including special ones. Without it texts stay whole, for `windowsOf`. */
  maxLength?: number;
  truncation?: Truncation;
}

export interface Tokenizer {
  /** The highest id plus one: the number of rows that an embedding table needs. */
  readonly size: number;
  /** Ids of special tokens: [CLS], [PAD] … */
  readonly specialIds: number[];
  /** The id of the token for text that the vocabulary cannot write, if there is one. */
  readonly unknownId?: number;
  /** The side on which texts are truncated: `truncation_side` of tokenizer_config.json. */
  readonly truncationSide: Side;
  /** What it puts around one text, and around a pair. */
  readonly templates: readonly [single: TokenTemplate, pair: TokenTemplate];
  /** With the special tokens that the model expects, in the order of the texts. `maxLength` replaces the tokenizer's own. */
  encode(texts: string[], maxLength?: number): Promise<Sequence[]>;
  encodePairs(pairs: (readonly [text: string, pair: string])[]): Promise<Sequence[]>;
  /** Undefined if the beginnings are too short. Tokenizers whose tokens may depend on later text do not have it. */
  readonly encodeBeginning?: (texts: readonly Beginning[]) => Promise<Sequence | undefined>;
  /** Undefined for a token that is not in the vocabulary. */
  idOf(token: string): number | undefined;
  /** Decodes ids without special tokens. */
  decode(ids: number[]): Promise<string>;
  /** Decodes ids, special tokens included. */
  decodeWhole(ids: number[]): Promise<string>;
  /** Decodes one token, special or not. */
  decodeToken(id: number): Promise<string>;
  /** The token as the vocabulary writes it: ##ing. */
  tokenOf(id: number): string;
  /** Whether the vocabulary marks tokens that continue a word. */
  readonly prefixed?: boolean;
}

/** @throws StepError if the folder has no tokenizer, or one that the library cannot read */
export async function openTokenizer(folder: string, options: TokenizerOptions): Promise<Tokenizer> {
  const json = await tokenizerJson(folder);
  let library: Library;
  try {
    library = Library.fromString(json);
  } catch (error) {
    throw new StepError(
      `tokenizer.json cannot be read: ${(error as Error).message}`,
      'Save it again with version 0.23 or older of the tokenizers library.',
    );
  }
  // A tokenizer.json may enable truncation and padding, but only this file decides the length of sequences.
  library.disablePadding();
  library.disableTruncation();
  const parsed = JSON.parse(json);
  const added = (parsed.added_tokens ?? []) as { id: number; special: boolean }[];
  const side = await truncationSide(folder);
  const unsure = side === 'right' ? unsureWords(parsed) : undefined;
  const pace = new Pace();
  const [single, paired] = await templatesOf(parsed);
  const reading = { library, side, unsure, pace, ...options };
  refuseWithoutUnknown(parsed.model);
  const unknownId = parsed.model.unk_id ?? (parsed.model.unk_token == null ? null : library.tokenToId(parsed.model.unk_token));
  return {
    size: sizeOf(parsed.model.vocab, added),
    ...(unknownId !== null && { unknownId }),
    truncationSide: side,
    templates: [single, paired],
    specialIds: added.filter(({ special }) => special).map(({ id }) => id),
    encode: (texts, maxLength = options.maxLength) =>
      encodeAll(
        texts.map((text) => [text]),
        { ...reading, template: single, maxLength, truncation: 'longest_first' },
      ),
    encodePairs: (pairs) => encodeAll(pairs, { ...reading, template: paired }),
    ...(cutsBeginnings(reading) && {
      encodeBeginning: (texts) => encodeBeginning(texts, { ...reading, template: texts.length > 1 ? paired : single }),
    }),
    idOf: (token) => library.tokenToId(token) ?? undefined,
    decode: (ids) => library.decode(ids, true),
    decodeWhole: (ids) => library.decode(ids, false),
    decodeToken: (id) => library.decode([id], false),
    tokenOf: (id) => library.idToToken(id) ?? '',
    prefixed: Boolean(parsed.model.continuing_subword_prefix),
  };
}

/** The library would fail only at the first unknown word, which may be that of a client. */
function refuseWithoutUnknown({ type, vocab, unk_token }: { type?: string; vocab: object; unk_token?: string }): void {
  if ((type !== 'WordPiece' && type !== 'WordLevel') || unk_token === undefined || Object.hasOwn(vocab, unk_token)) return;
  throw new StepError(
    `tokenizer.json: the vocabulary does not contain ${unk_token}, its unknown token (unk_token)`,
    'Take a tokenizer.json with its special tokens.',
    ['model'],
  );
}

/** `vocab`: as in tokenizer.json, ids by token or a list of tokens. Asking the library would build an object of all of them again. */
function sizeOf(vocab: Record<string, number> | unknown[], added: { id: number }[]): number {
  let size = Array.isArray(vocab) ? vocab.length : 0;
  if (!Array.isArray(vocab)) for (const token in vocab) size = Math.max(size, vocab[token]! + 1);
  return added.reduce((most, { id }) => Math.max(most, id + 1), size);
}

interface Encoding extends TokenizerOptions {
  library: Library;
  template: TokenTemplate;
  side: Side;
  /** How many words at the end of a beginning may differ in the whole text; undefined if beginnings cannot be used. */
  unsure: number | undefined;
  pace: Pace;
}

/** Other truncation strategies depend on the whole length of the other text. */
const cutsBeginnings = ({ unsure, maxLength, truncation = 'longest_first' }: Omit<Encoding, 'template'>): boolean =>
  unsure !== undefined && maxLength !== undefined && truncation === 'longest_first';

/** The number of code units per token, as observed so far. It decides how much of a long text is read, and does not affect results. */
class Pace {
  #units = 0;
  #tokens = 0;

  /** This many code units usually suffice for a text, even if the sequence also contains `other`, whose tokens leave less room. */
  enough(maxLength: number, other = ''): number {
    const units = this.#tokens < 1000 ? FIRST_PACE : (MARGIN * this.#units) / this.#tokens;
    return units * Math.max(maxLength / 2, maxLength - other.length / units);
  }

  hear(text: string, tokens: number): void {
    this.#units += text.length;
    this.#tokens += tokens;
  }
}

/** More than the words of most languages have. */
const FIRST_PACE = 8;
/** A text with longer words is read again, as a whole. */
const MARGIN = 1.3;

/** The side on which texts are truncated. */
export type Side = 'left' | 'right';

/** `truncation_side` of tokenizer_config.json. */
async function truncationSide(folder: string): Promise<Side> {
  const file = path.join(folder, 'tokenizer_config.json');
  return existsSync(file) && (await readJson(file)).truncation_side === 'left' ? 'left' : 'right';
}

/** Each row is a text, or a pair. The library's batches do not accept pairs, so all texts are tokenized one by one and combined here. */
async function encodeAll(rows: (readonly string[])[], encoding: Encoding): Promise<Sequence[]> {
  const { library, template, side, pace, unsure, maxLength, truncation = 'longest_first' } = encoding;
  if (maxLength === undefined)
    return (await read(library, rows.map(wholes))).map((texts) => joined(template, texts, lengthsOf(texts), side));
  const room = roomOf(template, maxLength);
  const done: Read[][] = [];
  // Read more of those that were too short.
  for (let left = [...rows.keys()], more = 1; left.length > 0; more *= 8) {
    const begun = left.map((i) => {
      const texts = rows[i]!;
      return cutsBeginnings(encoding)
        ? texts.map((text, k) => beginning(text, more * pace.enough(maxLength + unsure!, texts[1 - k])))
        : wholes(texts);
    });
    const all = await read(library, begun, unsure);
    for (const [k, i] of left.entries()) done[i] = all[k]!;
    if (more === 1) for (const { text, encoding } of all.flat()) pace.hear(text, encoding.getLength());
    left = left.filter((i) => !longestIsKnown(done[i]!, room));
  }
  return done.map((texts) => joined(template, texts, keptLengths(lengthsOf(texts), room, truncation), side));
}

async function encodeBeginning(texts: readonly Beginning[], encoding: Encoding): Promise<Sequence | undefined> {
  const { library, template, side, unsure } = encoding;
  const room = roomOf(template, encoding.maxLength!);
  const ended = texts.map(({ text, more }) => (more ? { text: withoutLoose(text), more } : { text, more }));
  const [all] = await read(library, [ended], unsure);
  return longestIsKnown(all!, room) ? joined(template, all!, keptLengths(lengthsOf(all!), room, 'longest_first'), side) : undefined;
}

const roomOf = (template: TokenTemplate, maxLength: number): number => maxLength - template.filter(({ text }) => text === null).length;

const wholes = (texts: readonly string[]): Beginning[] => texts.map((text) => ({ text, more: false }));

/** A text's tokens, without special ones. */
interface Read extends Beginning {
  encoding: LibraryEncoding;
  /** How many of the tokens are those of the whole text. */
  sure: number;
}

async function read(library: Library, rows: (readonly Beginning[])[], unsure = 0): Promise<Read[][]> {
  if (rows.length === 0) return [];
  const encodings = await library.encodeBatch(
    rows.flat().map(({ text }) => text),
    { addSpecialTokens: false },
  );
  let at = 0;
  return rows.map((texts) =>
    texts.map((begun) => {
      const encoding = encodings[at++]!;
      return { ...begun, encoding, sure: begun.more ? sureTokens(encoding, unsure) : encoding.getLength() };
    }),
  );
}

/** The tokens before the last words. */
function sureTokens(encoding: LibraryEncoding, unsure: number): number {
  const words = encoding.getWordIds() as (number | null)[];
  const last = words.at(-1) ?? 0;
  return Math.max(
    0,
    words.findIndex((word) => word === null || word > last - unsure),
  );
}

const lengthsOf = (texts: Read[]): number[] => texts.map(({ sure }) => sure);

/**
 * Whether longest_first keeps the same tokens if only the beginnings of texts were read. A beginning suffices if it
 * fills the room that the other text leaves; then it matters only which text is longer, and only if the number of
 * tokens is odd.
 */
function longestIsKnown(texts: Read[], room: number): boolean {
  const [begun, pairBegun] = texts.map(({ more }) => more);
  const [first = 0, second = 0] = lengthsOf(texts);
  if (!begun && !pairBegun) return true;
  const half = Math.floor(room / 2);
  if ((begun && first <= room - Math.min(second, half)) || (pairBegun && second <= room - Math.min(first, half))) return false;
  if (room % 2 === 0) return true;
  return begun ? !pairBegun && first > second : second >= first;
}

/** How many tokens of each text are kept, as in transformers; the library truncates pairs differently. */
function keptLengths(lengths: number[], room: number, strategy: Truncation): number[] {
  const [first = 0, second = 0] = lengths;
  const excess = first + second - room;
  if (excess <= 0) return lengths;
  if (strategy === 'only_first' && first > excess) return [first - excess, second];
  if (strategy === 'only_second' && second > excess) return [first, second - excess];
  if (strategy === 'longest_first' && room >= 0) {
    // The longer text is truncated until both are equal, then both; the longer one keeps an odd token.
    const shorter = Math.min(first, second, Math.floor(room / 2));
    return first > second ? [room - shorter, shorter] : [shorter, room - shorter];
  }
  const [long, short] = strategy === 'only_second' ? ['first', 'second'] : ['second', 'first'];
  throw new StepError(
    strategy === 'longest_first'
      ? `a pair of ${lengths.join(' and ')} tokens does not fit: there is room for ${room}`
      : `truncation ${strategy} shortens only the ${short} text, but the ${long} has ${strategy === 'only_second' ? first : second} tokens, and both together have room for ${room}`,
    strategy === 'longest_first'
      ? 'Set a greater max_length.'
      : `Shorten the ${long} text, leave the row out in collect with \`where\`, use longest_first, or set a greater max_length.`,
    ['truncation'],
  );
}

/** One sequence: a text or a pair as the model reads it. */
export interface Sequence {
  readonly ids: number[];
  /** Whether tokens were cut off. */
  readonly truncated: boolean;
  /** token_type_ids: 0 for the first text and, in models that distinguish them, 1 for the second. */
  readonly typeIds: number[];
  /** For each token: 0 in the first text, 1 in the second, null for special tokens. */
  readonly sequenceIds: (number | null)[];
  /** For each token the index of its word in its text; null for special tokens. */
  readonly wordIds: (number | null)[];
  /** For each token its range in its text, in UTF-16 code units; [0, 0] for special tokens. */
  readonly spans: [begin: number, end: number][];
}

/** A number of tokens of each text, in their template. Properties are computed on demand; the windows of a long text request them often. */
function joined(template: TokenTemplate, texts: Read[], lengths: number[], side: Side): Sequence {
  const kept = <T>(values: T[], text: 0 | 1): T[] =>
    side === 'left' ? values.slice(values.length - lengths[text]!) : values.slice(0, lengths[text]);
  const same = <T>(value: (piece: Piece) => T): T[] =>
    template.flatMap((piece) => new Array<T>(piece.text === null ? 1 : lengths[piece.text]!).fill(value(piece)));
  const each = <T>(values: (text: Read) => T[], special: T): T[] =>
    template.flatMap(({ text }) => (text === null ? [special] : kept(values(texts[text]!), text)));
  const ids = template.flatMap((piece) => (piece.text === null ? piece.id : kept(texts[piece.text]!.encoding.getIds(), piece.text)));
  const truncated = texts.some(({ encoding }, i) => lengths[i]! < encoding.getLength());
  return lazily(ids, truncated, {
    typeIds: once(() => same(({ typeId }) => typeId)),
    sequenceIds: once(() => same(({ text }) => text)),
    wordIds: once(() => each(({ encoding }) => encoding.getWordIds() as (number | null)[], null)),
    spans: once(() => each(spansOf, [0, 0])),
  });
}

/** The library counts code points. */
function spansOf({ text, encoding }: Read): [begin: number, end: number][] {
  const spans = encoding.getOffsets() as [number, number][];
  if (!/[\ud800-\udfff]/.test(text)) return spans;
  const units = codeUnits(text);
  return spans.map(([begin, end]) => [units[begin]!, units[end]!]);
}

type Parts = { [part in 'typeIds' | 'sequenceIds' | 'wordIds' | 'spans']: () => Sequence[part] };

const lazily = (ids: number[], truncated: boolean, parts: Parts): Sequence => ({
  ids,
  truncated,
  get typeIds() {
    return parts.typeIds();
  },
  get sequenceIds() {
    return parts.sequenceIds();
  },
  get wordIds() {
    return parts.wordIds();
  },
  get spans() {
    return parts.spans();
  },
});

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

export interface Windowing {
  maxLength: number;
  /** Tokens that neighbouring windows share. */
  stride?: number;
  truncationSide: Side;
}

/**
 * Splits a whole sequence into windows of at most `maxLength` tokens, in the order of the text. Its last text is
 * split so that neighbours share `stride` tokens, as with transformers' `return_overflowing_tokens`; the tokens
 * around it, including a question, are repeated in every window. If the tokenizer truncates on the left, windows are
 * counted from the end of the text.
 * @throws StepError if these leave no room. (The library also has windows, but aborts the process if the stride is not smaller than the room.)
 */
export function windowsOf(whole: Sequence, windowing: Windowing): Sequence[] {
  return windowPlaces(whole, windowing).map((places) => windowAt(whole, places));
}

/** The same as ranges in the whole sequence. */
function windowPlaces({ ids, sequenceIds }: Sequence, { maxLength, stride = 0, truncationSide }: Windowing): number[][] {
  const all = [...ids.keys()];
  if (all.length <= maxLength) return [all];
  const last = Math.max(...sequenceIds.map((id) => id ?? 0));
  const begin = sequenceIds.indexOf(last);
  const end = sequenceIds.lastIndexOf(last) + 1;
  const room = maxLength - begin - (all.length - end);
  if (room < 1)
    throw new StepError(
      `a sequence of ${maxLength} tokens has no room for the text, because it needs ${all.length - (end - begin)} other tokens`,
      'Set a greater max_length.',
    );
  // A question may leave less room than the stride.
  const step = room > stride ? room - stride : Math.ceil(room / 2);
  const windows: number[][] = [];
  const window = (from: number, to: number) => [...all.slice(0, begin), ...all.slice(from, to), ...all.slice(end)];
  if (truncationSide === 'left') {
    for (let to = end; ; to -= step) {
      const from = Math.max(begin, to - room);
      windows.unshift(window(from, to));
      if (from === begin) return windows;
    }
  }
  for (let from = begin; ; from += step) {
    const to = Math.min(end, from + room);
    windows.push(window(from, to));
    if (to === end) return windows;
  }
}

export function windowAt(whole: Sequence, places: number[]): Sequence {
  if (places.length === whole.ids.length) return whole;
  const cut = <T>(values: T[]): T[] => places.map((i) => values[i]!);
  return lazily(cut(whole.ids), false, {
    typeIds: once(() => cut(whole.typeIds)),
    sequenceIds: once(() => cut(whole.sequenceIds)),
    wordIds: once(() => cut(whole.wordIds)),
    spans: once(() => cut(whole.spans)),
  });
}

/** The offset of each code point in code units; the last is the length of the text. */
function codeUnits(text: string): Uint32Array {
  const begins = new Uint32Array(text.length + 1);
  let points = 0;
  let unit = 0;
  for (const point of text) {
    begins[points++] = unit;
    unit += point.length;
  }
  begins[points++] = unit;
  return begins.subarray(0, points);
}

/** A token with a role. */
export interface SpecialToken {
  token: string;
  id: number;
}

/** The mask token. */
export const maskToken = (folder: string, tokenizer: Tokenizer): Promise<SpecialToken | undefined> =>
  specialToken('mask_token', ['[MASK]', '<mask>'], folder, tokenizer);

/** The end-of-text token. */
export const eosToken = (folder: string, tokenizer: Tokenizer): Promise<SpecialToken | undefined> =>
  specialToken('eos_token', ['<|endoftext|>', '</s>'], folder, tokenizer);

/** From tokenizer_config.json or special_tokens_map.json, or else one of its usual names. */
async function specialToken(role: string, usual: string[], folder: string, tokenizer: Tokenizer): Promise<SpecialToken | undefined> {
  const named: string[] = [];
  for (const name of ['tokenizer_config.json', 'special_tokens_map.json']) {
    const file = path.join(folder, name);
    const token = existsSync(file) ? ((await readJson(file)) as Record<string, any>)[role] : undefined;
    if (token) named.push(typeof token === 'string' ? token : String(token.content));
  }
  for (const token of [...named, ...usual]) {
    const id = tokenizer.idOf(token);
    if (id !== undefined) return { token, id };
  }
  return undefined;
}

/** Copies a tokenizer from folder to folder, always as a tokenizer.json. */
export async function copyTokenizer(from: string, to: string): Promise<void> {
  await writeFile(path.join(to, 'tokenizer.json'), await tokenizerJson(from));
  for (const name of ['tokenizer_config.json', 'special_tokens_map.json']) {
    if (existsSync(path.join(from, name))) await copyFile(path.join(from, name), path.join(to, name));
  }
}

/** Whether two folders contain the same tokenizer; undefined if one of them has none. */
export async function sameTokenizer(a: string, b: string): Promise<boolean | undefined> {
  const [first, second] = await Promise.all([findTokenizerJson(a), findTokenizerJson(b)]);
  return first === undefined || second === undefined ? undefined : first === second;
}

/*
 * What a tokenizer puts around texts, such as BERT's [CLS] first [SEP] second [SEP]. The library computes it, because
 * there are many post-processors (BERT's, RoBERTa's, templates, sequences), each with its own place for special
 * tokens in tokenizer.json.
 */

type TokenTemplate = Piece[];

/** The slot of a text, 0 for the first and 1 for the second; or a special token. */
type Piece = { text: 0 | 1; typeId: number } | { text: null; id: number; typeId: number };

/** For one text, and for a pair, from a parsed tokenizer.json. */
async function templatesOf({ version, post_processor }: Record<string, unknown>): Promise<[single: TokenTemplate, pair: TokenTemplate]> {
  const word = 'a';
  const library = Library.fromString(
    // A vocabulary of one word, which makes one token: all other tokens are the template's.
    JSON.stringify({ version, added_tokens: [], post_processor, model: { type: 'WordLevel', vocab: { [word]: 0 }, unk_token: word } }),
  );
  const encodings = await Promise.all([null, word].map((pair) => library.encode(word, pair, { addSpecialTokens: true })));
  const [single, pair] = encodings.map((encoding) => {
    const [ids, typeIds, texts] = [encoding.getIds(), encoding.getTypeIds(), encoding.getSequenceIds()];
    return ids.map((id, i) => ({ text: texts[i] as 0 | 1 | null, id, typeId: typeIds[i]! }) as Piece);
  });
  return [single!, pair!];
}
