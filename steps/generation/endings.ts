/** When and why a text ends, and what every kind of search takes and gives. */
import type { Decoder } from './decoder.ts';
import { type GenerationConfig, longest } from './options.ts';

/** Why a text ended. */
export type Finish = 'eos_token' | 'stop_string' | 'length' | 'time';

export interface Generated {
  /** What was generated, with the token that ended it. */
  tokens: number[];
  finish: Finish;
}

export interface SearchOptions {
  config: GenerationConfig;
  /** Whether generated tokens hold one of the stop strings; asked only where there are some. */
  stops?: (generated: number[]) => Promise<boolean>;
  /** Told of every token as it is chosen, with the place of its text; beams choose only at the end, and tell nothing before. */
  onToken?: (text: number, token: number) => void | Promise<void>;
  /** Ends it all, with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Tells whether and why a sequence ends with its last token. */
export function endings(
  decoder: Decoder,
  { config, stops }: SearchOptions,
): (tokens: readonly number[], begun: number) => Promise<Finish | undefined> {
  const ends = new Set(config.eos_token_id);
  const late = config.max_time === undefined ? Number.POSITIVE_INFINITY : performance.now() + 1000 * config.max_time;
  return async (tokens, begun) => {
    if (ends.has(tokens.at(-1)!)) return 'eos_token';
    if (config.stop_strings.length > 0 && (await stops!(tokens.slice(begun)))) return 'stop_string';
    if (tokens.length >= longest(config, begun, decoder.context)) return 'length';
    return performance.now() >= late ? 'time' : undefined;
  };
}
