/**
 * question-answering: questions, contexts and the positions of the answers, as in SQuAD. A long context is split into
 * windows that overlap.
 */
import { StepError } from '../../engine/step.ts';
import { answersAsJson, answersIn } from '../data/answers.ts';
import { quote, type Row } from '../data/database.ts';
import { requireColumn } from '../data/table.ts';
import type { Sequence } from '../models/tokenizer.ts';
import { contextSpans, defaultStride } from '../tasks/question-answering.ts';
import type { Prepare, Source } from './tokenize.ts';

interface Asked extends Row {
  id: string;
  question: string;
  context: string;
  /** JSON, or null. */
  answers: string | null;
}

interface Answer {
  text: string;
  /** In the context, in UTF-16 code units. */
  start: number;
}

export const questionAnswering: Prepare<Asked> = async (source) => {
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
        const found = answersOf(row);
        return {
          example: { id: row.id, question: row.question, context: row.context, answers: found.map(({ text }) => text) },
          // Several true answers are for evaluation; training uses the first.
          sequences: windows[i]!.map((sequence) => ({ sequence, values: valuesOf(sequence, found[0]) })),
          truncated: false,
        };
      });
    },
  };
};

async function refuseMissing({ database, table, columns }: Source, question: string, context: string): Promise<void> {
  requireColumn(columns, question, 'question');
  requireColumn(columns, context, 'context');
  const wrong = await database.rows<{ id: string; question: string | null }>(
    `SELECT id, ${quote(question)}::VARCHAR AS question FROM ${table} WHERE ${quote(question)} IS NULL OR ${quote(context)} IS NULL ORDER BY id LIMIT 1`,
  );
  if (wrong.length > 0)
    throw new StepError(
      `row ${wrong[0]!.id} has no ${wrong[0]!.question === null ? 'question' : 'context'}`,
      'Leave it out in collect with `where`.',
    );
}

/** The answers of a row, each with its position in the context; none if the question has no answer. */
function answersOf({ id, context, answers }: Asked): Answer[] {
  return answersIn(id, answers).map(({ text, start }) => {
    if (start === undefined) {
      const found = context.indexOf(text);
      if (found >= 0) return { text, start: found };
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

/**
 * The first and last token of the answer; both 0, the first token, if the window does not contain the whole answer.
 */
function valuesOf(sequence: Sequence, answer: Answer | undefined) {
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
