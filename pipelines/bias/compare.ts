/** A custom step (docs/custom-steps.md): one table of the metrics files of several models. */
import { readFile, writeFile } from 'node:fs/promises';
import { defineStep } from 'tunesmith';

const FIGURES = [
  'accuracy',
  'gap.gender',
  'fairness.demographic_parity_difference',
  'fairness.equalized_odds_difference',
  'counterfactual.changed',
];

export default defineStep({
  name: 'compare',
  version: 1,
  description: 'Writes a table with the figures of each model.',
  inputs: {
    plain: { kind: 'file', description: 'Metrics of the model without mitigation.' },
    reweighed: { kind: 'file', description: 'Metrics of the model with reweighed rows.' },
    augmented: { kind: 'file', description: 'Metrics of the model with swapped copies of rows.' },
  },
  outputs: { table: { kind: 'file', description: 'A CSV file with one line for each model.' } },
  options: {},
  async run({ inputs, outputs, log, result }) {
    const lines = [['model', ...FIGURES].join(',')];
    const differences: string[] = [];
    for (const model of ['plain', 'reweighed', 'augmented'] as const) {
      const { metrics } = JSON.parse(await readFile(inputs[model], 'utf8'));
      const values = FIGURES.map((name) => (typeof metrics[name] === 'number' ? metrics[name].toFixed(3) : 'n/a'));
      lines.push([model, ...values].join(','));
      differences.push(`${model} ${values[2]}`);
    }
    for (const line of lines) log(line);
    await writeFile(outputs.table!, `${lines.join('\n')}\n`);
    result(`demographic parity difference: ${differences.join(', ')}`);
  },
});
