/** Greedy decoding, sampling and beam search, and what ends a text. The result of a prompt does not depend on the rest of its batch. */

import { random } from '../models/random.ts';
import type { SearchDecoder, SearchRows } from './decoder.ts';
import { adjust, checkNumber, logSoftmax } from './logits-processors.ts';
import { type GenerationConfig, longest } from './options.ts';

export interface GeneratedTokens {
  /** The generated tokens, including the one that ended the text. */
  tokens: number[];
  finish: Finish;
}

/** What the model itself predicted for a token: no option of generation changes it. */
export interface TokenPrediction {
  /** The natural logarithm of its probability. */
  logprob: number;
  /** The most likely tokens, the most likely first. */
  top: { id: number; logprob: number }[];
}

/** Why a text ended. */
type Finish = 'eos_token' | 'stop_string' | 'length' | 'time';

interface SearchOptions {
  config: GenerationConfig;
  /** Whether the last token of a sequence completes one of the stop strings; called only if there are some. */
  stops?: (tokens: readonly number[]) => Promise<boolean>;
  /** Receives every token as it is chosen, with the index of its text. Beam search chooses only at the end, and does not call it. */
  onToken?: (text: number, token: number, prediction: TokenPrediction | undefined) => void | Promise<void>;
  /** The number of likely tokens in predictions. Without it there are no predictions. */
  predictions?: number | undefined;
  /** Aborts the search with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** `num_return_sequences` texts for each prompt, grouped by prompt. */
export async function search(
  decoder: SearchDecoder,
  prompts: readonly (readonly number[])[],
  options: SearchOptions,
): Promise<GeneratedTokens[]> {
  if (prompts.length === 0) return [];
  const ends = endings(decoder, options);
  const rows = await decoder.start(prompts, options.signal);
  try {
    return await (options.config.num_beams > 1 ? beamSearch : eachText)(decoder, prompts, rows, ends, options);
  } finally {
    rows.end();
  }
}

/** Greedy decoding and sampling. */
async function eachText(
  decoder: SearchDecoder,
  prompts: readonly (readonly number[])[],
  rows: SearchRows,
  ends: Endings,
  { config, onToken, predictions, signal }: SearchOptions,
): Promise<GeneratedTokens[]> {
  const repeats = config.num_return_sequences;
  const texts: Text[] = prompts.flatMap((prompt, row) =>
    Array.from({ length: repeats }, (_, again) => ({
      place: row * repeats + again,
      row,
      tokens: [...rows.begun[row]!],
      begun: rows.begun[row]!.length,
      drawn: ['generate', config.seed, again, ...prompt],
    })),
  );
  const done: GeneratedTokens[] = [];
  const scores = new Float32Array(decoder.vocabulary);
  let alive = texts;
  while (true) {
    signal?.throwIfAborted();
    const going: Text[] = [];
    for (const text of alive) {
      const logits = rows.logits.subarray(text.row * decoder.vocabulary, (text.row + 1) * decoder.vocabulary);
      scores.set(logits);
      adjust(scores, text.tokens, text.begun, config);
      const token = config.do_sample ? draw(scores, random(...text.drawn, text.tokens.length)()) : highest(scores);
      const prediction = predictions === undefined ? undefined : predictionOf(logits, token, predictions);
      text.tokens.push(token);
      await onToken?.(text.place, token, prediction);
      const finish = await ends(text.tokens, text.begun);
      if (finish) done[text.place] = { tokens: text.tokens.slice(text.begun), finish };
      else going.push(text);
    }
    if (going.length === 0) return done;
    await rows.advance(
      going.map(({ row }) => row),
      going.map(({ tokens }) => tokens.at(-1)!),
    );
    for (const [row, text] of going.entries()) text.row = row;
    alive = going;
  }
}

interface Text {
  place: number;
  row: number;
  tokens: number[];
  begun: number;
  /** Random numbers are a function of these and the position. */
  drawn: (string | number)[];
}

function predictionOf(logits: Float32Array, token: number, count: number): TokenPrediction {
  const logs = logits.slice();
  logSoftmax(logs);
  const top: { key: number; id: number }[] = [];
  if (count > 0) for (const [id, key] of logs.entries()) if (top.length < count || key > top.at(-1)!.key) insert(top, { key, id }, count);
  return { logprob: logs[token]!, top: top.map(({ id, key }) => ({ id, logprob: key })) };
}

/** The first of equals. */
function highest(scores: Float32Array): number {
  let token = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[token]!) token = i;
  checkNumber(scores[token]!);
  return token;
}

/** The token at this share (0 ≤ `share` < 1) of the cumulative distribution. */
function draw(scores: Float32Array, share: number): number {
  const top = scores[highest(scores)]!;
  let total = 0;
  for (let i = 0; i < scores.length; i++) total += Math.exp(scores[i]! - top);
  let left = share * total;
  let last = 0;
  for (let i = 0; i < scores.length; i++) {
    const weight = Math.exp(scores[i]! - top);
    if (weight === 0) continue;
    left -= weight;
    last = i;
    if (left < 0) break;
  }
  return last;
}

/** The stopping criteria: whether and why a sequence ends with its last token. */
type Endings = (tokens: readonly number[], begun: number) => Promise<Finish | undefined>;

function endings(decoder: SearchDecoder, { config, stops }: SearchOptions): Endings {
  const ends = new Set(config.eos_token_id);
  const late = config.max_time === undefined ? Number.POSITIVE_INFINITY : performance.now() + 1000 * config.max_time;
  return async (tokens, begun) => {
    if (ends.has(tokens.at(-1)!)) return 'eos_token';
    if (config.stop_strings.length > 0 && (await stops!(tokens))) return 'stop_string';
    if (tokens.length >= longest(config, begun, decoder.context)) return 'length';
    return performance.now() >= late ? 'time' : undefined;
  };
}

/**
 * Beam search as in transformers: of the best continuations of a prompt's beams, those that end compete with the finished ones,
 * and the best others are the next beams. Scores are float32 sums, and −1e9 marks excluded candidates.
 */
async function beamSearch(
  decoder: SearchDecoder,
  prompts: readonly (readonly number[])[],
  rows: SearchRows,
  ends: Endings,
  options: SearchOptions,
): Promise<GeneratedTokens[]> {
  const { config, signal } = options;
  const items = prompts.map((prompt, row) => begin(prompt, row, rows, decoder, options));
  let open = items;
  while (open.length > 0) {
    signal?.throwIfAborted();
    for (const item of open) await step(item, rows, decoder, options, ends);
    open = open.filter(({ over }) => !over);
    const beams = open.flatMap(({ running }) => running);
    if (beams.length === 0) break;
    await rows.advance(
      beams.map(({ row }) => row),
      beams.map(({ tokens }) => tokens.at(-1)!),
    );
    for (const [row, beam] of beams.entries()) beam.row = row;
  }
  return items.flatMap(({ finished, begun }) =>
    finished.slice(0, config.num_return_sequences).map(({ tokens, finish }) => ({ tokens: tokens.slice(begun), finish })),
  );
}

interface Beam {
  row: number;
  tokens: readonly number[];
  score: number;
}

interface Ended {
  tokens: readonly number[];
  score: number;
  done: boolean;
  finish: Finish;
}

/** A prompt and its beams. */
interface Item {
  begun: number;
  /** The length at which a sequence is cut off. */
  longest: number;
  running: Beam[];
  /** The best finished sequences, best first; `done` is false for an empty slot. */
  finished: Ended[];
  over: boolean;
  drawn: (string | number)[];
}

function begin(prompt: readonly number[], row: number, rows: SearchRows, decoder: SearchDecoder, { config }: SearchOptions): Item {
  const tokens = rows.begun[row]!;
  return {
    begun: tokens.length,
    longest: longest(config, tokens.length, decoder.context),
    // All beams are equal so far: only the first counts, otherwise they would all choose the same tokens.
    running: Array.from({ length: config.num_beams }, (_, i) => ({ row, tokens, score: i === 0 ? 0 : NEVER })),
    finished: Array.from({ length: config.num_beams }, () => ({ tokens, score: NEVER, done: false, finish: 'time' })),
    over: false,
    drawn: ['beams', config.seed, ...prompt],
  };
}

const NEVER = -1e9;

async function step(item: Item, rows: SearchRows, decoder: SearchDecoder, options: SearchOptions, ends: Endings): Promise<void> {
  const { config } = options;
  const { num_beams, length_penalty, early_stopping } = config;
  const candidates = await Promise.all(
    continuations(item, rows, decoder, options).map(async ({ beam, token, score }) => {
      const { row, tokens } = item.running[beam]!;
      const longer = [...tokens, token];
      return { row, tokens: longer, score, finish: await ends(longer, item.begun) };
    }),
  );

  const full = item.finished.every(({ done }) => done);
  const length = item.running[0]!.tokens.length + 1;
  const ended = candidates.map(({ tokens, score, finish }, i): Ended => {
    // Only the best may end: the others are there so that enough beams can continue.
    const done = finish !== undefined && i < num_beams;
    let penalized = Math.fround(score / (length - item.begun) ** length_penalty);
    if (full && early_stopping === true) penalized = Math.fround(penalized + NEVER);
    if (!done) penalized = Math.fround(penalized + NEVER);
    return { tokens, score: penalized, done, finish: finish ?? 'time' };
  });
  item.finished = best([...item.finished, ...ended], num_beams);
  item.running = best(
    candidates.map(({ row, tokens, score, finish }) => ({ row, tokens, score: finish ? Math.fround(score + NEVER) : score })),
    num_beams,
  );

  const hopeful = mayImprove(item, length, options);
  const complete = early_stopping === true && item.finished.every(({ done }) => done);
  item.over = !hopeful || complete || candidates.every(({ finish }) => finish !== undefined);
}

interface Continuation {
  beam: number;
  token: number;
  /** The index of the beam and the token together. */
  score: number;
}

/** Enough candidates that all beams can continue, whatever ends: the best ones, or a sample by their scores. */
function continuations(
  { running, begun, drawn }: Item,
  rows: SearchRows,
  { vocabulary }: SearchDecoder,
  { config }: SearchOptions,
): Continuation[] {
  const count = Math.max(2, 1 + config.eos_token_id.length) * config.num_beams;
  const chosen: (Continuation & { key: number })[] = [];
  const scores = new Float32Array(vocabulary);
  for (const [beam, { row, tokens, score: before }] of running.entries()) {
    scores.set(rows.logits.subarray(row * vocabulary, (row + 1) * vocabulary));
    checkNumber(scores[0]!);
    logSoftmax(scores);
    adjust(scores, tokens, begun, config);
    // The highest scores plus Gumbel noise are a sample without replacement.
    const noise = config.do_sample ? random(...drawn, beam, tokens.length) : undefined;
    for (let token = 0; token < vocabulary; token++) {
      if (scores[token] === Number.NEGATIVE_INFINITY && chosen.length >= count) continue;
      const score = Math.fround(scores[token]! + before);
      const key = noise ? score - Math.log(-Math.log(1 - noise())) : score;
      if (chosen.length < count || key > chosen.at(-1)!.key) insert(chosen, { beam, token, score, key }, count);
    }
  }
  return chosen;
}

/** Inserts into a descending list, after equal scores; the lowest is dropped if there are more than `count`. */
function insert<T extends { key: number }>(list: T[], one: T, count: number): void {
  let at = list.length;
  while (at > 0 && !(list[at - 1]!.key >= one.key)) at--;
  list.splice(at, 0, one);
  if (list.length > count) list.pop();
}

/** In descending order, stable. */
const best = <T extends { score: number }>(list: T[], count: number): T[] => list.toSorted((a, b) => b.score - a.score).slice(0, count);

/** Whether a running beam could still become better than the worst finished one, as far as can be estimated. */
function mayImprove(item: Item, length: number, { config }: SearchOptions): boolean {
  const { early_stopping, length_penalty } = config;
  const hoped = early_stopping === 'never' && length_penalty > 0 ? item.longest : length;
  const possible = Math.fround(item.running[0]!.score / (hoped - item.begun) ** length_penalty);
  const worst = Math.min(...item.finished.map(({ score }) => score));
  return item.finished.some(({ done }) => possible > (done ? worst : NEVER));
}

/**
 * Whether the last token completes a stop string, as in transformers' StopStringCriteria: the string may begin in the
 * prompt, and the token may continue after it. `decode`: the tokenizer's.
 */
export async function completesStop(
  tokens: readonly number[],
  stopStrings: readonly string[],
  decode: (ids: number[]) => Promise<string>,
): Promise<boolean> {
  const longest = Math.max(...stopStrings.map((text) => Buffer.byteLength(text)));
  // Earlier tokens were checked as they came.
  const last = tokens.slice(-(longest + LEAD));
  const [before, text] = await Promise.all([decode(last.slice(0, -1)), decode(last)]);
  let same = 0;
  while (same < before.length && before[same] === text[same]) same++;
  return stopStrings.some((stop) => text.indexOf(stop, Math.max(0, same - stop.length + 1)) >= 0);
}

/** More tokens than a stop string can have: a decoder may treat the first tokens of a text differently. */
const LEAD = 4;
