/** The most frequent label, and a bag of words. */
import { StepError } from '../../engine/step.ts';
import { classificationMetrics, classReport, confusionMatrix } from '../metrics/classification.ts';
import { positiveClass } from '../metrics/positive.ts';
import { metricNames } from '../tasks/registry.ts';
import { bagOfWords } from './bag-of-words.ts';
import type { Measure } from './baseline.ts';

interface Example {
  text: string;
  /** Its position among the labels. */
  label: number;
}

/** Fits on rows, and predicts the label of each text. */
type Method = (train: Example[], classes: number, texts: string[]) => number[];

const METHODS: Record<string, Method> = { majority, bag_of_words: bagOfWords };

export const textClassification: Measure = async (options, methods, { read }) => {
  const columns = {
    text: options.text ?? 'text',
    ...(options.text_pair === undefined ? {} : { text_pair: options.text_pair }),
    label: options.label ?? 'label',
  };
  const labelled = async (split: string) => {
    const rows = await read(split, columns);
    const without = rows.filter(({ label }) => label === '').length;
    if (without > 0 && options.missing !== 'drop')
      throw new StepError(
        `${without} of ${rows.length} rows of the split ${split} have no label`,
        '`missing: drop` leaves such rows out.',
        ['label'],
      );
    return rows.filter(({ label }) => label !== '');
  };
  const train = await labelled('train');
  const test = await labelled(options.split);
  const labels = [...new Set(train.map((row) => String(row.label)))].sort();
  if (labels.length < 2)
    throw new StepError(
      `all rows of the training split have the same label, "${labels[0]}"`,
      'A classifier needs at least two labels to learn from.',
    );
  const unseen = test.find((row) => !labels.includes(String(row.label)));
  if (unseen)
    throw new StepError(
      `the label "${unseen.label}" occurs in the split ${options.split} but not in train`,
      'Use `stratify` in the split step.',
    );
  const names = metricNames('text-classification', 'single_label_classification', labels, options.metrics);
  const positive = positiveClass(labels, options.positive, names);

  const exampleOf = ({ text, text_pair, label }: (typeof train)[number]): Example => ({
    text: text_pair === undefined ? String(text) : `${text} ${text_pair}`,
    label: labels.indexOf(String(label)),
  });
  const examples = train.map(exampleOf);
  const measured = test.map(exampleOf);
  const texts = measured.map(({ text }) => text);
  const results = methods.map((name) => {
    const classified = {
      classes: labels.length,
      truth: measured.map(({ label }) => label),
      predicted: METHODS[name]!(examples, labels.length, texts),
      ...(positive === undefined ? {} : { positive }),
    };
    const matrix = confusionMatrix(classified);
    const report = { confusion_matrix: matrix, classes: { ...classReport(labels, matrix) } };
    return [name, { metrics: classificationMetrics(classified, names), ...report }] as const;
  });
  return {
    rows: test.length,
    about: { labels, ...(positive === undefined ? {} : { positive: labels[positive]! }) },
    methods: Object.fromEntries(results),
  };
};

function majority(train: Example[], classes: number, texts: string[]): number[] {
  const counts = new Array<number>(classes).fill(0);
  for (const { label } of train) counts[label]!++;
  const commonest = counts.indexOf(Math.max(...counts));
  return texts.map(() => commonest);
}
