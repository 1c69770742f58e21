import { writeFile } from 'node:fs/promises';
import { StepError } from '../../engine/step.ts';
import { readRows } from '../data/table.ts';
import { BINARY_METRICS, classificationMetrics, confusionMatrix } from '../metrics/classification.ts';
import { bagOfWords } from './bag-of-words.ts';
import type step from './step.ts';

interface Row {
  text: string;
  /** Its place among the labels. */
  label: number;
}

/** Fits on rows, and predicts the label of each text. */
type Method = (train: Row[], classes: number, texts: string[]) => number[];

const METHODS: Record<string, Method> = { majority, bag_of_words: bagOfWords };

export async function baseline({ options, inputs, outputs, log, metric }: Parameters<(typeof step)['run']>[0]): Promise<void> {
  const train = await read('train');
  const test = await read(options.split);
  const labels = [...new Set(train.map((row) => row.label))].sort();
  if (labels.length < 2)
    throw new StepError(`the training split has one label only: "${labels[0]}"`, 'A classifier needs rows of at least two labels.');
  const unseen = test.find((row) => !labels.includes(row.label));
  if (unseen)
    throw new StepError(`the label "${unseen.label}" is in the split ${options.split} and not in train`, 'Split with `stratify`.');
  const positive = options.positive ?? labels.at(-1)!;
  const binary = options.metrics.filter((name) => BINARY_METRICS.includes(name));
  if (labels.length > 2 && binary.length > 0)
    throw new StepError(
      `${binary.join(', ')} are for two labels, and the data have ${labels.length}`,
      `Ask for macro_${binary[0]} instead.`,
      ['metrics'],
    );
  if (!labels.includes(positive))
    throw new StepError(`there is no label "${positive}"`, `The labels are ${labels.join(', ')}.`, ['positive']);

  const number = (rows: { text: string; label: string }[]): Row[] =>
    rows.map(({ text, label }) => ({ text, label: labels.indexOf(label) }));
  const rows = number(train);
  const truth = number(test).map((row) => row.label);
  const texts = test.map((row) => row.text);
  const methods: Record<string, unknown> = {};
  for (const name of options.methods) {
    const classified = {
      classes: labels.length,
      truth,
      predicted: METHODS[name]!(rows, labels.length, texts),
      positive: labels.indexOf(positive),
    };
    const metrics = classificationMetrics(classified, options.metrics);
    methods[name] = { metrics, confusion_matrix: confusionMatrix(classified) };
    for (const [key, value] of Object.entries(metrics)) metric(`${name}.${key}`, value);
    log(
      `${name}: ${Object.entries(metrics)
        .map(([key, value]) => `${key} ${value.toFixed(4)}`)
        .join(', ')}`,
    );
  }
  const of = labels.length === 2 ? { positive } : {};
  await writeFile(outputs.metrics!, `${JSON.stringify({ split: options.split, rows: test.length, labels, ...of, methods }, null, 2)}\n`);

  async function read(split: string): Promise<{ text: string; label: string }[]> {
    const found: { text: string; label: string }[] = [];
    const texts = [options.text, ...(options.text_pair === undefined ? [] : [options.text_pair])];
    for await (const chunk of readRows(inputs.data, [...texts, options.label], { split })) {
      for (const row of chunk)
        found.push({ text: texts.map((column) => String(row[column] ?? '')).join(' '), label: String(row[options.label]) });
    }
    if (found.length === 0) throw new StepError(`the split "${split}" is empty`, 'Give the `data` of a split step with rows in it.');
    return found;
  }
}

function majority(train: Row[], classes: number, texts: string[]): number[] {
  const counts = new Array<number>(classes).fill(0);
  for (const { label } of train) counts[label]!++;
  const commonest = counts.indexOf(Math.max(...counts));
  return texts.map(() => commonest);
}
