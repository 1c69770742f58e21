/** The options of evaluate that compare groups of rows: their schemas, and what a schema cannot express. */

import type { OptionProblem } from '../../engine/contract/step.ts';
import { pairsProblem, swapSchema } from '../ml/data/terms.ts';

const TERMS = { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, uniqueItems: true } as const;

const COLUMN = { type: 'string', minLength: 1 } as const;

const MIN_ROWS = { type: 'integer', minimum: 1 } as const;

export const sliceOptions = {
  slices: {
    type: 'object',
    minProperties: 1,
    additionalProperties: {
      type: 'object',
      properties: {
        column: { ...COLUMN, description: 'A column: one slice for each value, and one for missing values.' },
        where: {
          type: 'string',
          minLength: 1,
          description:
            'An SQL expression on the columns of the predictions and of `data`: the slice of the rows where it is true, and its complement.',
        },
        length: { ...COLUMN, description: 'A column of texts, or of lists of words: slices by length.' },
        terms: {
          anyOf: [TERMS, { type: 'object', minProperties: 1, additionalProperties: TERMS }],
          description:
            'Whole words or phrases, in any case: a slice of the texts with at least one of them, and a slice of the others. A map of lists gives a slice for each list; a text can be in several.',
        },
        in: { ...COLUMN, description: 'The column of texts in which `terms` are searched. Default: the column that the model reads.' },
        unit: {
          enum: ['characters', 'words', 'tokens'],
          description:
            'What `length` counts. `characters` (the default) are Unicode code points, `words` are separated by white space, and `tokens` are those of the whole input as the model reads it.',
        },
        edges: {
          type: 'array',
          items: { type: 'number' },
          minItems: 1,
          uniqueItems: true,
          description:
            'The lengths at which slices begin, in ascending order: `[50, 200]` gives < 50, 50–199 and ≥ 200. Default: the quartiles.',
        },
        max: {
          type: 'integer',
          minimum: 2,
          description:
            'The largest number of values of `column` that get a slice; all other values share the slice `(other)`. Default: 20.',
        },
        metric: {
          type: 'string',
          minLength: 1,
          description:
            'The metric by which the slices are compared. Default: the first of `metrics`; without `metrics`, accuracy, or the first usual metric of the task (f1 for token-classification).',
        },
        min_rows: { ...MIN_ROWS, description: 'Slices with fewer rows do not count for the gap. Default: 10.' },
      },
      additionalProperties: false,
    },
    description:
      'Groups of rows, by name: each gets its own metrics with confidence intervals, the worst slice first. Give one of `column`, `where`, `length` and `terms`. `gap.NAME` is the difference between the best and the worst slice.',
  },
  discover: {
    type: 'object',
    properties: {
      columns: {
        type: 'array',
        items: COLUMN,
        minItems: 1,
        uniqueItems: true,
        description: 'The columns to combine. Default: all columns of `data` with few different values, and all columns of numbers.',
      },
      min_rows: { ...MIN_ROWS, description: 'Combinations with fewer rows are not tested. Default: 20.' },
      max: { type: 'integer', minimum: 1, description: 'The number of combinations to report. Default: 10.' },
    },
    additionalProperties: false,
    description:
      'Searches for slices: values of one or two columns whose rows have a higher error than the other rows. They are sorted by the lower bound of the difference, at the level of 95% for all tested combinations together.',
  },
  fairness: {
    type: 'object',
    properties: {
      group: {
        anyOf: [COLUMN, { type: 'array', items: COLUMN, minItems: 1, uniqueItems: true }],
        description: 'The column with the group of each row. With several columns, each combination of values is a group.',
      },
      positive: {
        type: 'string',
        minLength: 1,
        description: 'The positive label. Default: `positive`; with more than two labels, each label in turn is compared with all others.',
      },
      min_rows: {
        ...MIN_ROWS,
        description:
          'Groups with fewer rows are left out. Default: 1, as in fairlearn. A warning names groups with fewer than 10 rows that decide a figure.',
      },
    },
    required: ['group'],
    additionalProperties: false,
    description:
      "Fairness between groups, with fairlearn's definitions: the rates of each group, and the demographic parity and equalized odds differences and ratios. Only for text-classification with labels.",
  },
  counterfactual: {
    type: 'object',
    properties: {
      swap: swapSchema,
      examples: { type: 'integer', minimum: 0, description: 'The number of examples to report, the largest changes first. Default: 20.' },
    },
    required: ['swap'],
    additionalProperties: false,
    description:
      'Swaps terms in the texts of `data` and predicts again: the share of texts whose label changes, and the change of the scores. Only texts with a term count. Only for text-classification.',
  },
} as const;

/** Exactly one of them defines a slice. */
const KINDS = ['column', 'where', 'length', 'terms'] as const;

/** The kinds that each further key applies to. */
const APPLIES: Record<string, (typeof KINDS)[number]> = { in: 'terms', unit: 'length', edges: 'length', max: 'column' };

export interface SliceDefinition {
  column?: string;
  where?: string;
  length?: string;
  terms?: string[] | Record<string, string[]>;
  in?: string;
  unit?: 'characters' | 'words' | 'tokens';
  edges?: number[];
  max?: number;
  metric?: string;
  min_rows?: number;
}

/** As the schema types them. */
interface Options {
  metrics?: string[];
  slices?: Record<string, unknown>;
  discover?: { columns?: string[] };
  counterfactual?: { swap: { terms: string[][] } };
}

/** Options that need the columns of `data`, for an evaluation without them. */
export function dataProblems({ slices = {}, discover, counterfactual }: Options): OptionProblem[] {
  const lacking = (option: string) => ({
    option,
    message: `\`${option}\` needs the input \`data\``,
    hint: 'Give the data that the tokens were made from: `data: ${{ steps.split.data }}`.',
  });
  const ofTexts = Object.entries(slices as Record<string, SliceDefinition>).filter(
    ([, { terms, length, unit }]) => terms || (length !== undefined && unit !== 'tokens'),
  );
  return [
    ...ofTexts.map(([name]) => lacking(`slices.${name}`)),
    ...(discover && !discover.columns ? [lacking('discover')] : []),
    ...(counterfactual ? [lacking('counterfactual')] : []),
  ];
}

/** What is wrong with the definitions themselves. */
export function sliceProblems({ slices = {}, metrics, counterfactual }: Options): OptionProblem[] {
  const wrong = counterfactual && pairsProblem(counterfactual.swap.terms);
  return [
    ...Object.entries(slices as Record<string, SliceDefinition>).flatMap(([name, slice]) => definitionProblems(`slices.${name}`, slice)),
    ...Object.entries(slices as Record<string, SliceDefinition>).flatMap(([name, { metric }]) =>
      metric === undefined || metrics === undefined || metrics.includes(metric)
        ? []
        : [
            {
              option: `slices.${name}.metric`,
              message: `\`metrics\` does not have ${metric}`,
              hint: `Add it, or use one of ${metrics.join(', ')}.`,
            },
          ],
    ),
    ...(wrong === undefined ? [] : [{ option: 'counterfactual.swap.terms', message: `counterfactual: ${wrong}` }]),
  ];
}

function definitionProblems(option: string, slice: SliceDefinition): OptionProblem[] {
  const kinds = KINDS.filter((kind) => slice[kind] !== undefined);
  if (kinds.length !== 1) {
    const given = kinds.length === 0 ? 'none of them' : kinds.map((kind) => `\`${kind}\``).join(' and ');
    return [{ option, message: `${option} needs one of column, where, length and terms, and has ${given}` }];
  }
  const foreign = Object.keys(slice).filter((key) => APPLIES[key] !== undefined && APPLIES[key] !== kinds[0]);
  const { edges = [] } = slice;
  const unsorted = edges.some((edge, i) => i > 0 && edge <= edges[i - 1]!);
  return [
    ...foreign.map((key) => ({
      option: `${option}.${key}`,
      message: `\`${key}\` applies only to slices by \`${APPLIES[key]}\`, not by \`${kinds[0]}\``,
    })),
    ...(unsorted ? [{ option: `${option}.edges`, message: `\`edges\` must be in ascending order: ${edges.join(', ')}` }] : []),
    ...emptyTerms(option, slice),
  ];
}

function emptyTerms(option: string, { terms = [] }: SliceDefinition): OptionProblem[] {
  const all = Array.isArray(terms) ? terms : Object.values(terms).flat();
  return all.some((term) => term.trim() === '') ? [{ option: `${option}.terms`, message: 'a term is empty' }] : [];
}
