/**
 * Generation with any decoder: greedy decoding, sampling, or beam search (beams.ts). The result of a prompt does not
 * depend on the rest of the batch.
 */

import { random } from '../models/random.ts';
import { beamSearch } from './beam-search.ts';
import type { SearchDecoder } from './kv-cache.ts';
import { adjust, checkNumber } from './logits-processors.ts';
import { endings, type GeneratedTokens, type SearchOptions } from './stopping-criteria.ts';

/** `num_return_sequences` texts for each prompt, grouped by prompt. */
export async function search(
  decoder: SearchDecoder,
  prompts: readonly (readonly number[])[],
  options: SearchOptions,
): Promise<GeneratedTokens[]> {
  if (prompts.length === 0) return [];
  if (options.config.num_beams > 1) return beamSearch(decoder, prompts, options);
  const { config, onToken, signal } = options;
  const ends = endings(decoder, options);
  const rows = await decoder.start(prompts);
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
      scores.set(rows.logits.subarray(text.row * decoder.vocabulary, (text.row + 1) * decoder.vocabulary));
      adjust(scores, text.tokens, text.begun, config);
      const token = config.do_sample ? draw(scores, random(...text.drawn, text.tokens.length)()) : highest(scores);
      text.tokens.push(token);
      await onToken?.(text.place, token);
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
