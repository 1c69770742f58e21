/** A custom step (docs/custom-steps.md): makes tables and a plot from the metrics of all models. */
import { readFile, writeFile } from 'node:fs/promises';
import { defineStep } from 'tunesmith';
import { type Curve, type Labels, plot } from './plot.ts';

/** The step that judges each model, and the name of the model. */
const MODELS: Record<string, string> = {
  bag_of_words: 'bag of words',
  test_random: 'random weights',
  test_box: 'tunesmith-small',
  test_teacher: 'MiniLM-L6 (teacher)',
};

/** The metrics of each set, the main one first. */
const METRICS: Record<string, Record<string, (report: Report) => number>> = {
  mails: { 'F1 of spam': ({ classes }) => classes.spam!.f1, accuracy: ({ metrics }) => metrics.accuracy! },
  definitions: { 'macro F1': ({ metrics }) => metrics.macro_f1!, accuracy: ({ metrics }) => metrics.accuracy! },
  reviews: { 'macro F1': ({ metrics }) => metrics.macro_f1!, accuracy: ({ metrics }) => metrics.accuracy! },
};

interface Report {
  metrics: Record<string, number>;
  classes: Record<string, { f1: number }>;
}

/** One model: a line of `scores`. */
interface Score {
  set: string;
  labels: Labels;
  seed: number;
  model: string;
  metrics: Record<string, number>;
}

export default defineStep({
  name: 'report',
  version: 2,
  description: 'Makes a table and a plot of the scores of all models.',
  inputs: {
    metrics: { kind: 'file', many: true, description: 'The reports of evaluate and baseline.' },
    measured: {
      kind: 'file',
      description:
        'Scores of other runs, as `scores` has them. Where this run has a score of the same set, labels, seed and model, it counts.',
    },
  },
  outputs: {
    table: { kind: 'file', description: 'Mean and standard error over the seeds, as Markdown.' },
    plot: { kind: 'file', description: 'The first metric of each set against the number of examples, as SVG.' },
    scores: { kind: 'file', description: 'The scores of each model, as JSON lines.' },
  },
  options: {},
  async run({ inputs, outputs, origins }) {
    const own = await Promise.all(
      inputs.metrics.map(async (file, i): Promise<Score> => {
        const { cell, matrix } = origins.metrics![i]!;
        const { set, budget, seed } = matrix as { set: { name: string }; budget: { labels: Labels }; seed: number };
        const { methods, ...report } = JSON.parse(await readFile(file, 'utf8'));
        // The report of `baseline` has a part for each method.
        const read: Report = methods?.bag_of_words ?? report;
        const metrics = Object.fromEntries(Object.entries(METRICS[set.name]!).map(([name, of]) => [name, of(read)]));
        return { set: set.name, labels: budget.labels, seed, model: MODELS[cell.split('[')[0]!]!, metrics };
      }),
    );
    const lines = (await readFile(inputs.measured, 'utf8')).split('\n').filter((line) => line !== '');
    const all = new Map([...lines.map((line): Score => JSON.parse(line)), ...own].map((score) => [keyOf(score), score]));
    const scores = [...all.values()].sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
    const sets = Object.keys(METRICS).filter((set) => scores.some((score) => score.set === set));
    await writeFile(outputs.table!, sets.map((set) => tableOf(set, scores)).join('\n'));
    await writeFile(outputs.plot!, plot(sets.filter((set) => set !== 'reviews').map((set) => panelOf(set, scores))));
    await writeFile(outputs.scores!, scores.map((score) => `${JSON.stringify(score)}\n`).join(''));
  },
});

const keyOf = ({ set, labels, seed, model }: Score): string => JSON.stringify([set, labels, seed, model]);

/** By set, number of examples, model and seed. */
const placeOf = ({ set, labels, seed, model }: Score): string =>
  [Object.keys(METRICS).indexOf(set), sizeOf(labels), Object.values(MODELS).indexOf(model), seed].map((n) => String(n).padStart(9)).join();

function tableOf(set: string, scores: Score[]): string {
  const heads = sizesOf(set, scores);
  const lines = Object.keys(METRICS[set]!).flatMap((metric) =>
    curvesOf(set, scores, metric).map(({ model, points }) => {
      const cells = heads
        .map((labels) => points.find((point) => point.labels === labels))
        .map((point) => (point ? meanInWords(point) : '–'));
      return `| ${metric} | ${model} | ${cells.join(' | ')} |`;
    }),
  );
  return [`### ${set}`, '', `| metric | model | ${heads.join(' | ')} |`, `|---|---|${'---|'.repeat(heads.length)}`, ...lines, ''].join(
    '\n',
  );
}

const meanInWords = ({ mean, error }: { mean: number; error: number }): string => `${mean.toFixed(3)} ± ${error.toFixed(3)}`;

const panelOf = (set: string, scores: Score[]) => {
  const [metric] = Object.keys(METRICS[set]!);
  return { title: set, metric: metric!, curves: curvesOf(set, scores, metric!) };
};

/** A line for each model, with a point for each number of examples that it learned from. */
function curvesOf(set: string, scores: Score[], metric: string): Curve[] {
  return Object.values(MODELS).map((model) => ({
    model,
    points: sizesOf(set, scores).flatMap((labels) => {
      const values = scores
        .filter((score) => score.set === set && score.labels === labels && score.model === model)
        .map((score) => score.metrics[metric]!);
      return values.length === 0 ? [] : [{ labels, ...meanOf(values) }];
    }),
  }));
}

const sizesOf = (set: string, scores: Score[]): Labels[] =>
  [...new Set(scores.filter((score) => score.set === set).map(({ labels }) => labels))].sort((a, b) => sizeOf(a) - sizeOf(b));

const sizeOf = (labels: Labels): number => (labels === 'all' ? 999_999 : labels);

/** The mean and its standard error, s / √n. */
function meanOf(values: number[]): { mean: number; error: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, error: values.length > 1 ? Math.sqrt(squares / (values.length - 1) / values.length) : 0 };
}
