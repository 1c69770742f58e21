/** Text to ids with Hugging Face's own tokenizer library. */
import { existsSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Tokenizer as Library, type Encoding as LibraryEncoding } from 'tokenizers';
import { StepError } from '../../engine/step.ts';
import { type Beginning, beginning, unsureWords, withoutLoose } from './beginnings.ts';
import { readJson } from './json.ts';
import { type Piece, type Template, templatesOf } from './template.ts';
import { findTokenizerJson, tokenizerJson } from './tokenizer-json.ts';

/** @throws StepError where the tokenizer gives ids that the model has no embedding for */
export function checkVocabulary({ size }: Tokenizer, rows: number): void {
  if (size > rows)
    throw new StepError(
      `the tokenizer has ${size} tokens, and the model's embedding table ${rows} rows`,
      'tokenizer.json and config.json (vocab_size) are of different models: take both from one.',
    );
}

/** Which of two texts loses tokens where both together are too long; names are transformers'. */
export type Truncation = 'longest_first' | 'only_first' | 'only_second';

export interface TokenizerOptions {
  /** Tokens of a sequence, special ones included: what is longer is cut. Without it texts stay whole, for `windowsOf`. */
  maxLength?: number;
  truncation?: Truncation;
}

export interface Tokenizer {
  /** One more than the highest id: the rows that an embedding table must have. */
  readonly size: number;
  /** Ids of the tokens that are no text: [CLS], [PAD] … */
  readonly specialIds: number[];
  /** Where a text that is too long loses tokens: `truncation_side` of tokenizer_config.json. */
  readonly truncationSide: Side;
  /** With the special tokens that the model expects, in the order of the texts. `maxLength` stands in for the tokenizer's own. */
  encode(texts: string[], maxLength?: number): Promise<Sequence[]>;
  encodePairs(pairs: (readonly [text: string, pair: string])[]): Promise<Sequence[]>;
  /**
   * The sequence of a text or a pair of which only beginnings are there; undefined where they are too short to tell. There is none in
   * tokenizers whose tokens may depend on what comes later.
   */
  readonly encodeBeginning?: (texts: readonly Beginning[]) => Promise<Sequence | undefined>;
  /** Undefined for a token that is not in the vocabulary. */
  idOf(token: string): number | undefined;
  /** Ids as text, special tokens left out. */
  decode(ids: number[]): Promise<string>;
  /** One token as text, be it special. */
  decodeToken(id: number): Promise<string>;
}

/** @throws StepError where the folder has no tokenizer, or one that the library cannot read */
export async function openTokenizer(folder: string, options: TokenizerOptions): Promise<Tokenizer> {
  const json = await tokenizerJson(folder);
  let library: Library;
  try {
    library = Library.fromString(json);
  } catch (error) {
    throw new StepError(
      `tokenizer.json cannot be read: ${(error as Error).message}`,
      'Save it again with the tokenizers library, 0.23 or older.',
    );
  }
  // A tokenizer.json may switch both on; how long sequences are is decided here alone.
  library.disablePadding();
  library.disableTruncation();
  const parsed = JSON.parse(json);
  const added = (parsed.added_tokens ?? []) as { id: number; special: boolean }[];
  const side = await truncationSide(folder);
  const unsure = side === 'right' ? unsureWords(parsed) : undefined;
  const pace = new Pace();
  const [single, paired] = await templatesOf(parsed);
  const reading = { library, side, unsure, pace, ...options };
  return {
    size: sizeOf(parsed.model.vocab, added),
    truncationSide: side,
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
    decodeToken: (id) => library.decode([id], false),
  };
}

/** `vocab`: as tokenizer.json has it, ids by token, or a list of tokens. The library would make an object of them all anew. */
function sizeOf(vocab: Record<string, number> | unknown[], added: { id: number }[]): number {
  let size = Array.isArray(vocab) ? vocab.length : 0;
  if (!Array.isArray(vocab)) for (const token in vocab) size = Math.max(size, vocab[token]! + 1);
  return added.reduce((most, { id }) => Math.max(most, id + 1), size);
}

interface Encoding extends TokenizerOptions {
  library: Library;
  template: Template;
  side: Side;
  /** How many words at the end of a beginning may be others in the whole text; undefined where no beginning says anything. */
  unsure: number | undefined;
  pace: Pace;
}

/** What other strategies leave of a pair depends on the whole length of the other text. */
const cutsBeginnings = ({ unsure, maxLength, truncation = 'longest_first' }: Omit<Encoding, 'template'>): boolean =>
  unsure !== undefined && maxLength !== undefined && truncation === 'longest_first';

/** How many code units make a token, as far as was seen: it says how much of a text is read where that will be cut. Results do not depend on it. */
class Pace {
  #units = 0;
  #tokens = 0;

  /** So many code units will mostly do for a text of a sequence that has `other`, too: that one's tokens leave less room. */
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
/** A text whose words are longer than that is read again, as a whole. */
const MARGIN = 1.3;

/** Where a text that is too long loses tokens. */
export type Side = 'left' | 'right';

async function truncationSide(folder: string): Promise<Side> {
  const file = path.join(folder, 'tokenizer_config.json');
  return existsSync(file) && (await readJson(file)).truncation_side === 'left' ? 'left' : 'right';
}

/** Each row is a text, or a pair. The library's batches take no pairs: all texts are read one by one, and put together here. */
async function encodeAll(rows: (readonly string[])[], encoding: Encoding): Promise<Sequence[]> {
  const { library, template, side, pace, unsure, maxLength, truncation = 'longest_first' } = encoding;
  if (maxLength === undefined)
    return (await read(library, rows.map(wholes))).map((texts) => joined(template, texts, lengthsOf(texts), side));
  const room = roomOf(template, maxLength);
  const done: Read[][] = [];
  // Once more, and more of it, what was not enough.
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

const roomOf = (template: Template, maxLength: number): number => maxLength - template.filter(({ text }) => text === null).length;

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
 * Whether longest_first leaves the same of texts of which only the beginnings were read. A beginning is as good as its text if it
 * fills all that the other one leaves; then what counts is only which text is the longer one, and only where an odd token is to be given.
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

/** How many tokens of each text stay, as transformers does it; the library cuts pairs otherwise. */
function keptLengths(lengths: number[], room: number, strategy: Truncation): number[] {
  const [first = 0, second = 0] = lengths;
  const excess = first + second - room;
  if (excess <= 0) return lengths;
  if (strategy === 'only_first' && first > excess) return [first - excess, second];
  if (strategy === 'only_second' && second > excess) return [first, second - excess];
  if (strategy === 'longest_first' && room >= 0) {
    // The longer text is cut until both are equal, then both; an odd token is the longer one's.
    const shorter = Math.min(first, second, Math.floor(room / 2));
    return first > second ? [room - shorter, shorter] : [shorter, room - shorter];
  }
  throw new StepError(
    `truncation ${strategy} cannot make a pair of ${lengths.join(' and ')} tokens short enough: there is room for ${room}`,
    strategy === 'longest_first' ? 'Set a greater max_length.' : 'Use longest_first, or a greater max_length.',
    ['truncation'],
  );
}

/** What the model reads at once of a text or a pair. */
export interface Sequence {
  readonly ids: number[];
  /** It had more tokens than there was room for. */
  readonly truncated: boolean;
  /** token_type_ids: 0 for the first text and, in models that tell them apart, 1 for the second. */
  readonly typeIds: number[];
  /** Of each token: 0 in the first text, 1 in the second, null if it is special. */
  readonly sequenceIds: (number | null)[];
  /** Of each token the word that it is of, counted from 0 in each text; null if it is special. */
  readonly wordIds: (number | null)[];
  /** Of each token where it begins and ends in its text, in UTF-16 code units as JavaScript counts; [0, 0] if it is special. */
  readonly spans: [begin: number, end: number][];
}

/** So many tokens of each text, in their template. What nobody asks for is never made; the windows of a long text ask often. */
function joined(template: Template, texts: Read[], lengths: number[], side: Side): Sequence {
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
 * A whole sequence in windows of at most `maxLength` tokens, in the order of the text. Its last text is cut so that neighbours share
 * `stride` tokens, as `return_overflowing_tokens` does in transformers; the tokens around it, a question's too, are in every window. They
 * are counted from the end of the text where the tokenizer truncates on the left.
 * @throws StepError where these leave no room. (The library has windows, too, but ends the process where the stride is no smaller than the room.)
 */
export function windowsOf(whole: Sequence, windowing: Windowing): Sequence[] {
  return windowPlaces(whole, windowing).map((places) => windowAt(whole, places));
}

/** The same as places in the whole sequence. */
function windowPlaces({ ids, sequenceIds }: Sequence, { maxLength, stride = 0, truncationSide }: Windowing): number[][] {
  const all = [...ids.keys()];
  if (all.length <= maxLength) return [all];
  const last = Math.max(...sequenceIds.map((id) => id ?? 0));
  const begin = sequenceIds.indexOf(last);
  const end = sequenceIds.lastIndexOf(last) + 1;
  const room = maxLength - begin - (all.length - end);
  if (room < 1)
    throw new StepError(
      `a sequence of ${maxLength} tokens has no room for the text beside ${all.length - (end - begin)} others`,
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

/** Where each code point begins, in code units; the last is the text's length. */
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

/** A token with a meaning. */
export interface SpecialToken {
  token: string;
  id: number;
}

/** The token that stands for a hidden one. */
export const maskToken = (folder: string, tokenizer: Tokenizer): Promise<SpecialToken | undefined> =>
  specialToken('mask_token', ['[MASK]', '<mask>'], folder, tokenizer);

/** The token that ends a text. */
export const eosToken = (folder: string, tokenizer: Tokenizer): Promise<SpecialToken | undefined> =>
  specialToken('eos_token', ['<|endoftext|>', '</s>'], folder, tokenizer);

/** tokenizer_config.json or special_tokens_map.json names it, or it has one of its usual names. */
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

/** Copies a tokenizer from folder to folder, as a tokenizer.json whatever it was made of. */
export async function copyTokenizer(from: string, to: string): Promise<void> {
  await writeFile(path.join(to, 'tokenizer.json'), await tokenizerJson(from));
  for (const name of ['tokenizer_config.json', 'special_tokens_map.json']) {
    if (existsSync(path.join(from, name))) await copyFile(path.join(from, name), path.join(to, name));
  }
}

/** Whether two folders hold the same tokenizer; undefined where one of them has none. */
export async function sameTokenizer(a: string, b: string): Promise<boolean | undefined> {
  const [first, second] = await Promise.all([findTokenizerJson(a), findTokenizerJson(b)]);
  return first === undefined || second === undefined ? undefined : first === second;
}
