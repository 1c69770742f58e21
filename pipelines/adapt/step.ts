/** A custom step (docs/custom-steps.md): compares the metrics of two ways to train, each with several seeds, and of a bag of words. */
import { readFile, writeFile } from 'node:fs/promises';
import { defineStep } from 'tunesmith';

const METRICS = ['accuracy', 'f1'];

export default defineStep({
  name: 'compare',
  version: 1,
  description: 'Writes the mean of each metric over the seeds, and the standard error of the mean.',
  inputs: {
    adapted: { kind: 'file', many: true, description: 'Metrics of models that were adapted first.' },
    plain: { kind: 'file', many: true, description: 'Metrics of models that were not.' },
    baseline: { kind: 'file', description: 'Metrics of a baseline step.' },
  },
  outputs: { table: { kind: 'file', description: 'A CSV file with one line for each way and metric.' } },
  options: {},
  async run({ inputs, outputs, metric }) {
    const read = async (file: string) => JSON.parse(await readFile(file, 'utf8'));
    const readAll = (files: string[]) => Promise.all(files.map(read));
    const { methods } = await read(inputs.baseline);
    const reports = {
      adapted: await readAll(inputs.adapted),
      plain: await readAll(inputs.plain),
      bag_of_words: [methods.bag_of_words],
    };
    const lines = ['way,metric,seeds,mean,standard_error'];
    for (const [way, cells] of Object.entries(reports)) {
      for (const name of METRICS) {
        const { mean, error } = meanOf(cells.map(({ metrics }) => metrics[name]));
        lines.push([way, name, cells.length, mean.toFixed(4), error?.toFixed(4) ?? ''].join(','));
        metric(`${way}_${name}`, mean, { better: 'higher' });
      }
    }
    await writeFile(outputs.table!, `${lines.join('\n')}\n`);
  },
});

/** The standard error is unknown for a single value. */
function meanOf(values: number[]): { mean: number; error: number | undefined } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (values.length < 2) return { mean, error: undefined };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  return { mean, error: Math.sqrt(variance / values.length) };
}
