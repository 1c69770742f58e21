/**
 * What is done to a row's scores before a token is chosen, in transformers' order: repetition_penalty, no_repeat_ngram_size, no end
 * before the least length; and, where tokens are drawn, temperature, top_k, top_p, min_p. All of it in place, in float32.
 */
import { StepError } from '../../engine/step.ts';
import type { GenerationConfig } from './options.ts';

/** @param tokens the row's sequence, of which `begun` tokens were there before generation */
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

/** A token that would complete `size` tokens which are there already gets no chance. */
function forbidRepeats(scores: Float32Array, tokens: readonly number[], size: number): void {
  const last = tokens.length - size + 1; // where the tokens begin that a next one would complete
  for (let start = 0; start < last; start++) {
    let same = true;
    for (let i = 0; same && i < size - 1; i++) same = tokens[start + i] === tokens[last + i];
    const id = tokens[start + size - 1]!;
    if (same && id < scores.length) scores[id] = Number.NEGATIVE_INFINITY;
  }
}

function narrow(scores: Float32Array, { temperature, top_k, top_p, min_p, num_beams, eos_token_id }: GenerationConfig): void {
  // Beams need a token to go on with beside those that end.
  const least = num_beams > 1 ? eos_token_id.length + 1 : 1;
  if (temperature !== 1) for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! / temperature;
  if (top_k > 0) keepTop(scores, Math.max(top_k, least));
  if (top_p < 1) keepNucleus(scores, top_p, least);
  if (min_p !== undefined) keepNearBest(scores, min_p, least);
}

/** Those below the k-th highest go; of several as high as it all stay. */
function keepTop(scores: Float32Array, k: number): void {
  if (k >= scores.length) return;
  const lowest = kthHighest(scores, k);
  for (let i = 0; i < scores.length; i++) if (scores[i]! < lowest) scores[i] = Number.NEGATIVE_INFINITY;
}

/** By a heap of the k highest so far, the lowest of them on top: most scores are looked at once. */
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

/** From the least likely on, tokens go as long as together they have no more than 1 − top_p. */
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

/** The tokens that have a chance. */
function possible(scores: Float32Array): number[] {
  const ids: number[] = [];
  for (let id = 0; id < scores.length; id++) if (scores[id]! > Number.NEGATIVE_INFINITY) ids.push(id);
  return ids;
}

/** Logits to logarithms of probabilities, in place. */
export function logSoftmax(scores: Float32Array): void {
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < scores.length; i++) if (scores[i]! > highest) highest = scores[i]!;
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += Math.exp(scores[i]! - highest);
  const log = highest + Math.log(sum);
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! - log;
}

/** Weights that diverged make NaN of all scores; penalties and bans may leave no token at all. */
export function checkNumber(best: number): void {
  if (Number.isNaN(best))
    throw new StepError('the model gives scores that are not numbers', 'Its training diverged: train it again with a lower learning_rate.');
  if (best === Number.NEGATIVE_INFINITY)
    throw new StepError('no token is left that may come next', 'Loosen no_repeat_ngram_size, min_new_tokens or min_length.');
}
