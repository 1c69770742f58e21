/**
 * No answer at all, and the sentence that is most similar to the question: a coarse form of the sliding-window
 * baseline of SQuAD (Richardson et al. 2013; Rajpurkar et al. 2016, section 5).
 */
import { answersAsJson, answersIn } from '../data/answers.ts';
import { answerMetrics } from '../metrics/answers.ts';
import { metricNames } from '../tasks/registry.ts';
import type { Measure } from './baseline.ts';

interface Asked {
  id: string;
  question: string;
  context: string;
  answers: string | null;
  [column: string]: string | null;
}

/** Neither method learns anything. */
const METHODS: Record<string, (asked: Asked) => string> = { no_answer: () => '', nearest_sentence: nearestSentence };

export const questionAnswering: Measure = async (options, methods, { read }) => {
  const columns = {
    id: 'id',
    question: options.question ?? 'question',
    context: options.context ?? 'context',
    answers: options.answers ?? 'answers',
  };
  const rows = await read<Asked>(options.split, columns, { answers: answersAsJson });
  const names = metricNames('question-answering', 'single_label_classification', [], options.metrics);
  const truths = rows.map(({ id, answers }) => answersIn(id, answers).map(({ text }) => text));
  const results = methods.map((name) => {
    const all = rows.map((row, i) => ({ truth: truths[i]!, predicted: METHODS[name]!(row) }));
    return [name, { metrics: answerMetrics(all, names) }] as const;
  });
  return { rows: rows.length, about: {}, methods: Object.fromEntries(results) };
};

const sentences = new Intl.Segmenter('en', { granularity: 'sentence' });

/** The first of the sentences that share most words with the question; none if no sentence shares any. */
function nearestSentence({ question, context }: Asked): string {
  const asked = wordsOf(question);
  let nearest = { sentence: '', shared: 0 };
  for (const { segment } of sentences.segment(context)) {
    const shared = [...wordsOf(segment)].filter((word) => asked.has(word)).length;
    if (shared > nearest.shared) nearest = { sentence: segment.trim(), shared };
  }
  return nearest.sentence;
}

const wordsOf = (text: string): Set<string> => new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu));
