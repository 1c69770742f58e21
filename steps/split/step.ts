/** split: assigns each row to train, validation or test. */
import { aliasesOf, declareStep, type OptionProblem } from '../../engine/contract/step.ts';

const COLUMNS = { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, uniqueItems: true } as const;

export default declareStep({
  name: 'split',
  version: 3,
  description: 'Adds a column `split`. Rows with the same content, or with the same `group`, are always in the same split.',
  aliases: aliasesOf(
    {
      ratios: 'test_size train_size valid_size validation_size val_size validation_split split splits sizes proportions fractions',
      stratify: 'stratify_by_column stratified stratify_by',
      group: 'groups group_by group_column',
      seed: 'random_state random_seed',
      data: 'dataset table',
    },
    {
      shuffle: 'It is not needed: rows are always shuffled, by `seed`.',
    },
  ),
  inputs: {
    data: { kind: 'folder', description: 'A table.' },
    previous: {
      kind: 'any',
      optional: true,
      description:
        'An earlier split: a copy of the output `assignment` or `data`, or a CSV, JSON lines or Parquet file with a column `split`. The rows of the earlier split stay in their split, and only new rows are assigned. An `assignment` with another `group` or `key` is an error.',
    },
  },
  outputs: {
    data: { kind: 'folder', description: 'The table with a column `split`.' },
    assignment: {
      kind: 'file',
      description: 'A hash and the split of each row or group, including those of `previous`, as CSV. Keep a copy as the next `previous`.',
    },
  },
  options: {
    ratios: {
      type: 'array',
      items: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 },
      minItems: 2,
      maxItems: 3,
      default: [0.8, 0.1, 0.1],
      description: 'The shares of train, validation and test. Two numbers are train and test.',
    },
    assign: {
      enum: ['balanced', 'stable'],
      default: 'balanced',
      description:
        '`balanced`: exact shares (with `group`, as exact as the groups allow), but rows may move to another split when the data change. `stable`: rows never move, because the split depends only on content (or group) and seed, but shares are exact only on average.',
    },
    stratify: {
      type: 'string',
      minLength: 1,
      description: 'A column, usually the label. The rows of each value are split by `ratios`. Needs `assign: balanced`.',
    },
    group: {
      oneOf: [{ type: 'string', minLength: 1 }, COLUMNS],
      description:
        'One or several columns, such as a customer or a document. Rows with equal values in all of them stay in the same split.',
    },
    seed: { type: 'integer', minimum: 0, default: 0, description: 'The random seed. Another seed gives another split.' },
    key: {
      ...COLUMNS,
      description:
        'The columns that make up the content of a row. Default: the column of texts. Without such a column: all columns except `id` and `label`.',
    },
  },
  optional: ['stratify', 'group', 'key'],
  libraries: ['@duckdb/node-api'],
  reusableProcess: true,
  check({ ratios, assign, stratify }) {
    const problems: OptionProblem[] = [];
    const sum = ratios.reduce((total, ratio) => total + ratio, 0);
    if (Math.abs(sum - 1) > 1e-9)
      problems.push({ option: 'ratios', message: `\`ratios\` must sum to 1; they sum to ${Number(sum.toPrecision(6))}` });
    if (assign === 'stable' && stratify !== undefined)
      problems.push({
        option: 'stratify',
        message: '`stratify` needs `assign: balanced`, because stratifying considers all rows of a label together, so that rows may move',
      });
    return problems;
  },
});
