/** What the tests and the model must have in common. It is checked when the pipeline is read, as far as the model is known. */

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { nearest, type OptionProblem, type Upstream } from '../../engine/contract/step.ts';
import { CALIBRATION } from '../ml/models/calibration.ts';
import { type ConfigFile, knownTask, labelsOf, type ProblemType, problemOf, type Task } from '../ml/models/config.ts';
import { listed } from '../ml/models/json.ts';
import { tokensAhead } from '../ml/tasks/metrics.ts';
import { type BehaviorTest, type Expectation, kindOf } from './options.ts';

/** What is known of a model. */
export interface AboutModel {
  task: Task;
  problem: ProblemType;
  /** Unknown before the tokens exist. */
  labels?: string[] | undefined;
  /** Unknown for a text classifier from elsewhere, which may also classify pairs. */
  pairs?: boolean | undefined;
  /** The column whose values have thresholds of their own: a field of every input. */
  group?: string | undefined;
  /** The column of each field. `field` of a test may have either name. */
  columns?: Record<string, unknown> | undefined;
}

const TASKS: Task[] = ['text-classification', 'question-answering', 'token-classification'];

/** From the files of the model if they exist, otherwise from the steps that make it; undefined if nothing is known. */
export function modelAhead(upstream: Upstream | undefined, folder: string | undefined): AboutModel | undefined {
  if (folder !== undefined && existsSync(path.join(folder, 'config.json'))) return aboutFolder(folder);
  const { train, group } = trainBehind(upstream);
  const ahead = train && tokensAhead(train.inputs.tokens);
  if (!ahead) return undefined;
  const { options: columns } = train.inputs.tokens![0]!;
  const pairs = columns.text_pair !== undefined;
  return { task: ahead.task, problem: ahead.problem, labels: ahead.labels, pairs, group, columns };
}

/** The step that trains the model, and the `group` of a calibrate step after it. */
function trainBehind(upstream: Upstream | undefined): { train?: Upstream; group?: string } {
  if (upstream === undefined) return {};
  if (upstream.uses === 'train') return { train: upstream };
  const behind = trainBehind((upstream.inputs.model ?? upstream.inputs.pick)?.[0]);
  return upstream.uses === 'calibrate' && typeof upstream.options.group === 'string'
    ? { ...behind, group: upstream.options.group }
    : behind;
}

function aboutFolder(folder: string): AboutModel | undefined {
  const read = (name: string) => JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
  try {
    const config = read('config.json') as ConfigFile;
    const task = knownTask(config);
    const labels = labelsOf(config);
    if (!task || !labels) return undefined; // the step reports it
    const { pairs, max_length, fields } = existsSync(path.join(folder, 'training.json')) ? read('training.json') : {};
    const { group } = existsSync(path.join(folder, CALIBRATION)) ? read(CALIBRATION) : {};
    const about = { task, problem: problemOf(config, labels), labels, group, columns: fields };
    return { ...about, pairs: max_length === undefined ? undefined : pairs === true };
  } catch {
    return undefined; // the step reports it
  }
}

export function modelProblems(tests: Record<string, BehaviorTest>, model: AboutModel): OptionProblem[] {
  if (!TASKS.includes(model.task))
    return [
      {
        option: 'model',
        message: `behavior cannot test a model for ${model.task}`,
        hint: `It tests models for ${TASKS.join(', ')}.`,
      },
    ];
  return Object.entries(tests).flatMap(([name, test]) => testProblems(test, `tests.${name}`, model));
}

function testProblems(test: BehaviorTest, at: string, model: AboutModel): OptionProblem[] {
  const kind = kindOf(test);
  if (kind !== 'minimum functionality' && model.task === 'token-classification')
    return [
      {
        option: at,
        message: `there is no ${kind} test for ${model.task}: a change moves the words that have tags`,
        hint: 'Use a minimum functionality test: `template` or `cases`, and `expect`.',
      },
    ];
  if (kind === 'direction' && model.task !== 'text-classification')
    return [{ option: `${at}.score`, message: `a direction test needs a score, which ${model.task} does not have` }];
  return [
    ...fieldProblems(test, at, model),
    ...expectProblems(test, at, model),
    ...scoreProblems(test, at, model),
    ...toleranceProblems(test, at, model),
  ];
}

/* Fields. */

/** The fields of an input, the first one first; `texts` can be changed. */
function fieldsOf({ task, pairs, group }: AboutModel): { texts: string[]; required: string[]; optional: string[] } {
  const texts = task === 'question-answering' ? ['question', 'context'] : pairs ? ['text', 'text_pair'] : ['text'];
  return {
    texts,
    required: group === undefined ? texts : [...texts, group],
    optional: task === 'text-classification' && pairs === undefined ? ['text_pair'] : [],
  };
}

/** The field of this name, otherwise the one with this column. */
export function fieldNamed(name: string, fields: readonly string[], columns: Record<string, unknown> = {}): string {
  return fields.includes(name) ? name : (fields.find((field) => columns[field] === name) ?? name);
}

function fieldProblems(test: BehaviorTest, at: string, model: AboutModel): OptionProblem[] {
  const { texts, required, optional } = fieldsOf(model);
  const problems: OptionProblem[] = [];
  const look = (given: string | Record<string, unknown>, option: string) => {
    const names = typeof given === 'string' ? [required[0]!] : Object.keys(given).filter((name) => name !== 'expect');
    const lacking = required.find((name) => !names.includes(name));
    const odd = names.find((name) => ![...required, ...optional].includes(name));
    const hint = `An input of this model has ${required.map((name) => `\`${name}\``).join(' and ')}.`;
    if (odd !== undefined) problems.push({ option: `${option}.${odd}`, message: `this model has no field \`${odd}\``, hint });
    else if (lacking !== undefined) problems.push({ option, message: `the field \`${lacking}\` is missing`, hint });
  };
  for (const [i, one] of [test.template ?? []].flat().entries())
    look(one, Array.isArray(test.template) ? `${at}.template.${i}` : `${at}.template`);
  for (const [i, one] of (test.cases ?? []).entries()) look(one, `${at}.cases.${i}`);
  const changeable = model.task === 'question-answering' ? ['question'] : [...texts, ...optional];
  const field = test.field === undefined ? undefined : fieldNamed(test.field, changeable, model.columns);
  if (field !== undefined && !changeable.includes(field))
    problems.push({
      option: `${at}.field`,
      message:
        field === 'context' && model.task === 'question-answering'
          ? '`field: context` is not possible: a changed context also changes the answer, which is a part of it'
          : `this model has no field \`${test.field}\``,
      hint: `Use ${changeable.map((name) => `\`${name}\``).join(' or ')}.`,
    });
  return problems;
}

/* Expected answers. */

function expectProblems(test: BehaviorTest, at: string, model: AboutModel): OptionProblem[] {
  const own = test.cases?.flatMap((one, i) =>
    typeof one === 'string' || one.expect === undefined ? [] : [[one.expect, `${at}.cases.${i}.expect`] as const],
  );
  const all = [...(test.expect === undefined ? [] : [[test.expect, `${at}.expect`] as const]), ...(own ?? [])];
  return all.flatMap(([expect, option]) => {
    const problem = expectProblem(expect, test, model);
    return problem ? [{ option, ...problem }] : [];
  });
}

function expectProblem(expect: Expectation, test: BehaviorTest, model: AboutModel): Omit<OptionProblem, 'option'> | undefined {
  const isMap = typeof expect === 'object' && !Array.isArray(expect);
  if (model.task === 'token-classification') {
    if (isMap || Array.isArray(expect)) return undefined;
    return {
      message: '`expect` must be a map from entity to text, or a list of tags',
      hint: 'Write { PER: Ada, LOC: [Paris, Rome] }, {} for no entity, or the tag of each word: [B-PER, O].',
    };
  }
  if (isMap) return { message: `\`expect\` cannot be a map for ${model.task}`, hint: 'Only token-classification has entities.' };
  if (model.task === 'question-answering') return undefined;
  if (model.problem === 'regression') {
    if (typeof expect === 'number')
      return test.tolerance === undefined
        ? { message: 'an expected number needs `tolerance`', hint: 'Write `tolerance: 0.5` below it, or a comparison: expect: ">= 3".' }
        : undefined;
    if (typeof expect === 'string' && comparisonOf(expect)) return undefined;
    return { message: `the model predicts a number, not ${JSON.stringify(expect)}`, hint: 'Write a number, or a comparison: ">= 3".' };
  }
  // A label with a slot is filled later.
  const names = [expect]
    .flat()
    .map(String)
    .filter((name) => !(test.template !== undefined && name.includes('{')));
  return labelProblem(names, model);
}

export function labelProblem(names: string[], { labels }: Pick<AboutModel, 'labels'>): Omit<OptionProblem, 'option'> | undefined {
  const unknown = labels === undefined ? undefined : names.find((name) => !labels.includes(name));
  if (unknown === undefined) return undefined;
  const meant = nearest(unknown, labels!);
  return {
    message: `the model has no label ${JSON.stringify(unknown)}`,
    hint: `${meant === undefined ? '' : `Did you mean ${meant}? `}Its labels are ${listed(labels!, 20)}.`,
  };
}

/** `>= 3` as a function; undefined for another text. */
export function comparisonOf(text: string): ((value: number) => boolean) | undefined {
  const [, sign, digits] = /^\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)\s*$/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const limit = Number(digits);
  const compare = { '>=': (x: number) => x >= limit, '<=': (x: number) => x <= limit, '>': (x: number) => x > limit };
  return sign === '<' ? (x) => x < limit : compare[sign as keyof typeof compare];
}

/* Scores and tolerances. */

function scoreProblems({ score }: BehaviorTest, at: string, model: AboutModel): OptionProblem[] {
  if (score === undefined) return [];
  const option = `${at}.score.label`;
  if (model.problem === 'regression')
    return score.label === undefined
      ? []
      : [{ option, message: 'a regression has no labels: its score is the number', hint: 'Remove it.' }];
  if (score.label === undefined)
    return [
      {
        option: `${at}.score`,
        message: '`score` needs `label`: the label whose probability must change',
        ...(model.labels && { hint: `The labels are ${listed(model.labels, 20)}.` }),
      },
    ];
  const problem = labelProblem([score.label], model);
  return problem ? [{ option, ...problem }] : [];
}

function toleranceProblems(test: BehaviorTest, at: string, model: AboutModel): OptionProblem[] {
  const kind = kindOf(test);
  const isRegression = model.task === 'text-classification' && model.problem === 'regression';
  if (kind === 'invariance' && isRegression && test.tolerance === undefined)
    return [
      {
        option: at,
        message: 'an invariance test of a regression needs `tolerance`: how far the number may move',
        hint: 'Write `tolerance: 0.1` below it.',
      },
    ];
  if (test.tolerance !== undefined && !isRegression && (kind === 'minimum functionality' || model.task !== 'text-classification'))
    return [{ option: `${at}.tolerance`, message: '`tolerance` has no effect here', hint: 'Remove it.' }];
  return [];
}
