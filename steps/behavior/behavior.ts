/** Tests a model's behaviour: makes cases, answers all their texts as `predict` does, judges the answers, and reports the failures. */

import { writeFile } from 'node:fs/promises';
import { type ContextOf, type Json, StepError } from '../../engine/contract/step.ts';
import { answerAll, inGroups } from '../ml/answering/answer-all.ts';
import { type Bundle, openBundle } from '../ml/answering/bundle.ts';
import type { Input } from '../ml/tasks/task.ts';
import { lexiconsOf, type PreparedTest, prepareTests } from './cases.ts';
import { type Judged, judge } from './judge.ts';
import { labelProblem, modelProblems } from './model-checks.ts';
import { allLexicons, type BehaviorTest } from './options.ts';
import {
  inOneLine,
  intervalOf,
  metricOf,
  rateInWords,
  rateOf,
  refuseFailures,
  reportOf,
  resultOf,
  type TestResult,
  worstOf,
  writeCases,
} from './report.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

export async function behavior(context: Context): Promise<void> {
  const { options, inputs, outputs } = context;
  // The tokenizers library reads this when it starts its first thread.
  process.env.RAYON_NUM_THREADS ??= String(context.threads);
  const tests = options.tests as Record<string, BehaviorTest>;
  const bundle = await openBundle(inputs.model);
  refuseUnfit(tests, bundle);
  const prepared = await prepareTests({
    tests,
    lexicons: allLexicons(options.lexicons as Record<string, string[]>),
    fields: bundle.fields,
    columns: bundle.encoding.fields ?? {},
    data: inputs.data,
    split: options.split,
    rows: options.rows,
    seed: options.seed,
  });
  if (bundle.task === 'text-classification' && bundle.problem !== 'regression') refuseUnknownLabels(prepared, bundle);
  const answers = await answersTo(prepared, bundle, context);
  const results = prepared.map((test) => judgeTest(test, answers, bundle, options.max_failures));
  warnOf(results, context);
  for (const result of results) {
    if (!result.undefined) context.metric(metricOf(result), rateOf(result), { better: 'lower', ...intervalOf(result) });
    logTest(result, context);
  }
  await writeCases(outputs.cases!, results);
  const about = { task: bundle.task, seed: options.seed, split: inputs.data === undefined ? undefined : options.split };
  await writeFile(outputs.report!, `${JSON.stringify(reportOf(results, about), null, 2)}\n`);
  // A failed step keeps what it has written, in .tunesmith/failed/.
  refuseFailures(results, context.cell.cell);
  context.result(summary(results));
}

function refuseUnfit(tests: Record<string, BehaviorTest>, { task, problem, labels, fields, encoding }: Bundle): void {
  const pair = fields.find(({ name }) => name === 'text_pair');
  const pairs = pair?.optional ? undefined : pair !== undefined;
  const group = fields.find((field) => field.group)?.name;
  const [problemFound] = modelProblems(tests, { task, problem, labels, pairs, group, columns: encoding.fields });
  if (problemFound) throw new StepError(problemFound.message, problemFound.hint, problemFound.option.split('.'));
}

/** Labels that contain slots of a template are known only now. */
function refuseUnknownLabels(tests: PreparedTest[], { labels }: Bundle): void {
  for (const { name, cases } of tests)
    for (const { expect } of cases) {
      const problem =
        expect === undefined || (typeof expect === 'object' && !Array.isArray(expect))
          ? undefined
          : labelProblem([expect].flat().map(String), { labels });
      if (problem) throw new StepError(problem.message, problem.hint, ['tests', name, 'expect']);
    }
}

type Answers = ReadonlyMap<string, Json | StepError>;

const keyOf = (input: Input): string => JSON.stringify(Object.entries(input).sort(([a], [b]) => (a < b ? -1 : 1)));

/** The answers to all different inputs of the tests, which may share texts. */
async function answersTo(tests: PreparedTest[], bundle: Bundle, { threads, signal, progress }: Context): Promise<Answers> {
  const inputs = new Map<string, Input>();
  for (const { cases } of tests)
    for (const { before, after } of cases) for (const input of [before, after]) if (input) inputs.set(keyOf(input), input);
  const keys = [...inputs.keys()];
  const answers = new Map<string, Json | StepError>();
  for await (const group of answerAll(bundle, inGroups([...inputs.values()]), { threads, signal })) {
    for (const answer of group) answers.set(keys[answers.size]!, answer);
    progress(answers.size, keys.length);
  }
  return answers;
}

function judgeTest(test: PreparedTest, answers: Answers, bundle: Bundle, maxFailures: number | string | undefined): TestResult {
  const judged: Judged[] = [];
  const counts = { undecided: 0, unreadable: 0 };
  for (const one of test.cases) {
    const before = answers.get(keyOf(one.before))!;
    const after = one.after && answers.get(keyOf(one.after))!;
    if (before instanceof StepError || after instanceof StepError) counts.unreadable++;
    else {
      const verdict = judge(test, one, { before, ...(after !== undefined && { after }) }, bundle);
      if (verdict) judged.push(verdict);
      else counts.undecided++;
    }
  }
  return resultOf(test, { judged, ...counts }, maxFailures);
}

function warnOf(results: TestResult[], { options, warn }: Context): void {
  for (const result of results) {
    const { test, unreadable } = result;
    if (result.undefined) {
      warn(`${test.name}: n/a, because ${result.undefined}`);
      continue;
    }
    if (unreadable > 0) warn(`${test.name}: the model cannot read ${unreadable} of ${test.cases.length} cases, which do not count`);
  }
  const used = new Set(results.flatMap(({ test }) => lexiconsOf(test.options)));
  for (const name of Object.keys(options.lexicons)) if (!used.has(name)) warn(`no test uses the lexicon \`${name}\``);
}

/** How many failed cases of a test the log shows. */
const LOGGED = 5;

function logTest(result: TestResult, { log }: Context): void {
  const { test, failures, judged } = result;
  log(`${test.name} (${test.kind}): ${result.undefined ? 'n/a' : `${failures} of ${judged.length} cases failed (${rateInWords(result)})`}`);
  for (const one of worstOf(result, LOGGED)) log(`  ${inOneLine(one, test)}`);
}

function summary(results: TestResult[]): string {
  const cases = results.reduce((sum, { judged }) => sum + judged.length, 0);
  const failures = results.reduce((sum, result) => sum + result.failures, 0);
  const failing = results.filter((result) => result.failures > 0).length;
  return `${failures} of ${cases} cases failed, in ${failing} of ${results.length} tests`;
}
