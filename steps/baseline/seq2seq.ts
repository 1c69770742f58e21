/**
 * The most frequent target, a copy of the input, and the beginning of the input, which often summarizes a text (the
 * lead baseline).
 */
import { generatedMetrics } from '../metrics/generated.ts';
import { evaluationMetrics } from '../tasks/registry.ts';
import type { Measure } from './baseline.ts';

interface Row {
  text: string;
  target: string;
  [column: string]: string;
}

/** Fits on rows, and returns a function that makes an output of a text. */
const METHODS: Record<string, (train: Row[]) => (text: string) => string> = {
  commonest(train) {
    const counts = new Map<string, number>();
    for (const { target } of train) counts.set(target, (counts.get(target) ?? 0) + 1);
    const [commonest] = [...counts].reduce((best, one) => (one[1] > best[1] ? one : best));
    return () => commonest;
  },
  copy: () => (text) => text,
  lead(train) {
    const words = train.reduce((sum, { target }) => sum + wordsOf(target).length, 0);
    const usual = Math.max(1, Math.ceil(words / train.length));
    return (text) => wordsOf(text).slice(0, usual).join(' ');
  },
};

export const seq2seq: Measure = async (options, methods, { read }) => {
  const columns = { text: options.text ?? 'text', target: options.target ?? 'target' };
  const train = await read<Row>('train', columns);
  const test = await read<Row>(options.split, columns);
  const { ofTexts } = evaluationMetrics('seq2seq', 'single_label_classification', [], options.metrics);
  const results = methods.map((name) => {
    const output = METHODS[name]!(train);
    const measured = generatedMetrics(ofTexts);
    for (const { text, target } of test) measured.add({ references: [target], predicted: output(text) });
    return [name, { metrics: measured.metrics(), details: measured.details() }] as const;
  });
  return { rows: test.length, about: {}, methods: Object.fromEntries(results) };
};

const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');
