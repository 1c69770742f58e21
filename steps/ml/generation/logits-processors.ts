/**
 * Logits processors, in place, in float32, in transformers' order: repetition_penalty, no_repeat_ngram_size, minimum length; and,
 * if sampling, temperature, top_k, top_p, min_p.
 */

import { StepError } from '../../../engine/contract/step.ts';
import type { GenerationConfig } from './options.ts';

/** @param tokens the row's sequence, whose first `begun` tokens are the prompt */
export function adjust(scores: Float32Array, tokens: readonly number[], begun: number, config: GenerationConfig): void {
  const { repetition_penalty, no_repeat_ngram_size, min_new_tokens, min_length, eos_token_id } = config;
  if (repetition_penalty !== 1) penalizeRepetition(scores, tokens, Math.fround(repetition_penalty));
  if (no_repeat_ngram_size > 0) forbidRepeats(scores, tokens, no_repeat_ngram_size);
  const least = min_new_tokens === undefined ? min_length : begun + min_new_tokens;
  if (tokens.length < least) for (const id of eos_token_id) scores[id] = Number.NEGATIVE_INFINITY;
  if (config.do_sample) narrow(scores, config);
}

function penalizeRepetition(scores: Float32Array, tokens: readonly number[], penalty: number): void {
  for (const id of new Set(tokens)) {
    const score = scores[id];
    if (score !== undefined) scores[id] = score < 0 ? score * penalty : score / penalty;
  }
}

/** Excludes every token that would repeat an n-gram of `size` tokens. */
function forbidRepeats(scores: Float32Array, tokens: readonly number[], size: number): void {
  const last = tokens.length - size + 1; // where the n-grams begin that the next token would repeat
  for (let start = 0; start < last; start++) {
    let same = true;
    for (let i = 0; same && i < size - 1; i++) same = tokens[start + i] === tokens[last + i];
    const id = tokens[start + size - 1]!;
    if (same && id < scores.length) scores[id] = Number.NEGATIVE_INFINITY;
  }
}

function narrow(scores: Float32Array, { temperature, top_k, top_p, min_p, num_beams, eos_token_id }: GenerationConfig): void {
  // Beam search needs a token to continue with besides those that end.
  const least = num_beams > 1 ? eos_token_id.length + 1 : 1;
  if (temperature !== 1) for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! / temperature;
  if (top_k > 0) keepTop(scores, Math.max(top_k, least));
  if (top_p < 1) keepNucleus(scores, top_p, least);
  if (min_p !== undefined) keepNearBest(scores, min_p, least);
}

/** Excludes scores below the k-th highest; ties with it all stay. */
function keepTop(scores: Float32Array, k: number): void {
  if (k >= scores.length) return;
  const lowest = kthHighest(scores, k);
  for (let i = 0; i < scores.length; i++) if (scores[i]! < lowest) scores[i] = Number.NEGATIVE_INFINITY;
}

/** By a heap of the k highest so far, with the lowest on top, so that most scores need one comparison. */
function kthHighest(scores: Float32Array, k: number): number {
  const heap = scores.slice(0, k).sort();
  for (let i = k; i < scores.length; i++) {
    const score = scores[i]!;
    if (score <= heap[0]!) continue;
    let at = 0;
    while (true) {
      let child = 2 * at + 1;
      if (child >= k) break;
      if (child + 1 < k && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= score) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = score;
  }
  return heap[0]!;
}

/** Excludes the least likely tokens, as long as their probabilities sum to at most 1 − top_p. */
function keepNucleus(scores: Float32Array, topP: number, least: number): void {
  const order = possible(scores).sort((a, b) => scores[a]! - scores[b]! || a - b);
  const highest = scores[order.at(-1)!]!;
  const weights = order.map((id) => Math.exp(scores[id]! - highest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let sum = 0;
  for (let i = 0; i < order.length - least; i++) {
    sum += weights[i]! / total;
    if (sum > 1 - topP) break;
    scores[order[i]!] = Number.NEGATIVE_INFINITY;
  }
}

function keepNearBest(scores: Float32Array, minP: number, least: number): void {
  const order = possible(scores).sort((a, b) => scores[b]! - scores[a]! || a - b);
  const lowest = scores[order[0]!]! + Math.log(minP);
  for (const id of order.slice(least)) if (scores[id]! < lowest) scores[id] = Number.NEGATIVE_INFINITY;
}

/** The tokens that are not excluded. */
function possible(scores: Float32Array): number[] {
  const ids: number[] = [];
  for (let id = 0; id < scores.length; id++) if (scores[id]! > Number.NEGATIVE_INFINITY) ids.push(id);
  return ids;
}

/** Converts logits to log probabilities, in place. */
export function logSoftmax(scores: Float32Array): void {
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < scores.length; i++) if (scores[i]! > highest) highest = scores[i]!;
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += Math.exp(scores[i]! - highest);
  const log = highest + Math.log(sum);
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! - log;
}

/** Weights that diverged make all scores NaN; penalties and bans may exclude every token. */
export function checkNumber(best: number): void {
  if (Number.isNaN(best))
    throw new StepError(
      'the model outputs scores that are not numbers',
      'Its training diverged: train it again with a lower learning_rate.',
    );
  if (best === Number.NEGATIVE_INFINITY)
    throw new StepError('every token is excluded: none may come next', 'Lower no_repeat_ngram_size, min_new_tokens or min_length.');
}
