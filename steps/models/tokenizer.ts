/** Text to ids with Hugging Face's own tokenizer library. */
import { existsSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Encoding, Tokenizer as Library } from 'tokenizers';
import { StepError } from '../../engine/step.ts';
import { beginning, readsWordByWord } from './beginnings.ts';
import { readJson } from './json.ts';
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
  /** With the special tokens that the model expects, in the order of the texts. */
  encode(texts: string[]): Promise<Sequence[]>;
  encodePairs(pairs: (readonly [text: string, pair: string])[]): Promise<Sequence[]>;
  /** Undefined for a token that is not in the vocabulary. */
  idOf(token: string): number | undefined;
  /** Ids as text, special tokens left out. */
  decode(ids: number[]): Promise<string>;
  /** One token as text, be it special. */
  decodeToken(id: number): Promise<string>;
}

export async function openTokenizer(folder: string, { maxLength, truncation = 'longest_first' }: TokenizerOptions): Promise<Tokenizer> {
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
  // In code units; without a maximum, where the end is kept, or where words depend on each other, texts are read whole.
  const begins = maxLength !== undefined && side === 'right' && readsWordByWord(parsed);
  const enough = begins ? maxLength * USUAL_WORD : Number.POSITIVE_INFINITY;
  return {
    size: 1 + Object.values(library.getVocab(true)).reduce((highest, id) => Math.max(highest, id), -1),
    specialIds: added.filter(({ special }) => special).map(({ id }) => id),
    encode: (texts) => encodeAll(library, texts, maxLength, side, enough),
    // The library's batches take no pairs; one by one they still run on several threads.
    encodePairs: (pairs) => Promise.all(pairs.map((pair) => encodePair(library, pair, maxLength, truncation, side, enough))),
    idOf: (token) => library.tokenToId(token) ?? undefined,
    decode: (ids) => library.decode(ids, true),
    decodeToken: (id) => library.decode([id], false),
  };
}

/** Code units that mostly make a token or more: of texts that are to be cut, so many times the tokens wanted are read first. */
const USUAL_WORD = 8;

async function encodeAll(
  library: Library,
  texts: string[],
  maxLength: number | undefined,
  side: Side,
  enough: number,
): Promise<Sequence[]> {
  const begun = texts.map((text) => beginning(text, enough));
  const encodings = await library.encodeBatch(begun, { addSpecialTokens: true });
  // A beginning that makes too few tokens, of very long words: the text is read whole.
  const again = [...texts.keys()].filter((i) => begun[i] !== texts[i] && encodings[i]!.getLength() <= maxLength!);
  if (again.length > 0) {
    const whole = again.map((i) => texts[i]!);
    for (const [k, encoding] of (await library.encodeBatch(whole, { addSpecialTokens: true })).entries()) encodings[again[k]!] = encoding;
  }
  return encodings.map((encoding, i) => {
    const sequence = sequenceOf(encoding, texts[i]!);
    return maxLength === undefined ? sequence : truncated(sequence, maxLength, 'longest_first', side);
  });
}

async function encodePair(
  library: Library,
  [text, pair]: readonly [string, string],
  maxLength: number | undefined,
  truncation: Truncation,
  side: Side,
  enough: number,
): Promise<Sequence> {
  // What the other strategies leave depends on the whole length of the other text.
  const from = truncation === 'longest_first' ? enough : Number.POSITIVE_INFINITY;
  const [first, second] = [beginning(text, from), beginning(pair, from)];
  const read = async (a: string, b: string) => sequenceOf(await library.encode(a, b, { addSpecialTokens: true }), text, pair);
  const sequence = await read(first, second);
  if (maxLength === undefined) return sequence;
  const begun = [first !== text, second !== pair] as const;
  const sure = begun.includes(true) ? longestIsKnown(lengthsOf(sequence), begun, maxLength, sequence.ids.length) : true;
  return truncated(sure ? sequence : await read(text, pair), maxLength, truncation, side);
}

/**
 * Whether longest_first leaves the same of a pair of which only the beginnings were read. A beginning is as good as its text if it
 * alone fills the sequence; then what counts is only which text is the longer one, and only where an odd token is to be given.
 */
function longestIsKnown([first, second]: [number, number], begun: readonly [boolean, boolean], maxLength: number, all: number): boolean {
  if ((begun[0] && first < maxLength) || (begun[1] && second < maxLength)) return false;
  const room = maxLength - (all - first - second);
  if (room % 2 === 0) return true;
  return begun[0] ? !begun[1] && first > second : second >= first;
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

/** What nobody asks for is never made; the windows of a long text ask often. */
function sequenceOf(encoding: Encoding, ...texts: string[]): Sequence {
  const typeIds = once(() => encoding.getTypeIds());
  const sequenceIds = once(() => encoding.getSequenceIds() as (number | null)[]);
  const wordIds = once(() => encoding.getWordIds() as (number | null)[]);
  const spans = once(() => {
    const spans = encoding.getOffsets() as [number, number][];
    // The library counts code points.
    const units = texts.map((text) => (/[\ud800-\udfff]/.test(text) ? codeUnits(text) : undefined));
    if (!units.some(Boolean)) return spans;
    return spans.map(([begin, end], i): [number, number] => {
      const map = units[sequenceIds()[i] ?? -1];
      return map ? [map[begin]!, map[end]!] : [begin, end];
    });
  });
  return lazily(encoding.getIds(), false, { typeIds, sequenceIds, wordIds, spans });
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

/**
 * The first `maxLength` tokens, or the last, those that the template puts around the texts kept. As transformers does; the library cuts
 * pairs otherwise.
 * @param side where tokens are taken away
 */
export function truncated(whole: Sequence, maxLength: number, strategy: Truncation = 'longest_first', side: Side = 'right'): Sequence {
  const excess = whole.ids.length - maxLength;
  if (excess <= 0) return whole;
  const { sequenceIds } = whole;
  const lengths = lengthsOf(whole);
  const kept = keptLengths(lengths, excess, strategy);
  if (!kept)
    throw new StepError(
      `truncation ${strategy} cannot make a pair of ${lengths.join(' and ')} tokens short enough: the other text alone fills ${maxLength}`,
      strategy === 'longest_first' ? 'Set a greater max_length.' : 'Use longest_first, or a greater max_length.',
      ['truncation'],
    );
  const from = side === 'left' ? [lengths[0] - kept[0], lengths[1] - kept[1]] : [0, 0];
  const met = [0, 0];
  const places = [...sequenceIds.keys()].filter((i) => {
    const text = sequenceIds[i] as 0 | 1 | null;
    if (text === null) return true;
    const place = met[text]!++;
    return place >= from[text]! && place < from[text]! + kept[text];
  });
  return windowAt(whole, places, true);
}

/** Where a text that is too long loses tokens. */
type Side = 'left' | 'right';

/** As tokenizer_config.json names it. */
async function truncationSide(folder: string): Promise<Side> {
  const file = path.join(folder, 'tokenizer_config.json');
  return existsSync(file) && (await readJson(file)).truncation_side === 'left' ? 'left' : 'right';
}

/** Tokens of each text. */
function lengthsOf({ sequenceIds }: Sequence): [number, number] {
  const lengths: [number, number] = [0, 0];
  for (const text of sequenceIds) if (text !== null) lengths[text as 0 | 1]++;
  return lengths;
}

/** How many tokens of each text stay; undefined where the strategy cannot take away enough. */
function keptLengths([first, second]: [number, number], excess: number, strategy: Truncation): [number, number] | undefined {
  if (strategy === 'only_first') return first > excess || second === 0 ? [Math.max(0, first - excess), second] : undefined;
  if (strategy === 'only_second') return second > excess ? [first, second - excess] : undefined;
  const room = first + second - excess;
  if (room < 0) return undefined;
  // The longer text is cut until both are equal, then both; an odd token is the longer one's.
  const shorter = Math.min(first, second, Math.floor(room / 2));
  return first > second ? [room - shorter, shorter] : [shorter, room - shorter];
}

/**
 * A whole sequence in windows of at most `maxLength` tokens. Its last text is cut so that neighbours share `stride` tokens,
 * as `return_overflowing_tokens` does in transformers; the tokens around it, a question's too, are in every window.
 * Undefined where these leave no room. (The library has windows, too, but ends the process where the stride is no smaller than the room.)
 */
export function windowsOf(whole: Sequence, maxLength: number, stride: number): Sequence[] | undefined {
  return windowPlaces(whole, maxLength, stride)?.map((places) => windowAt(whole, places));
}

/** The same as places in the whole sequence: for values that belong to its tokens. */
export function windowPlaces({ ids, sequenceIds }: Sequence, maxLength: number, stride: number): number[][] | undefined {
  const all = [...ids.keys()];
  if (all.length <= maxLength) return [all];
  const last = Math.max(...sequenceIds.map((id) => id ?? 0));
  const begin = sequenceIds.indexOf(last);
  const end = sequenceIds.lastIndexOf(last) + 1;
  const room = maxLength - begin - (all.length - end);
  if (room < 1) return undefined;
  // A question may leave less room than the stride.
  const step = room > stride ? room - stride : Math.ceil(room / 2);
  const windows: number[][] = [];
  for (let from = begin; ; from += step) {
    const to = Math.min(end, from + room);
    windows.push([...all.slice(0, begin), ...all.slice(from, to), ...all.slice(end)]);
    if (to === end) return windows;
  }
}

export function windowAt(whole: Sequence, places: number[], truncated = false): Sequence {
  if (places.length === whole.ids.length) return whole;
  const cut = <T>(values: T[]): T[] => places.map((i) => values[i]!);
  return lazily(cut(whole.ids), truncated, {
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
