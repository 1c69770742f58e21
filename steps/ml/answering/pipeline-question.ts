/**
 * The answers of transformers' pipeline for questions (version 4; version 5 has none): the spans of all windows with the highest product
 * of the probabilities of their first and last token.
 */
import type { Json } from '../../../engine/contract/step.ts';
import type { Sequence } from '../models/tokenizer.ts';
import type { EncodedInput } from '../tasks/encoder.ts';
import { contextSpans, type Ends } from '../tasks/question-answering.ts';
import { type AskedWindows, logSoftmax, refuseNaN, rounded } from '../tasks/task.ts';

export interface QuestionParameters {
  top_k?: number;
  max_seq_len?: number;
  doc_stride?: number;
  max_question_len?: number;
  /** In tokens. */
  max_answer_len?: number;
  handle_impossible_answer?: boolean;
  align_to_words?: boolean;
}

/** @param maxLength the most tokens that the model reads */
export function windowsAsked({ max_seq_len, doc_stride, max_question_len }: QuestionParameters, maxLength: number): AskedWindows {
  return {
    maxLength: max_seq_len ?? Math.min(maxLength, USUAL_LENGTH),
    ...(doc_stride !== undefined && { stride: doc_stride }),
    ...(max_question_len !== undefined && { question: max_question_len }),
  };
}

const USUAL_LENGTH = 384;

interface FoundAnswer {
  text: string;
  score: number;
  start: number;
  end: number;
}

/** One answer, or a list of several. `place`: converts positions of the context. */
export function foundAnswers(
  { input, sequences }: EncodedInput,
  results: readonly Ends[],
  { top_k = 1, max_answer_len = 15, handle_impossible_answer = false, align_to_words = true }: QuestionParameters,
  place: (unit: number) => number,
): Json {
  const context = input.context!;
  const found = new Map<string, FoundAnswer>();
  let none = Number.POSITIVE_INFINITY;
  for (const [w, sequence] of sequences.entries()) {
    const { candidates, nothing } = candidatesOf(sequence, results[w]!, {
      count: align_to_words ? 2 * top_k + 10 : top_k,
      longest: max_answer_len,
    });
    none = Math.min(none, nothing);
    for (const { from, to, score } of candidates) {
      const [start, end] = align_to_words
        ? [wordAt(sequence, from)[0], wordAt(sequence, to)[1]]
        : [sequence.spans[from]![0], sequence.spans[to]![1]];
      const text = context.slice(start, end);
      // Spans of equal texts are one answer, which keeps the place of the first.
      const known = found.get(text.toLowerCase());
      if (known) known.score += score;
      else found.set(text.toLowerCase(), { text, score, start, end });
    }
  }
  const answers = [...found.values(), ...(handle_impossible_answer ? [{ text: '', score: none, start: 0, end: 0 }] : [])]
    .sort((a, b) => b.score - a.score)
    .slice(0, top_k)
    .map(({ text, score, start, end }) => ({ score: rounded(score), start: place(start), end: place(end), answer: text }));
  return answers.length === 1 ? answers[0]! : answers;
}

interface Candidate {
  from: number;
  to: number;
  score: number;
}

/** The best spans of a window, and the probability that it has no answer. */
function candidatesOf(
  sequence: Sequence,
  { starts, ends }: Ends,
  { count, longest }: { count: number; longest: number },
): { candidates: Candidate[]; nothing: number } {
  const allowed = contextSpans(sequence).map((span) => span !== undefined);
  const [first, last] = [probabilities(starts, allowed), probabilities(ends, allowed)];
  const candidates: Candidate[] = [];
  for (let from = 1; from < allowed.length; from++) {
    if (!allowed[from]) continue;
    for (let to = from; to < Math.min(from + longest, allowed.length); to++) {
      if (!allowed[to]) continue;
      const score = first[from]! * last[to]!;
      if (candidates.length === count && score <= candidates.at(-1)!.score) continue;
      const at = candidates.findIndex((other) => other.score < score);
      candidates.splice(at < 0 ? candidates.length : at, 0, { from, to, score });
      if (candidates.length > count) candidates.pop();
    }
  }
  return { candidates, nothing: first[0]! * last[0]! };
}

/** Of the tokens of the context, and of the first token, which stands for no answer. */
function probabilities(logits: Float32Array, allowed: readonly boolean[]): Float64Array {
  const own = Float64Array.from(logits, (logit, i) => (i === 0 || allowed[i] ? logit : Number.NEGATIVE_INFINITY));
  const shares = logSoftmax(own).map(Math.exp);
  refuseNaN(shares[0]!);
  return shares;
}

/** The characters of the word of a token, as far as the window has them. */
function wordAt({ wordIds, sequenceIds, spans }: Sequence, token: number): [begin: number, end: number] {
  const same = (i: number) => wordIds[i] === wordIds[token] && sequenceIds[i] === 1;
  let [from, to] = [token, token];
  while (wordIds[token] !== null && same(from - 1)) from--;
  while (wordIds[token] !== null && same(to + 1)) to++;
  return [spans[from]![0], spans[to]![1]];
}
