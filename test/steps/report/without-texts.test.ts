/** With `examples: 0` no page has a text of the data: each text has a unique word, which only the page with examples contains. */
import { expect, test } from 'vitest';
import { makeReport, type ReportRequest } from '../../../steps/report/report.ts';
import { file, HISTORY, METRICS, randomClassifier, table } from './material.ts';

const signal = new AbortController().signal;

/** A row for each word, which is predicted wrongly. */
const LABELLED = `SELECT i::VARCHAR AS id, 'test' AS split, 'zqtext' || i || 'zq of a row' AS text, 'good' AS label, 'bad</script>' AS prediction, 0.9 AS score,
  map(['bad</script>', 'good'], [0.9, 0.1]) AS scores, 2.3 AS loss, false AS correct FROM range(6) AS r(i)`;

/** Rows whose targets are texts. */
const WRITTEN = `SELECT i::VARCHAR AS id, 'test' AS split, 'zqsource' || i || 'zq' AS source, 'zqtarget' || i || 'zq' AS label, 'zqwritten' || i || 'zq' AS prediction,
  0.1 AS f1 FROM range(6) AS r(i)`;

const ANSWERS = `SELECT i::VARCHAR AS id, 'test' AS split, 'zqquestion' || i || 'zq' AS question, 'zqcontext' || i || 'zq' AS context, ['zqgold' || i || 'zq'] AS label,
  'zqanswer' || i || 'zq' AS prediction, 0.5 AS score, 2.0 AS loss, false AS correct FROM range(6) AS r(i)`;

const TAGS = `SELECT i::VARCHAR AS id, 'test' AS split, ['zqword' || i || 'zq', 'in'] AS words, ['PER', 'O'] AS label, ['O', 'O'] AS prediction, 2.0 AS loss,
  false AS correct FROM range(6) AS r(i)`;

const TOKENS = `SELECT i::VARCHAR AS id, 'test' AS split, 'zqtoken' || i || 'zq' AS text, 12 AS tokens, 2.0 + i AS loss FROM range(6) AS r(i)`;

/** Groups named by texts. */
const TEXT_GROUPS = {
  slices: {
    short: { by: 'column title', metric: 'f1', gap: 0, slices: [{ slice: 'zqtitle0zq', rows: 40, metrics: { f1: 0.5 } }] },
    single: {
      by: 'column remark',
      metric: 'f1',
      gap: 0,
      slices: [0, 1, 2, 3].map((i) => ({ slice: `zqremark${i}zq`, rows: 1, metrics: { f1: 0.5 } })),
    },
    empty: {
      by: 'column subject',
      metric: 'f1',
      gap: 0,
      slices: ['(empty)', 'zqsubject0zq'].map((slice) => ({ slice, rows: 40, metrics: { f1: 0.5 } })),
    },
  },
  discovered: {
    tested: 3,
    slices: [
      { where: { subject: 'zqsubject1zq' }, rows: 50, error: 0.5, rest: 0.1, difference: 0.4 },
      { where: { subject: 'zqsubject0zq', note: `zqnote0zq ${'very '.repeat(20)}` }, rows: 40, error: 0.5, rest: 0.1, difference: 0.4 },
    ],
  },
  fairness: {
    group: ['body'],
    metrics: { demographic_parity_difference: 0.2, equalized_odds_ratio: null },
    undefined: { equalized_odds_ratio: 'in the group zqbody0zq no row is positive' },
    labels: { good: { metrics: {}, groups: [{ group: 'zqbody0zq', rows: 20, positives: 3, selection_rate: 0.4 }] } },
    left_out: [{ group: 'zqbody1zq', rows: 1 }],
  },
};

const COUNTERFACTUAL = {
  ...METRICS.counterfactual,
  examples: [
    { id: 'a', text: { text: 'he is zqbefore0zq' }, swapped: { text: 'she is zqafter0zq' }, before: 'x', after: 'y', change: 0.4 },
  ],
};

const BEHAVIOR = {
  tests: {
    negation: {
      kind: 'invariance',
      cases: 10,
      failures: 2,
      failure_rate: 0.2,
      max_failures: '<= 5%',
      passed: false,
      examples: [{ before: 'not zqtemplate0zq', after: 'not zqchanged0zq', text_pair: 'zqpair0zq', expected: 'good' }],
    },
  },
};

const CHECKS = {
  rows: 400,
  metrics: { duplicates: 0.1 },
  limits: [{ name: 'duplicates', limit: '<= 0.05', value: 0.1, met: false }],
  problems: { near_duplicate: 40 },
  examples: { near_duplicate: [{ id: '1', text: 'zqnear0zq', label: null, detail: 'like zqdetail0zq' }] },
};

const CALIBRATION = {
  group: 'subject',
  thresholds: [
    { label: 'good', threshold: 0.4 },
    { label: 'good', group: 'zqthreshold0zq', threshold: 0.3 },
  ],
};

const VERDICT = {
  passed: false,
  requirements: [
    {
      metric: 'test.fairness.equalized_odds_ratio',
      limit: '>= 0.8',
      value: null,
      undefined: 'in the group zqrequired0zq, no row is positive',
      passed: false,
    },
  ],
};

const RUN: ReportRequest['run'] = {
  about: [],
  cells: [
    { cell: 'behavior', state: 'failed', uses: 'behavior', failure: 'zqfailure0zq failed' },
    { cell: 'custom', state: 'ran', result: 'wrote zqresult0zq' },
    { cell: 'test', state: 'ran', uses: 'behavior', why: 'option tests.a.template: "zqoption0zq" → "zqoption1zq"' },
    { cell: 'check', state: 'fresh', uses: 'check', result: '400 rows' },
    { cell: 'evaluate', state: 'fresh', uses: 'evaluate', result: 'f1 0.9;\nworst slice: title zqworst0zq (40 rows)' },
  ],
  metrics: [],
  params: {},
  environment: [],
  lock: [],
  notices: [{ cell: 'custom', message: 'row 3 has zqnotice0zq' }],
};

async function requests(): Promise<Omit<ReportRequest, 'examples' | 'format'>[]> {
  const artifact = (role: ReportRequest['artifacts'][number]['role'], path: string, more = {}) => ({
    role,
    path,
    name: role,
    matrix: {},
    ...more,
  });
  const base = { title: 'Report', runtime: 'onnx' as const, threads: 1, signal, missing: [] };
  const rows = await table(LABELLED);
  const evaluation = { ...METRICS, ...TEXT_GROUPS, counterfactual: COUNTERFACTUAL };
  const others = await Promise.all([WRITTEN, ANSWERS, TAGS, TOKENS].map(table));
  return [
    {
      ...base,
      run: RUN,
      artifacts: [
        artifact('metrics', file(evaluation)),
        artifact('predictions', rows),
        artifact('history', file(HISTORY)),
        artifact('model', await randomClassifier()),
        artifact('data', await table(WRITTEN)),
        artifact('checks', file(CHECKS)),
        artifact('behavior', file(BEHAVIOR), { cell: 'behavior', failed: true }),
        artifact('samples', file('zqsample0zq\n{"prompt":"zqprompt0zq","text":"zqgenerated0zq"}\n')),
        artifact('calibration', file('zqbroken0zq')),
        artifact('calibration', file(CALIBRATION)),
        artifact('calibration', file({ group: 'subject', thresholds: { zqsubject0zq: { good: 0.3 } } })),
        artifact('verdict', file(VERDICT)),
      ],
    },
    ...others.map((predictions) => ({ ...base, artifacts: [artifact('predictions', predictions)] })),
  ];
}

/** All files of a report, with the pictures that are part of the page. */
async function pagesOf(request: Omit<ReportRequest, 'examples' | 'format'>, examples: number): Promise<string[]> {
  const pages: string[] = [];
  for (const format of ['html', 'md'] as const)
    for (const [name, text] of await makeReport({ ...request, missing: [], format, examples })) {
      const embedded = [...text.matchAll(/data:[\w/+-]+;base64,([\w+/=]+)/g)].map(([, data]) => Buffer.from(data!, 'base64').toString());
      pages.push([name, text, ...embedded].join('\n'));
    }
  return pages;
}

test('no page without examples has a text of the data, a template or a message that may quote one', { timeout: 60_000 }, async () => {
  const words = (pages: string[]) => [...new Set(pages.flatMap((page) => page.match(/zq[a-z]+(?=\d+zq)/g) ?? []))].sort();
  const all: string[] = [];
  for (const request of await requests()) {
    all.push(...(await pagesOf(request, 20)));
    const without = await pagesOf(request, 0);
    expect(without.flatMap((page) => page.match(/.{0,80}zq.{0,80}/g) ?? [])).toEqual([]);
    if (request.run) {
      expect(without[0]).toContain('The message may quote the data. Print it with: tunesmith logs behavior');
      expect(without[0]).toContain('the test negation: 2 of 10 cases failed (20%), but must be &#60;= 5%: missed by 15 percentage points');
      expect(without[0]).toContain('This report has no texts of the data.');
      expect(without[0]).toContain('option tests.a.template …');
      // A value has the same number everywhere.
      expect(without[0]).toMatch(/<th scope="row">\(empty\)<\/th>/);
      expect(without[0]).toContain('<th scope="row">subject = text 2</th>');
      expect(without[0]).toContain('<th scope="row">subject = text 1 and note = text 1</th>');
    }
  }
  const every = `after answer before body changed context detail failure generated gold near note notice option pair prompt question remark required result
    sample source subject target template text threshold title token word worst written`;
  expect(words(all)).toEqual(every.split(/\s+/).map((word) => `zq${word}`));
});
