/** The options of behavior, and what they may combine. What depends on the model is in model-checks.ts. */

import type { OptionProblem, OptionSchemas } from '../../engine/contract/step.ts';
import { FORMS, type NamedChange } from './changes.ts';
import { BUILT_IN, type Lexicons } from './lexicons.ts';
import { templateProblem } from './template.ts';

/** The fields of one input by name, or its only text. */
type Texts = string | Record<string, string>;

export type Expectation = string | number | string[] | Record<string, string | string[]>;

export interface GivenCase {
  expect?: Expectation;
  [field: string]: unknown;
}

export interface ScoreChange {
  label?: string;
  change: 'up' | 'down';
  tolerance?: number;
  at_least?: number;
}

export type ChangeOption = 'typos' | NamedChange | Record<string, unknown>;

/** One test, as the schema accepts it. */
export interface BehaviorTest {
  template?: Texts | Texts[];
  cases?: (string | GivenCase)[];
  expect?: Expectation;
  change?: ChangeOption;
  add?: string | string[];
  at?: 'end' | 'start';
  field?: string;
  score?: ScoreChange;
  tolerance?: number;
  rows?: number;
  max_failures?: number | string;
}

export type TestKind = 'minimum functionality' | 'invariance' | 'direction';

export function kindOf(test: BehaviorTest): TestKind {
  if (test.change === undefined && test.add === undefined) return 'minimum functionality';
  return test.score === undefined ? 'invariance' : 'direction';
}

/** Whether the test changes texts of the input `data`. */
export const readsData = (test: BehaviorTest): boolean =>
  kindOf(test) !== 'minimum functionality' && test.template === undefined && test.cases === undefined;

export const NO_TEXTS = {
  message: 'this test has no texts to change',
  hint: 'Give the step `data`, a table of texts, or the test `template` or `cases`.',
};

const TEXTS = {
  anyOf: [
    { type: 'string', minLength: 1 },
    { type: 'object', additionalProperties: { type: 'string' }, minProperties: 1 },
  ],
} as const;

const TEXT = { type: 'string', minLength: 1 } as const;

const MAX_FAILURES = {
  anyOf: [
    { type: 'number', minimum: 0 },
    { type: 'string', minLength: 1 },
  ],
  title: 'a share such as "<= 0.05" or "<= 5%", or a number of cases',
} as const;

const EXPECT = {
  anyOf: [
    { type: 'string' },
    { type: 'number' },
    { type: 'array', items: { type: 'string' } },
    {
      type: 'object',
      additionalProperties: { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] },
    },
  ],
} as const;

const formOf = (name: NamedChange) =>
  FORMS[name].length === 0 ? {} : { [name]: { enum: FORMS[name], description: `Only this form of \`${name}\`.` } };

const NAMES = Object.keys(FORMS) as NamedChange[];

const CHANGE = {
  anyOf: [
    { enum: ['typos', ...NAMES] },
    {
      type: 'object',
      properties: {
        typos: { type: 'integer', minimum: 1, description: 'The number of swaps.' },
        ...Object.assign({}, ...NAMES.map(formOf)),
        replace: {
          type: 'array',
          items: { type: 'array', items: { type: 'string' }, minItems: 2, maxItems: 2 },
          minItems: 1,
          description: 'Pairs of words or phrases: the first one is replaced by the second one, in the case of the text.',
        },
        lexicon: { type: 'string', minLength: 1, description: 'Replaces each word of this lexicon by another one of it.' },
      },
      additionalProperties: false,
      minProperties: 1,
      maxProperties: 1,
    },
  ],
} as const;

export const optionSchemas = {
  tests: {
    type: 'object',
    description:
      'The tests by name. A test with `expect` is a minimum functionality test. A test with `change` or `add` compares the answers before and after: with `score` it is a direction test, otherwise an invariance test.',
    minProperties: 1,
    propertyNames: { pattern: '^[^.[\\]]+$', title: 'a name without dots and brackets' },
    additionalProperties: {
      type: 'object',
      properties: {
        template: {
          anyOf: [...TEXTS.anyOf, { type: 'array', items: TEXTS, minItems: 1 }],
          description:
            'A text with slots, `I {feeling} this {thing}.`, or several. A map has the text of each field. A slot is the name of a lexicon; `{name:a}` and `{name:b}` are two slots of one lexicon.',
        },
        cases: {
          type: 'array',
          items: {
            anyOf: [
              TEXT,
              {
                type: 'object',
                properties: { expect: { ...EXPECT, description: 'The expected answer of this case.' } },
                additionalProperties: { type: 'string' },
                minProperties: 1,
              },
            ],
          },
          minItems: 1,
          description: 'Texts, or maps of the fields and `expect`: `{ text: …, expect: positive }`.',
        },
        expect: {
          ...EXPECT,
          description:
            'The expected answer. One label of several: the label, or a list of possible labels. Any number of labels: a label that must be predicted, or the list of all. Regression: a number with `tolerance`, or a comparison such as `">= 0.5"`. question-answering: the answer, a list of possible answers, or an empty text for no answer. token-classification: a map from entity to text, or a list with the tag of each word. It may contain slots of the template.',
        },
        change: {
          ...CHANGE,
          description:
            'Changes texts: `typos`, `contractions`, `case`, `punctuation`, `names`, `locations`, `numbers`, `urls` or `handles`, or a map with one entry, such as `{ typos: 2 }`, `{ case: lower }`, `{ replace: [[good, great]] }` or `{ lexicon: thing }`.',
        },
        add: {
          anyOf: [TEXT, { type: 'array', items: TEXT, minItems: 1 }],
          description: 'Adds a phrase to texts; with a list, each text is tested with each phrase. It may contain slots.',
        },
        at: { enum: ['end', 'start'], description: 'Where `add` adds the phrase. Default: `end`.' },
        field: {
          type: 'string',
          minLength: 1,
          description: 'The field that is changed, such as `text_pair`, or its column. Default: the first one, such as `text`.',
        },
        score: {
          type: 'object',
          properties: {
            label: { type: 'string', description: 'The label whose probability counts. Regression has none.' },
            change: { enum: ['up', 'down'], description: 'How the score must change.' },
            tolerance: {
              type: 'number',
              minimum: 0,
              description: 'The score may move in the other direction by as much as this. Default: 0.',
            },
            at_least: {
              type: 'number',
              exclusiveMinimum: 0,
              description: 'The score must move by at least this. Without it, a score that stays passes.',
            },
          },
          required: ['change'],
          additionalProperties: false,
          description: 'For a direction test: how a score must change.',
        },
        tolerance: {
          type: 'number',
          minimum: 0,
          description:
            'Invariance: another label passes if the score of the first label changes by no more than this. Regression: how far the number may be from the expected or the first one.',
        },
        rows: { type: 'integer', minimum: 1, description: "The most texts of this test. Default: the step's `rows`; all of `cases`." },
        max_failures: { ...MAX_FAILURES, description: "The most failures of this test. Overrides the step's `max_failures`." },
      },
      additionalProperties: false,
    },
  },
  lexicons: {
    type: 'object',
    propertyNames: { pattern: '^[\\p{L}\\p{N}_-]+$', title: 'a name of letters, digits, _ and -' },
    additionalProperties: {
      type: 'array',
      items: { type: ['string', 'number'] },
      minItems: 1,
      uniqueItems: true,
    },
    default: {},
    description: `Lists of words by name, for slots. Also known: ${Object.keys(BUILT_IN)
      .map((name) => `\`${name}\``)
      .join(', ')}.`,
  },
  split: {
    anyOf: [{ type: 'string', minLength: 1 }, { const: false }],
    defaultInMatrix: 'validation',
    description:
      'The split of `data` whose texts are tested. Default: `test`, or all texts if the data have no column `split`. In a matrix the default is `validation`, so that no model is chosen by its results on `test`. `false`: the data have no column `split`.',
  },
  rows: {
    type: 'integer',
    minimum: 1,
    default: 1000,
    description: 'The most texts of a test, chosen by `seed`. Texts that the change of the test leaves as they are do not count.',
  },
  max_failures: {
    ...MAX_FAILURES,
    description:
      'The most failures of each test: a share of its cases, `"<= 0.05"` or `"<= 5%"`, or a number of cases, `"<= 3"`. A number below 1 is a share. If a test has more, the step fails and lists it. Default: failures are only reported.',
  },
  seed: { type: 'integer', minimum: 0, default: 0, description: 'The random seed of samples and changes.' },
} as const satisfies OptionSchemas;

/** The lexicons of a pipeline with those that are always known. */
export const allLexicons = (own: Record<string, readonly (string | number)[]>): Lexicons => ({
  ...BUILT_IN,
  ...Object.fromEntries(Object.entries(own).map(([name, values]) => [name, values.map(String)])),
});

/* A threshold. */

export interface FailureLimit {
  /** A share of the cases, or their number. */
  unit: 'share' | 'count';
  limit: number;
  /** Whether the limit itself is too much. */
  strict: boolean;
  /** As messages show it. */
  text: string;
}

/** Undefined for an invalid one. */
export function thresholdOf(given: number | string): FailureLimit | undefined {
  const [, sign = '<=', digits, percent] = /^\s*(<=|≤|<)?\s*(\d+(?:\.\d+)?)\s*(%)?\s*$/.exec(String(given)) ?? [];
  if (digits === undefined) return undefined;
  const strict = sign === '<';
  // Not a division: 0.7 / 100 is less than 0.007, so 7 of 1,000 cases would be too many.
  const number = Number(percent ? `${digits}e-2` : digits);
  const share = percent !== undefined || digits.includes('.');
  if ((share && number > 1) || (strict && number === 0)) return undefined;
  return { unit: share ? 'share' : 'count', limit: number, strict, text: `${strict ? '<' : '<='} ${digits}${percent ?? ''}` };
}

/* Checks that need no model. */

interface Options {
  tests: Record<string, BehaviorTest>;
  lexicons: Record<string, readonly (string | number)[]>;
  max_failures?: number | string;
}

export function checkOptions(options: Options): OptionProblem[] {
  const lexicons = allLexicons(options.lexicons);
  return [
    ...thresholdProblem(options.max_failures, 'max_failures'),
    ...Object.entries(options.tests).flatMap(([name, test]) => checkTest(test, `tests.${name}`, lexicons)),
  ];
}

function thresholdProblem(given: number | string | undefined, option: string): OptionProblem[] {
  if (given === undefined || thresholdOf(given)) return [];
  return [
    {
      option,
      message: `\`max_failures\` cannot be ${JSON.stringify(given)}`,
      hint: 'Write a share of the cases, such as "<= 0.05" or "<= 5%", or a number of cases, such as "<= 3".',
    },
  ];
}

function checkTest(test: BehaviorTest, at: string, lexicons: Lexicons): OptionProblem[] {
  const kind = kindOf(test);
  return [
    ...(kind === 'minimum functionality' ? checkFunctionality(test, at) : checkChange(test, kind, at)),
    ...checkSlots(test, at, lexicons),
    ...thresholdProblem(test.max_failures, `${at}.max_failures`),
    ...(test.template !== undefined && test.cases !== undefined
      ? [{ option: `${at}.cases`, message: '`cases` and `template` exclude each other', hint: 'Make two tests of them.' }]
      : []),
  ];
}

function checkFunctionality(test: BehaviorTest, at: string): OptionProblem[] {
  const alien = (['score', 'at', 'field'] as const).filter((option) => test[option] !== undefined);
  const problems: OptionProblem[] = alien.map((option) => ({
    option: `${at}.${option}`,
    message: `\`${option}\` needs \`change\` or \`add\``,
  }));
  if (test.template === undefined && test.cases === undefined)
    problems.push({
      option: at,
      message: 'this test tests nothing: it has neither `template` nor `cases`, and neither `change` nor `add`',
      hint: 'Minimum functionality: `template` or `cases`, and `expect`. Invariance: `change`. Direction: `add` or `change`, and `score`.',
    });
  else if (test.expect === undefined) {
    const without = test.cases?.findIndex((one) => typeof one === 'string' || one.expect === undefined);
    if (without === undefined) problems.push({ option: at, message: '`template` needs `expect`, the expected answer' });
    else if (without >= 0)
      problems.push({
        option: `${at}.cases.${without}`,
        message: 'this case has no `expect`, and neither has the test',
        hint: 'Write `expect:` in the case, or below the name of the test for all of its cases.',
      });
  }
  return problems;
}

function checkChange(test: BehaviorTest, kind: TestKind, at: string): OptionProblem[] {
  const problems: OptionProblem[] = [];
  if (test.change !== undefined && test.add !== undefined)
    problems.push({ option: `${at}.add`, message: '`add` and `change` exclude each other', hint: 'Make two tests of them.' });
  if (test.at !== undefined && test.add === undefined) problems.push({ option: `${at}.at`, message: '`at` needs `add`' });
  if (test.expect !== undefined)
    problems.push({
      option: `${at}.expect`,
      message: `\`expect\` does not apply to a test with \`${test.add === undefined ? 'change' : 'add'}\`: the answers before and after are compared`,
      hint: 'Remove `expect`, or make another test of it.',
    });
  const place = test.cases?.findIndex((one) => typeof one !== 'string' && one.expect !== undefined) ?? -1;
  if (place >= 0)
    problems.push({
      option: `${at}.cases.${place}.expect`,
      message: '`expect` does not apply to a test with `change` or `add`: the answers before and after are compared',
    });
  if (kind === 'direction' && test.tolerance !== undefined)
    problems.push({ option: `${at}.tolerance`, message: '`tolerance` of a direction test belongs into `score`' });
  if (test.score?.tolerance !== undefined && test.score.at_least !== undefined)
    problems.push({ option: `${at}.score.at_least`, message: '`at_least` and `tolerance` exclude each other' });
  return problems;
}

/** All slots must have a lexicon, and those of `expect` must occur in the template. */
function checkSlots(test: BehaviorTest, at: string, lexicons: Lexicons): OptionProblem[] {
  const problems: OptionProblem[] = [];
  const look = (text: string, option: string) => {
    const problem = templateProblem(text, lexicons);
    if (problem) problems.push({ option, ...problem });
  };
  for (const [i, template] of [test.template ?? []].flat().entries()) {
    const option = Array.isArray(test.template) ? `${at}.template.${i}` : `${at}.template`;
    if (typeof template === 'string') look(template, option);
    else for (const [field, text] of Object.entries(template)) look(text, `${option}.${field}`);
  }
  for (const [i, phrase] of [test.add ?? []].flat().entries()) look(phrase, Array.isArray(test.add) ? `${at}.add.${i}` : `${at}.add`);
  if (typeof test.change === 'object' && typeof test.change.lexicon === 'string' && !Object.hasOwn(lexicons, test.change.lexicon))
    problems.push({
      option: `${at}.change.lexicon`,
      message: `there is no lexicon \`${test.change.lexicon}\``,
      hint: `Known: ${Object.keys(lexicons).join(', ')}.`,
    });
  return problems;
}
