/** split: which rows are for training, validation and test. */
import { defineStep, type OptionProblem } from '../../engine/step.ts';

export default defineStep({
  name: 'split',
  version: 1,
  description:
    'Adds a column `split`. A row’s content and the seed decide where it goes, so equal rows go together and more data move few rows.',
  inputs: { data: { kind: 'folder', description: 'A table.' } },
  outputs: { data: { kind: 'folder', description: 'The table with a column `split`.' } },
  options: {
    ratios: {
      type: 'array',
      items: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 },
      minItems: 2,
      maxItems: 3,
      default: [0.8, 0.1, 0.1],
      description: 'The shares of train, validation and test; two numbers are train and test.',
    },
    stratify: { type: 'string', minLength: 1, description: 'A column, mostly the label: each of its values is split by `ratios` alone.' },
    seed: { type: 'integer', minimum: 0, default: 0, description: 'Another seed makes another split.' },
    key: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      minItems: 1,
      uniqueItems: true,
      description: 'The columns that are a row’s content. Default: `text`; without such a column all but `id` and `label`.',
    },
  },
  optional: ['stratify', 'key'],
  libraries: ['@duckdb/node-api'],
  check({ ratios }) {
    const problems: OptionProblem[] = [];
    const sum = ratios.reduce((total, ratio) => total + ratio, 0);
    if (Math.abs(sum - 1) > 1e-9) problems.push({ option: 'ratios', message: `the ratios sum to ${Number(sum.toPrecision(6))}, not to 1` });
    return problems;
  },
  async run(context) {
    const { split } = await import('./split.ts');
    await split(context);
  },
});
