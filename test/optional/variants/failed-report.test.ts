/** `tunesmith report` of a run in which gates failed: the summary begins with what failed, and by how much. */
import { readFileSync, utimesSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { sharedProject } from '../../rig.ts';

const texts = Array.from({ length: 20 }, (_, i) => JSON.stringify({ text: `number ${Math.max(4, i)}`, label: i % 2 ? 'odd' : 'even' }));

const p = sharedProject({
  'rows.jsonl': `${texts.join('\n')}\n`,
  'model/config.json': '{}',
  'metrics.json': JSON.stringify({
    split: 'test',
    rows: 20,
    metrics: { accuracy: 0.9, f1: 0.8, mcc: null },
    undefined: { mcc: 'one class' },
  }),
  'p.yaml': `
name: gates
steps:
  collect: { uses: collect, with: { files: rows.jsonl } }
  check: { uses: check, with: { data: "\${{ steps.collect.data }}", near_duplicates: false, languages: false, label_errors: false, limits: { duplicates: "<= 0.05", missing: "<= 0" } } }
  good: { uses: require, with: { model: "model", metrics: metrics.json, limits: { accuracy: ">= 0.9" } } }
  bad: { uses: require, with: { model: "model", metrics: metrics.json, limits: { f1: ">= 0.85", accuracy: ">= 0.5", mcc: ">= 0" } } }
  after: { run: "echo \${{ steps.bad.model }} > \${{ outputs.out }}", outputs: { out: out.txt } }
  never: { when: false, run: "true" }
`,
  'good.yaml': `
name: good
steps:
  good: { uses: require, with: { model: "model", metrics: metrics.json, limits: { accuracy: ">= 0.9" } } }
`,
});

async function report(...words: string[]): Promise<string> {
  const { code, stderr } = await p.run('report', ...words);
  expect(code, stderr).toBe(0);
  return readFileSync(p.path(words[words.indexOf('-o') + 1]!), 'utf8');
}

beforeAll(async () => {
  const { code, screen } = await p.run('run', 'p.yaml', '--on-failure', 'continue');
  expect(code, screen).toBe(1);
});

test.each(['md', 'html'])('the summary of the %s page starts with each failed cell, missed requirement and limit', async (format) => {
  const page = (await report('--format', format, '-o', `all.${format}`)).replaceAll('&#62;', '>').replaceAll('&#60;', '<');
  const [, summary] = /(?:## Summary|>Summary<\/h2>)(.*?)\n(?:## |<section)/s.exec(page)!;
  const parts = [
    '4 of 6 cells have no result: 2 failed, 2 skipped.',
    'duplicates is 0.2',
    'must be <= 0.05: missed by 0.',
    'f1 (metrics.json) is 0.8, but must be >= 0.85: missed by 0.05',
    'mcc (metrics.json) must be >= 0, but is undefined: one class',
    'bad failed',
    'The requirements of good are met.',
  ].map((part) => summary!.indexOf(part));
  expect(parts).toEqual([...parts].sort((a, b) => a - b));
  expect(parts).not.toContain(-1);
  expect(page).not.toContain('All requirements are met');
  expect(page).toContain('Requirements (bad.verdict, failed)');
  expect(page).toContain('check failed. This is what it found.');
});

test('a report of some cells says which other cells of the run failed', async () => {
  const page = await report('good', '--format', 'md', '-o', 'some.md');
  expect(page).toContain('Also in this run, but not in this report: check (failed), bad (failed), after (skipped), never (skipped).');
  expect(page).not.toContain('All requirements are met');
});

test('the requirements are met if every gate of the run has passed', async () => {
  expect((await p.run('run', 'good.yaml')).code).toBe(0);
  expect(await report('-f', 'good.yaml', '--format', 'md', '-o', 'good.md')).toContain('All requirements are met.');
});

test('what a later run has left is not shown as found in this one', async () => {
  const later = Date.now() / 1000 + 3600;
  utimesSync(p.path('.tunesmith/failed/bad'), later, later);
  const page = await report('-f', 'p.yaml', '--format', 'md', '-o', 'later.md');
  expect(page).toContain('bad failed. It left no report, or a later run or');
  expect(page).toMatch(/\| bad \| \*\*failed\*\* \| 2 of 3 requirements are missed/);
});
