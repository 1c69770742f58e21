/** The results of the tests: the report, the table of cases, and the error if a test has too many failures. */

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StepError } from '../../engine/contract/step.ts';
import { Database } from '../ml/data/database.ts';
import { excerpts } from '../ml/data/excerpt.ts';
import { literal } from '../ml/data/sql.ts';
import { writeTable } from '../ml/data/table.ts';
import { wilsonInterval } from '../ml/metrics/proportions.ts';
import type { PreparedTest } from './cases.ts';
import type { Judged } from './judge.ts';
import { type FailureLimit, type TestKind, thresholdOf } from './options.ts';

export interface TestResult {
  test: PreparedTest;
  /** The cases that count. */
  judged: Judged[];
  failures: number;
  /** Cases whose score is at its limit, and cases that the model cannot read. */
  undecided: number;
  unreadable: number;
  threshold: FailureLimit | undefined;
  /** Why there is no failure rate. */
  undefined?: string;
}

export const rateOf = ({ judged, failures }: TestResult): number => failures / judged.length;

const LEVEL = 0.95;

/** Wilson's interval of the failure rate, as if the cases were drawn at random from all those that the test could have. */
export const intervalOf = ({ judged, failures }: TestResult): { low: number; high: number } =>
  wilsonInterval({ hits: failures, rows: judged.length }, LEVEL);

export const metricOf = ({ test }: TestResult): string => `failures.${test.name}`;

export function resultOf(
  test: PreparedTest,
  counts: Pick<TestResult, 'judged' | 'undecided' | 'unreadable'>,
  maxFailures: number | string | undefined,
): TestResult {
  const given = test.options.max_failures ?? maxFailures;
  const failures = counts.judged.filter(({ failed }) => failed).length;
  const threshold = given === undefined ? undefined : thresholdOf(given)!;
  const why = counts.judged.length > 0 ? undefined : whyUndefined(test, counts);
  return { test, failures, threshold, ...counts, ...(why !== undefined && { undefined: why }) };
}

function whyUndefined(
  { texts, unchanged, options }: PreparedTest,
  { undecided, unreadable }: { undecided: number; unreadable: number },
): string {
  const all = texts === 1 ? 'the only text' : `any of the ${texts.toLocaleString('en-US')} texts`;
  if (texts === 0) return 'there is no text';
  if (unchanged === texts) {
    const lexicon = typeof options.change === 'object' ? options.change.lexicon : undefined;
    return lexicon === undefined ? `the change does not alter ${all}` : `no word of the lexicon \`${lexicon}\` occurs in ${all}`;
  }
  if (undecided > 0)
    return `the score of \`${options.score!.label}\` is at its limit in all cases, so that none can ${undecidedMeans(options)}`;
  return unreadable > 0 ? 'the model cannot read any of the cases' : 'there is no case';
}

const undecidedMeans = ({ score }: PreparedTest['options']): string => (score?.at_least === undefined ? 'fail' : 'pass');

/* The report. */

/** How many failed cases of a test the report shows. */
const EXAMPLES = 20;

export const worstOf = ({ judged }: TestResult, most: number): Judged[] =>
  judged
    .filter(({ failed }) => failed)
    .sort((a, b) => b.severity - a.severity)
    .slice(0, most);

export function reportOf(results: TestResult[], about: { task: string; seed: number; split: string | false | undefined }): object {
  const kinds = new Map<TestKind, TestResult[]>();
  for (const result of results) kinds.set(result.test.kind, [...(kinds.get(result.test.kind) ?? []), result]);
  return {
    ...about,
    metrics: Object.fromEntries(results.map((result) => [metricOf(result), result.undefined ? null : rateOf(result)])),
    intervals: Object.fromEntries(results.flatMap((result) => (result.undefined ? [] : [[metricOf(result), intervalOf(result)]]))),
    interval: { level: LEVEL, method: 'wilson' },
    undefined: Object.fromEntries(results.flatMap((result) => (result.undefined ? [[metricOf(result), result.undefined]] : []))),
    kinds: Object.fromEntries([...kinds].map(([kind, own]) => [kind, totalsOf(own)])),
    tests: Object.fromEntries(results.map((result) => [result.test.name, testReport(result)])),
  };
}

function totalsOf(results: TestResult[]) {
  const cases = results.reduce((sum, { judged }) => sum + judged.length, 0);
  const failures = results.reduce((sum, one) => sum + one.failures, 0);
  return { tests: results.length, cases, failures, failure_rate: cases === 0 ? null : failures / cases };
}

function testReport(result: TestResult) {
  const { test, judged, failures, undecided, unreadable, threshold } = result;
  return {
    kind: test.kind,
    cases: judged.length,
    failures,
    failure_rate: result.undefined ? null : rateOf(result),
    ...(!result.undefined && { interval: intervalOf(result) }),
    ...(result.undefined && { undefined: result.undefined }),
    ...(threshold && { max_failures: threshold.text, passed: isMissed(result) ? false : result.undefined ? null : true }),
    texts: test.texts,
    unchanged: test.unchanged,
    ...(undecided > 0 && { undecided }),
    ...(unreadable > 0 && { unreadable }),
    examples: worstOf(result, EXAMPLES).map((one) => caseRow(one, test)),
  };
}

/** A case as the report and the table have it. */
function caseRow({ row, before, after, expected, answer, answerAfter, score, scoreAfter }: Judged, { field }: PreparedTest) {
  const { [field]: text, words: _, ...others } = before;
  return {
    row: row ?? null,
    ...Object.fromEntries(Object.entries(others).map(([name, value]) => [columnOf(name), value])),
    before: text!,
    after: after?.[field] ?? null,
    expected: expected ?? null,
    answer,
    answer_after: answerAfter ?? null,
    score: score ?? null,
    score_after: scoreAfter ?? null,
  };
}

/** The column of another field. A name of a column of the cases gets a prefix; SQL ignores the case of names. */
const columnOf = (field: string): string => (Object.hasOwn(COLUMNS, field.toLowerCase()) ? `input_${field}` : field);

/* The table of cases. */

export async function writeCases(folder: string, results: TestResult[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  const lines = join(folder, 'cases.jsonl');
  const others = new Set<string>();
  const rows = results.flatMap(({ test, judged }) =>
    judged.map((one, i) => {
      const row = caseRow(one, test);
      for (const name of Object.keys(row)) if (!Object.hasOwn(COLUMNS, name)) others.add(name);
      return JSON.stringify({
        id: `${test.name}-${String(i + 1).padStart(6, '0')}`,
        test: test.name,
        kind: test.kind,
        ...row,
        failed: one.failed,
      });
    }),
  );
  await writeFile(lines, rows.map((row) => `${row}\n`).join(''));
  const { id, test, kind, row, ...rest } = COLUMNS;
  const columns = { id, test, kind, row, ...Object.fromEntries([...others].map((name) => [name, 'VARCHAR'])), ...rest };
  const types = Object.entries(columns).map(([name, type]) => `${literal(name)}: ${literal(type)}`);
  const database = await Database.open(folder);
  try {
    await database.run(
      `CREATE VIEW cases AS SELECT * FROM read_json(${literal(lines)}, format = 'newline_delimited', maximum_object_size = ${2 ** 30}, columns = {${types.join(', ')}})`,
    );
    await writeTable(database, 'cases', folder, { names: { text: 'before' } });
  } finally {
    database.close();
  }
  await rm(lines);
}

const COLUMNS = {
  id: 'VARCHAR',
  test: 'VARCHAR',
  kind: 'VARCHAR',
  row: 'VARCHAR',
  before: 'VARCHAR',
  after: 'VARCHAR',
  expected: 'VARCHAR',
  answer: 'VARCHAR',
  answer_after: 'VARCHAR',
  score: 'DOUBLE',
  score_after: 'DOUBLE',
  failed: 'BOOLEAN',
};

/* Thresholds. */

/** A test without a case misses a threshold of its own, but not that of all tests. */
function isMissed(result: TestResult): boolean {
  const { test, threshold, failures } = result;
  if (!threshold) return false;
  if (result.undefined) return test.options.max_failures !== undefined;
  const value = threshold.unit === 'share' ? rateOf(result) : failures;
  return threshold.strict ? value >= threshold.limit : value > threshold.limit;
}

/** @throws StepError that lists every test with more failures than it may have */
export function refuseFailures(results: TestResult[], cell: string): void {
  const missed = results.filter(isMissed);
  if (missed.length === 0) return;
  const checked = results.filter(({ threshold }) => threshold).length;
  const lines = missed.flatMap((result) => [
    `  ${missedBy(result)}`,
    ...worstOf(result, 1).map((one) => `    ${inOneLine(one, result.test)}`),
  ]);
  throw new StepError(
    `${missed.length} of ${checked} tests ${missed.length === 1 ? 'misses its' : 'miss their'} \`max_failures\`:\n${lines.join('\n')}`,
    `The log has more examples. The report and all cases stay in .tunesmith/failed/: \`tunesmith show .tunesmith/failed/${cell.includes('[') ? 'CELL' : cell}/report\`.`,
    ['tests', missed[0]!.test.name],
  );
}

function missedBy(result: TestResult): string {
  const { test, failures, judged, threshold } = result;
  const { unit, limit, text, strict } = threshold!;
  if (result.undefined) return `${test.name}: n/a, because ${result.undefined}; allowed: ${text}`;
  const more = unit === 'share' ? `${(100 * (rateOf(result) - limit)).toFixed(1)} percentage points` : failures - limit + (strict ? 1 : 0);
  return `${test.name}: ${failures} of ${judged.length} cases failed (${percent(rateOf(result))}); allowed: ${text} (${more} too many)`;
}

/** `4.0% [1.1%, 13.5%]` */
export function rateInWords(result: TestResult): string {
  const { low, high } = intervalOf(result);
  return `${percent(rateOf(result))} [${percent(low)}, ${percent(high)}]`;
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

/** A failed case for the log: `"it is fine" → "it's fine": positive → negative`. */
export function inOneLine(
  { before, after, expected, answer, answerAfter, score, scoreAfter }: Judged,
  { field, kind }: PreparedTest,
): string {
  const [text, changed] = excerpts(before[field] ?? '', after?.[field] ?? '', LONGEST_TEXT).map((one) => JSON.stringify(one));
  if (after === undefined) return `${text}: expected ${expected}, predicted ${answer || 'nothing'}`;
  const scores = score === undefined || scoreAfter === undefined ? '' : ` (${score.toFixed(4)} → ${scoreAfter.toFixed(4)})`;
  const answers = kind === 'direction' ? `the score must go ${expected}` : `${answer || 'nothing'} → ${answerAfter || 'nothing'}`;
  return `${text} → ${changed}: ${answers}${scores}`;
}

const LONGEST_TEXT = 160;
