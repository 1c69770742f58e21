/**
 * Extractive question answering: the answer is a span of the context, or there is none. A long context is split into
 * overlapping windows; the best span of all windows wins. The selection is that of transformers' run_qa for SQuAD 2:
 * the 20 best starts and ends of each window, no answer longer than 30 tokens, and no answer at all if in every
 * window the scores of the first token, [CLS], are higher than those of the best span.
 */
import { StepError } from '../../engine/step.ts';
import { answerMetrics } from '../metrics/answers.ts';
import { type Sequence, type Windowing, windowsOf } from '../models/tokenizer.ts';
import { logSoftmax, type Measurement, type Measuring, type Outputs, rounded, type TaskKind, tokensOf } from './task.ts';

/** Logits of a window's tokens as the first and the last token of the answer. */
interface Ends {
  starts: Float32Array;
  ends: Float32Array;
}

export const questionAnswering: TaskKind<Ends> = {
  task: 'question-answering',
  fields: [{ name: 'question' }, { name: 'context' }],
  tokenizing: () => ({}),

  async encode(inputs, { tokenizer, encoding }) {
    const whole = await tokenizer.encodePairs(inputs.map(({ question, context }) => [question!, context!]));
    const { max_length, stride = defaultStride(max_length!) } = encoding;
    const windowing = { maxLength: max_length!, stride, truncationSide: tokenizer.truncationSide };
    return whole.map((sequence) => questionWindows(sequence, windowing));
  },

  read: (outputs, row, { ids }) => read(outputs, row, ids.length),

  answer({ context }, sequences, results) {
    const found = select(
      sequences.map((sequence, w) => ({ spans: contextSpans(sequence), ...results[w]! })),
      context!,
    );
    return { answer: found.text, start: found.start, end: found.end, score: rounded(found.score) };
  },

  measure,
};

const read = ({ start_logits, end_logits }: Outputs, row: number, length: number): Ends => ({
  starts: tokensOf(start_logits!, row, length),
  ends: tokensOf(end_logits!, row, length),
});

/** transformers' default of doc_stride, or less if windows are short. */
export const defaultStride = (maxLength: number): number => Math.min(128, Math.floor(maxLength / 4));

function questionWindows(whole: Sequence, windowing: Windowing): Sequence[] {
  const question = whole.sequenceIds.filter((id) => id === 0).length;
  const others = whole.sequenceIds.filter((id) => id !== 1).length;
  if (whole.ids.length > windowing.maxLength && others >= windowing.maxLength)
    throw new StepError(
      `the question has ${question} tokens, so a sequence of ${windowing.maxLength} tokens leaves no room for its context`,
      'Shorten the question, or set a greater max_length.',
    );
  return windowsOf(whole, windowing);
}

/** The position of each token in the context; undefined for all other tokens. */
export function contextSpans({ spans, sequenceIds }: Sequence): ([begin: number, end: number] | undefined)[] {
  return spans.map((span, i) => (sequenceIds[i] === 1 && span[0] < span[1] ? span : undefined));
}

interface Answer {
  text: string;
  /** Characters of the context; 0 and 0 if there is no answer. */
  start: number;
  end: number;
  /** Its probability among the best answers, which include "no answer". */
  score: number;
}

interface Window extends Ends {
  spans: ([number, number] | undefined)[];
}

function select(windows: Window[], context: string): Answer {
  let none = Number.POSITIVE_INFINITY;
  let candidates: { start: number; end: number; logit: number }[] = [];
  for (const { spans, starts, ends } of windows) {
    none = Math.min(none, starts[0]! + ends[0]!);
    const lasts = highest(ends);
    for (const from of highest(starts)) {
      for (const to of lasts) {
        if (!spans[from] || !spans[to] || to < from || to - from + 1 > LONGEST) continue;
        candidates.push({ start: spans[from]![0], end: spans[to]![1], logit: starts[from]! + ends[to]! });
      }
    }
  }
  candidates.sort((a, b) => b.logit - a.logit);
  // "No answer" is a candidate too if it is among the best.
  candidates = candidates.slice(0, none > (candidates[BEST - 1]?.logit ?? Number.NEGATIVE_INFINITY) ? BEST - 1 : BEST);
  const logs = logSoftmax([none, ...candidates.map(({ logit }) => logit)]);
  const [first] = candidates;
  if (!first || none > first.logit) return { text: '', start: 0, end: 0, score: Math.exp(logs[0]!) };
  return { text: context.slice(first.start, first.end), start: first.start, end: first.end, score: Math.exp(logs[1]!) };
}

const BEST = 20;

/** Length limit in tokens. */
const LONGEST = 30;

/** The positions of the highest logits, the highest first. */
function highest(logits: Float32Array): number[] {
  return Array.from(logits, (_, i) => i)
    .sort((a, b) => logits[b]! - logits[a]!)
    .slice(0, BEST);
}

function measure({ metrics, split }: Measuring): Measurement<Ends> {
  // Running sums, because the answers of a large split would take much memory.
  const sums = new Map<string, number>();
  let [rows, unanswerable, unanswered] = [0, 0, 0];
  let loss = 0;
  let windows = 0;
  return {
    read,
    add({ question, context, answers }, first, results) {
      const read = results.map(({ starts, ends }, w) => {
        const sequence = first + w;
        const begins = new Int32Array(split.length(sequence));
        const stops = new Int32Array(split.length(sequence));
        split.read('span_begins', sequence, begins, 0);
        split.read('span_ends', sequence, stops, 0);
        loss -=
          (logSoftmax(starts)[split.values('start_positions', sequence)![0]!]! +
            logSoftmax(ends)[split.values('end_positions', sequence)![0]!]!) /
          2;
        windows++;
        return {
          starts,
          ends,
          spans: Array.from(begins, (begin, i): [number, number] | undefined => (begin < 0 ? undefined : [begin, stops[i]!])),
        };
      });
      const found = select(read, context as string);
      const own = answerMetrics([{ truth: answers as string[], predicted: found.text }], metrics);
      for (const [name, value] of Object.entries(own)) sums.set(name, (sums.get(name) ?? 0) + value);
      rows++;
      if ((answers as string[]).length === 0) unanswerable++;
      if (found.text === '') unanswered++;
      return {
        question: question!,
        answers: answers!,
        predicted: found.text,
        start: found.start,
        end: found.end,
        score: rounded(found.score),
      };
    },
    metrics: () => ({ loss: loss / windows, ...Object.fromEntries(metrics.map((name) => [name, sums.get(name)! / rows])) }),
    report: () => ({ unanswerable }),
    warnings: () =>
      unanswered === rows && rows > 1 && unanswerable < rows ? ['the model predicts for every question that it has no answer'] : [],
  };
}
