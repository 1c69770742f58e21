/** Stopping criteria, and the inputs and results that all kinds of search share. */

import type { SearchDecoder } from './kv-cache.ts';
import { type GenerationConfig, longest } from './options.ts';

/** Why a text ended. */
export type Finish = 'eos_token' | 'stop_string' | 'length' | 'time';

export interface GeneratedTokens {
  /** The generated tokens, including the one that ended the text. */
  tokens: number[];
  finish: Finish;
}

export interface SearchOptions {
  config: GenerationConfig;
  /** Whether the last token of a sequence completes one of the stop strings; called only if there are some. */
  stops?: (tokens: readonly number[]) => Promise<boolean>;
  /**
   * Receives every token as it is chosen, with the index of its text. Beam search chooses only at the end and calls
   * it then.
   */
  onToken?: (text: number, token: number) => void | Promise<void>;
  /** Aborts the search with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Decides whether and why a sequence ends with its last token. */
export function endings(
  decoder: SearchDecoder,
  { config, stops }: SearchOptions,
): (tokens: readonly number[], begun: number) => Promise<Finish | undefined> {
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
