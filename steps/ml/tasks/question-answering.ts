/**
 * Extractive question answering: the answer is a span of the context, or there is none. A long context is split into
 * overlapping windows; the best span of all windows wins. The selection is that of transformers' run_qa for SQuAD 2:
 * the 20 best starts and ends of each window, no answer longer than 30 tokens, and no answer at all if in every
 * window the scores of the first token, [CLS], are higher than those of the best span.
 */

import { type Json, StepError } from '../../../engine/contract/step.ts';
import type { Row } from '../data/database.ts';
import { quote } from '../data/sql.ts';
import { requireColumn } from '../data/table.ts';
import { ANSWERS, answerMetrics } from '../metrics/answers.ts';
import { PerExample } from '../metrics/per-example.ts';
import { type Sequence, type Windowing, windowAt, windowsOf } from '../models/tokenizer.ts';
import { metricNames } from './metrics.ts';
import { openScorer } from './scorer.ts';
import {
  type AskedWindows,
  type BaselineRequest,
  type BaselineResult,
  logSoftmax,
  type Measurement,
  type Measuring,
  type Outputs,
  objectSchema,
  type Preparation,
  type PreparationContext,
  placeSchema,
  refuseNaN,
  rounded,
  shareSchema,
  type TaskKind,
  tokensOf,
} from './task.ts';

/** Logits of a window's tokens as the first and the last token of the answer. */
export interface Ends {
  starts: Float32Array;
  ends: Float32Array;
}

export const questionAnswering: TaskKind<Ends> = {
  task: 'question-answering',
  fields: [{ name: 'question' }, { name: 'context' }],
  prepare,
  tokenizing: () => ({}),

  async encode(inputs, { tokenizer, encoding, asked }) {
    const whole = await tokenizer.encodePairs(inputs.map(({ question, context }) => [question!, context!]));
    if (asked) return whole.map((sequence) => askedWindows(sequence, asked, tokenizer.truncationSide));
    const { max_length, stride = defaultStride(max_length!) } = encoding;
    const windowing = { maxLength: max_length!, stride, truncationSide: tokenizer.truncationSide };
    return whole.map((sequence) => questionWindows(sequence, windowing));
  },

  read: (outputs, row, { ids }) => read(outputs, row, ids.length),

  answer({ context }, sequences, results) {
    const best = select(
      sequences.map((sequence, w) => ({ spans: contextSpans(sequence), ...results[w]! })),
      context!,
    );
    return { answer: best.text, start: best.start, end: best.end, score: rounded(best.score) };
  },

  measure,
  baseline,

  async show({ ids, values, tokenizer }) {
    const [start = 0, end = 0] = ['start_positions', 'end_positions'].map((column) => values(column)[0]);
    return { target: start === 0 && end === 0 ? '(not in this window)' : await tokenizer.decode(ids.slice(start, end + 1)) };
  },

  card: {
    hubTask: 'question-answering',
    // transformers 5 has no pipeline for it any more.
    loader: 'AutoModelForQuestionAnswering',
    purpose: () => 'finds the answer to a question in a text, or reports that there is none',
    longInput: ({ max_length, stride }) =>
      `a question and context of more than ${max_length} tokens are split into windows that share ${stride} tokens of the context`,
    example: () => ({
      input: { question: 'Who wrote it?', context: 'Ada wrote it in 1843.' },
      answer: { answer: 'Ada', start: 0, end: 3, score: 0.97 },
    }),
  },
  page: { button: 'Answer', title: () => 'Finds the answer to a question in a text' },
  answerSchema: () =>
    objectSchema({
      answer: { type: 'string', description: 'A span of the context; empty if the context contains no answer.' },
      start: placeSchema,
      end: placeSchema,
      score: shareSchema,
    }),
};

/*
 * Rows: questions, contexts and the positions of the answers, as in SQuAD. A long context is split into windows that
 * overlap.
 */

interface Asked extends Row {
  id: string;
  question: string;
  context: string;
  /** JSON, or null. */
  answers: string | null;
}

interface GoldAnswer {
  text: string;
  /** In the context, in UTF-16 code units. */
  start: number;
}

async function prepare(source: PreparationContext): Promise<Preparation<Asked>> {
  const { options, maxLength } = source;
  const [question, context, answers] = [options.question ?? 'question', options.context ?? 'context', options.answers ?? 'answers'];
  await refuseMissing(source, question, context);
  requireColumn(source.columns, answers, 'answers');
  const position = { per: 'sequence', dtype: 'int32', width: 1 } as const;
  const place = { per: 'token', dtype: 'int32', width: 1 } as const;
  return {
    labels: [],
    fields: { question, context },
    encoding: { stride: options.stride ?? defaultStride(maxLength) },
    paired: true,
    columns: { start_positions: position, end_positions: position, span_begins: place, span_ends: place },
    select: {
      question: `${quote(question)}::VARCHAR`,
      context: `${quote(context)}::VARCHAR`,
      answers: answersAsJson(answers),
    },
    async encode(rows, read) {
      const windows = await read(rows.map(({ question, context }) => ({ question, context })));
      return rows.map((row, i) => {
        const given = answersOf(row);
        return {
          example: { id: row.id, question: row.question, context: row.context, answers: given.map(({ text }) => text) },
          // Several true answers are for evaluation; training uses the first.
          sequences: windows[i]!.map((sequence) => ({ sequence, values: valuesOf(sequence, given[0]) })),
          truncated: false,
        };
      });
    },
  };
}

async function refuseMissing({ database, table, columns }: PreparationContext, question: string, context: string): Promise<void> {
  requireColumn(columns, question, 'question');
  requireColumn(columns, context, 'context');
  const wrong = await database.rows<{ id: string; question: string | null }>(
    `SELECT id, ${quote(question)}::VARCHAR AS question FROM ${table} WHERE ${quote(question)} IS NULL OR ${quote(context)} IS NULL ORDER BY id LIMIT 1`,
  );
  if (wrong.length > 0)
    throw new StepError(
      `row ${wrong[0]!.id} has no ${wrong[0]!.question === null ? 'question' : 'context'}`,
      'Leave it out in collect with `where`.',
      [wrong[0]!.question === null ? 'question' : 'context'],
    );
}

/** The answers of a row, each with its position in the context; none if the question has no answer. */
function answersOf({ id, context, answers }: Asked): GoldAnswer[] {
  return answersIn(id, answers).map(({ text, start }) => {
    if (start === undefined) {
      const place = context.indexOf(text);
      if (place >= 0) return { text, start: place };
    } else {
      // SQuAD counts code points, as Python does; JavaScript counts UTF-16 code units, which differ after an emoji.
      for (const at of [[...context].slice(0, start).join('').length, start]) if (context.startsWith(text, at)) return { text, start: at };
    }
    const elsewhere = context.indexOf(text);
    throw new StepError(
      `row ${id}: the answer ${JSON.stringify(text)} is not in its context${start === undefined ? '' : ` at character ${start}`}`,
      elsewhere >= 0
        ? `It is at ${[...context.slice(0, elsewhere)].length}: correct answer_start.`
        : 'An answer must be an exact excerpt of the context.',
      ['answers'],
    );
  });
}

interface GivenAnswer {
  text: string;
  /** The position in the context, in characters, if the data give it. */
  start?: number | undefined;
}

/** As in SQuAD, {text: […], answer_start: […]}; as a list of such pairs; or texts alone. Empty if there is no answer. */
export const answersIn = (id: string, json: string | null): GivenAnswer[] =>
  pairsOf(id, json === null ? null : JSON.parse(json)).filter(({ text }) => text !== '');

function pairsOf(id: string, given: Json): GivenAnswer[] {
  const wrong = (): StepError =>
    new StepError(
      `row ${id}: the answers are ${JSON.stringify(given).slice(0, 80)}`,
      'Write them as in SQuAD, {"text": ["Ada"], "answer_start": [17]}, or as texts; use [] if there is no answer.',
      ['answers'],
    );
  const pair = (text: Json | undefined, start: Json | undefined) => {
    if (typeof text !== 'string' || !(start === undefined || start === null || (Number.isInteger(start) && (start as number) >= 0)))
      throw wrong();
    return { text, start: (start ?? undefined) as number | undefined };
  };
  if (given === null) return [];
  if (typeof given === 'string') return [pair(given, undefined)];
  if (typeof given !== 'object') throw wrong();
  if (Array.isArray(given)) {
    return given.map((one) => {
      if (one === null || typeof one !== 'object' || Array.isArray(one)) return pair(one, undefined);
      return pair(one.text, one.answer_start);
    });
  }
  const { text, answer_start } = given;
  if (text === null || text === undefined) return [];
  if (!Array.isArray(text)) return [pair(text, answer_start)];
  if (answer_start !== undefined && answer_start !== null && (!Array.isArray(answer_start) || answer_start.length !== text.length))
    throw wrong();
  return text.map((one, i) => pair(one, (answer_start as Json[] | undefined)?.[i]));
}

/** SQL that converts the column of answers, whatever its type, to a JSON text that `answersIn` reads. */
export const answersAsJson = (column: string): string => `to_json(${quote(column)})::VARCHAR`;

/** The first and last token of the answer; both 0, the first token, if the window does not contain the whole answer. */
function valuesOf(sequence: Sequence, answer: GoldAnswer | undefined) {
  const spans = contextSpans(sequence);
  let [first, last] = [0, 0];
  if (answer) {
    const end = answer.start + answer.text.length;
    const context = spans.filter((span) => span !== undefined);
    if (context.length > 0 && context[0]![0] <= answer.start && context.at(-1)![1] >= end) {
      first = spans.findLastIndex((span) => span && span[0] <= answer.start);
      last = spans.findIndex((span) => span && span[1] >= end);
    }
  }
  return {
    start_positions: [first],
    end_positions: [last],
    span_begins: spans.map((span) => span?.[0] ?? -1),
    span_ends: spans.map((span) => span?.[1] ?? -1),
  };
}

/* Sequences: windows of the context, each after the whole question. */

/** transformers' default of doc_stride, or less if windows are short. */
export const defaultStride = (maxLength: number): number => Math.min(128, Math.floor(maxLength / 4));

function questionWindows(whole: Sequence, windowing: Windowing): Sequence[] {
  const question = whole.sequenceIds.filter((id) => id === 0).length;
  const others = whole.sequenceIds.filter((id) => id !== 1).length;
  if (whole.ids.length > windowing.maxLength && others >= windowing.maxLength)
    throw new StepError(
      `the question has ${question} tokens, so a sequence of ${windowing.maxLength} tokens leaves no room for its context`,
      'Shorten the question, leave the row out in collect with `where`, or set a greater max_length.',
      ['max_length'],
    );
  return windowsOf(whole, windowing);
}

/** As the pipeline of transformers makes them. */
function askedWindows(
  given: Sequence,
  { maxLength, stride, question }: AskedWindows,
  truncationSide: Windowing['truncationSide'],
): Sequence[] {
  const kept = [...given.ids.keys()].filter(
    (i) => given.sequenceIds[i] !== 0 || question === undefined || i < question + firstOf(given, 0),
  );
  const whole = windowAt(given, kept);
  const context = whole.sequenceIds.filter((id) => id === 1).length;
  const room = maxLength - (whole.ids.length - context);
  if (context > room && stride !== undefined && stride >= room)
    throw new StepError(
      `"parameters.doc_stride" is ${stride}, but must be below ${room}: so many tokens of the context fit into a sequence`,
    );
  const step = room - (stride ?? 0);
  if (stride !== undefined && context > room && context / step > mostWindows)
    throw new StepError(
      `the context would be split into ${Math.ceil(context / step)} sequences, but at most ${mostWindows} are allowed`,
      'Lower doc_stride, or raise max_seq_len.',
    );
  return questionWindows(whole, { maxLength, stride: stride ?? Math.min(128, Math.floor(maxLength / 2)), truncationSide });
}

const firstOf = ({ sequenceIds }: Sequence, text: number): number => sequenceIds.indexOf(text);

const mostWindows = 1000;

/** The position of each token in the context; undefined for all other tokens. */
export function contextSpans({ spans, sequenceIds }: Sequence): ([begin: number, end: number] | undefined)[] {
  return spans.map((span, i) => (sequenceIds[i] === 1 && span[0] < span[1] ? span : undefined));
}

/* Answers: the best span of all windows. */

const read = ({ start_logits, end_logits }: Outputs, row: number, length: number): Ends => ({
  starts: tokensOf(start_logits!, row, length),
  ends: tokensOf(end_logits!, row, length),
});

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

/* Measures. */

function measure({ metrics, split }: Measuring): Measurement<Ends> {
  const names = Object.keys(ANSWERS);
  /** The loss and the number of windows, and all metrics. */
  const sums = new PerExample(2 + names.length);
  let [unanswerable, unanswered] = [0, 0];
  return {
    columns: {
      label: 'VARCHAR[]',
      prediction: 'VARCHAR',
      start: 'BIGINT',
      score: 'DOUBLE',
      ...Object.fromEntries(names.map((name) => [name, 'DOUBLE'])),
      loss: 'DOUBLE',
      correct: 'BOOLEAN',
    },
    read,
    add({ context, answers }, first, results) {
      let loss = 0;
      const windows = results.map(({ starts, ends }, w) => {
        const sequence = first + w;
        const begins = new Int32Array(split.length(sequence));
        const stops = new Int32Array(split.length(sequence));
        split.read('span_begins', sequence, begins, 0);
        split.read('span_ends', sequence, stops, 0);
        loss -=
          (logSoftmax(starts)[split.values('start_positions', sequence)![0]!]! +
            logSoftmax(ends)[split.values('end_positions', sequence)![0]!]!) /
          2;
        return {
          starts,
          ends,
          spans: Array.from(begins, (begin, i): [number, number] | undefined => (begin < 0 ? undefined : [begin, stops[i]!])),
        };
      });
      refuseNaN(loss);
      const best = select(windows, context as string);
      const own = answerMetrics([{ truth: answers as string[], predicted: best.text }], names);
      sums.add([loss, results.length, ...Object.values(own)]);
      if ((answers as string[]).length === 0) unanswerable++;
      if (best.text === '') unanswered++;
      return {
        label: answers!,
        prediction: best.text,
        start: best.start,
        score: rounded(best.score),
        ...own,
        loss: loss / results.length,
        correct: own.exact_match === 1,
      };
    },
    metrics(rows) {
      const [loss, windows, ...values] = sums.sums(rows) as unknown as [number, number, ...number[]];
      const count = rows?.length ?? sums.count;
      return { loss: loss / windows, ...Object.fromEntries(metrics.map((name) => [name, values[names.indexOf(name)]! / count])) };
    },
    report: () => ({ unanswerable }),
    warnings: () =>
      unanswered === sums.count && sums.count > 1 && unanswerable < sums.count
        ? ['the model predicts for every question that it has no answer']
        : [],
  };
}

/*
 * Baselines: no answer at all, and the sentence that is most similar to the question: a coarse form of the sliding-window
 * baseline of SQuAD (Richardson et al. 2013; Rajpurkar et al. 2016, section 5).
 */

interface QuestionAndContext {
  id: string;
  question: string;
  context: string;
  answers: string | null;
  [column: string]: string | null;
}

/** Neither method learns anything. */
const METHODS: Record<string, (row: QuestionAndContext) => string> = { no_answer: () => '', nearest_sentence: nearestSentence };

async function baseline({ options, methods, read }: BaselineRequest): Promise<BaselineResult> {
  const columns = {
    id: 'id',
    question: options.question ?? 'question',
    context: options.context ?? 'context',
    answers: options.answers ?? 'answers',
  };
  const rows = await read<QuestionAndContext>(options.split, columns, { answers: answersAsJson });
  const names = metricNames('question-answering', 'single_label_classification', [], options.metrics);
  const truths = rows.map(({ id, answers }) => answersIn(id, answers).map(({ text }) => text));
  const results = methods.map((name) => {
    const scorer = openScorer({ task: 'question-answering', problem: 'single_label_classification', labels: [], metrics: names });
    for (const [i, row] of rows.entries()) scorer.add(truths[i]!, { answer: METHODS[name]!(row) });
    return [name, { metrics: scorer.metrics }] as const;
  });
  return { rows: rows.length, ids: rows.map(({ id }) => id), about: {}, methods: Object.fromEntries(results) };
}

/** The first of the sentences that share most words with the question; none if no sentence shares any. */
function nearestSentence({ question, context }: QuestionAndContext): string {
  const words = wordsOf(question);
  sentences ??= new Intl.Segmenter('en', { granularity: 'sentence' });
  let nearest = { sentence: '', shared: 0 };
  for (const { segment } of sentences.segment(context)) {
    const shared = [...wordsOf(segment)].filter((word) => words.has(word)).length;
    if (shared > nearest.shared) nearest = { sentence: segment.trim(), shared };
  }
  return nearest.sentence;
}

/** Made when it is needed, because every process that loads this file would wait for it. */
let sentences: Intl.Segmenter | undefined;

const wordsOf = (text: string): Set<string> => new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu));
