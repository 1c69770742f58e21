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

/** Reads the metrics of each set. */
const SETS: Record<string, Record<string, (report: Report) => number>> = {
  mails: { 'F1 of spam': ({ classes }) => classes.spam!.f1, accuracy: ({ metrics }) => metrics.accuracy! },
  definitions: { 'macro F1': ({ metrics }) => metrics.macro_f1!, accuracy: ({ metrics }) => metrics.accuracy! },
  reviews: { 'macro F1': ({ metrics }) => metrics.macro_f1!, accuracy: ({ metrics }) => metrics.accuracy! },
};

interface Report {
  metrics: Record<string, number>;
  classes: Record<string, { f1: number }>;
}

interface Score {
  set: string;
  labels: Labels;
  model: string;
  report: Report;
}

export default defineStep({
  name: 'report',
  version: 1,
  description: 'Makes a table and a plot of the scores of all models.',
  inputs: { metrics: { kind: 'file', many: true, description: 'The reports of evaluate and baseline.' } },
  outputs: {
    table: { kind: 'file', description: 'Mean and standard error over the seeds, as Markdown.' },
    plot: { kind: 'file', description: 'The first metric of each set against the number of examples, as SVG.' },
    scores: { kind: 'file', description: 'Every score, as JSON.' },
  },
  options: {},
  async run({ inputs, outputs, origins }) {
    const scores = await Promise.all(
      inputs.metrics.map(async (file, i): Promise<Score> => {
        const { cell, matrix } = origins.metrics![i]!;
        const step = cell.split('[')[0]!;
        const { methods, ...report } = JSON.parse(await readFile(file, 'utf8'));
        const { set, budget } = matrix as { set: { name: string }; budget: { labels: Labels } };
        // The report of `baseline` has a part for each method.
        return { set: set.name, labels: budget.labels, model: MODELS[step]!, report: methods?.bag_of_words ?? report };
      }),
    );
    const sets = Object.keys(SETS).filter((set) => scores.some((score) => score.set === set));
    await writeFile(outputs.table!, sets.map((set) => tableOf(set, scores)).join('\n'));
    await writeFile(outputs.plot!, plot(sets.filter((set) => set !== 'reviews').map((set) => panelOf(set, scores))));
    await writeFile(outputs.scores!, `${JSON.stringify(sets.map((set) => ({ set, curves: curvesOf(set, scores) })))}\n`);
  },
});

function tableOf(set: string, scores: Score[]): string {
  const names = Object.keys(SETS[set]!);
  const heads = sizesOf(set, scores);
  const lines = names.flatMap((name) =>
    curvesOf(set, scores, name).map(
      ({ model, points }) =>
        `| ${name} | ${model} | ${points.map(({ mean, error }) => `${mean.toFixed(3)} ± ${error.toFixed(3)}`).join(' | ')} |`,
    ),
  );
  return [`### ${set}`, '', `| metric | model | ${heads.join(' | ')} |`, `|---|---|${'---|'.repeat(heads.length)}`, ...lines, ''].join(
    '\n',
  );
}

const panelOf = (set: string, scores: Score[]) => ({
  title: set,
  metric: Object.keys(SETS[set]!)[0]!,
  curves: curvesOf(set, scores),
});

function curvesOf(set: string, scores: Score[], metric = Object.keys(SETS[set]!)[0]!): Curve[] {
  return Object.values(MODELS).map((model) => ({
    model,
    points: sizesOf(set, scores).map((labels) => {
      const values = scores
        .filter((score) => score.set === set && score.labels === labels && score.model === model)
        .map(({ report }) => SETS[set]![metric]!(report));
      return { labels, ...meanOf(values) };
    }),
  }));
}

const sizesOf = (set: string, scores: Score[]): Labels[] =>
  [...new Set(scores.filter((score) => score.set === set).map(({ labels }) => labels))].sort((a, b) => numberOf(a) - numberOf(b));

const numberOf = (labels: Labels): number => (labels === 'all' ? Number.POSITIVE_INFINITY : labels);

/** The mean and its standard error, s / √n. */
function meanOf(values: number[]): { mean: number; error: number; values: number[] } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, error: values.length > 1 ? Math.sqrt(squares / (values.length - 1) / values.length) : 0, values };
}
