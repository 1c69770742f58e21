/** The report of behavior as tables: the tests, and the worst failures of each. */
import { excerpts } from '../ml/data/excerpt.ts';
import { more, number, type Preview } from './part.ts';

interface BehaviorReport {
  tests: Record<string, TestReport>;
  kinds: object;
  metrics: object;
}

interface TestReport {
  kind: string;
  cases: number;
  failures: number;
  failure_rate: number | null;
  interval?: { low: number; high: number };
  undefined?: string;
  max_failures?: string;
  examples: FailedCase[];
}

interface FailedCase {
  before: string;
  after: string | null;
  expected: string | null;
  answer: string;
  answer_after: string | null;
  score: number | null;
  score_after: number | null;
}

/** Undefined if the text is no such report. */
export function behaviorTables(text: string, limit: number): Preview[] | undefined {
  const report = reportIn(text);
  if (!report) return undefined;
  const tests = Object.entries(report.tests);
  const most = Math.max(limit, 20);
  const failed = tests.flatMap(([name, { examples }]) => examples.map((one) => ({ name, ...one })));
  const failures = tests.reduce((sum, [, test]) => sum + test.failures, 0);
  const shown = tests.flatMap(([name, { examples }]) =>
    examples.slice(0, Math.max(1, Math.floor(most / tests.length))).map((one) => failureRow(name, one)),
  );
  return [
    {
      title: `behaviour tests, ${number(tests.length)}`,
      table: {
        header: ['test', 'kind', 'cases', 'failures', 'rate', 'allowed'],
        rows: tests.map(([name, test]) => testRow(name, test)),
        numeric: [false, false, true, true, true, false],
      },
    },
    ...whyUndefined(tests),
    ...(failed.length > 0
      ? [
          {
            title: `worst failures, ${number(shown.length)} of ${number(failures)}`,
            table: {
              header: ['test', 'before', 'after', 'expected', 'answer', 'score'],
              rows: shown,
              numeric: [false, false, false, false, false, false],
            },
            ...more(failures - shown.length, 'failures, which the output `cases` has'),
          },
        ]
      : []),
  ];
}

function reportIn(text: string): BehaviorReport | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const found = JSON.parse(text);
    const tests = Object.values<any>(Object(found.tests));
    return Object(found.kinds) === found.kinds && tests.length > 0 && tests.every((test) => Array.isArray(test?.examples))
      ? found
      : undefined;
  } catch {
    return undefined;
  }
}

function testRow(name: string, { kind, cases, failures, failure_rate: rate, interval, max_failures: allowed = '' }: TestReport): string[] {
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  const range = interval ? ` [${percent(interval.low)}, ${percent(interval.high)}]` : '';
  return [name, kind, number(cases), number(failures), rate === null ? 'n/a' : `${percent(rate)}${range}`, allowed];
}

function whyUndefined(tests: [string, TestReport][]): Preview[] {
  const lines = tests.flatMap(([name, test]) => (test.undefined === undefined ? [] : [`${name}: ${test.undefined}`]));
  return lines.length > 0 ? [{ title: 'n/a', lines }] : [];
}

function failureRow(name: string, one: FailedCase): string[] {
  const answer = one.answer_after === null ? one.answer : `${one.answer} → ${one.answer_after}`;
  const scores = [one.score, one.score_after].flatMap((score) => (score === null ? [] : [score.toFixed(4)]));
  const [before, after] = one.after === null ? [one.before, ''] : excerpts(one.before, one.after, 60);
  return [name, before, after, one.expected ?? '', answer, scores.join(' → ')];
}
