/** `tunesmith report`: the page of a run, of cells, of a run whose results were removed, and of a pipeline that has changed. */
import { readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { sharedProject } from '../../rig.ts';

const PIPELINE = `
name: small
params: { level: 3 }
steps:
  make:
    run: |-
      node -e "fs.writeFileSync(process.argv[1], 'x')" \${{ outputs.text }}
    outputs: { text: text.txt }
  score:
    matrix: { rate: [1, 2, 3] }
    run: |-
      node -e "fs.writeFileSync(process.argv[1], JSON.stringify({ split: 'test', rows: 4, metrics: { f1: 0.1 * process.argv[2] } }))" \${{ outputs.metrics }} \${{ matrix.rate }}
    inputs: { text: "\${{ steps.make.text }}" }
    outputs: { metrics: "score-\${{ matrix.rate }}.json" }
`;

const p = sharedProject({ 'p.yaml': PIPELINE, 'package.json': '{"type":"module"}' });

const page = (name: string) => readFileSync(p.path(name), 'utf8');

beforeAll(async () => {
  const { code, stderr } = await p.run('run', 'p.yaml');
  expect(code, stderr).toBe(0);
});

test('the latest run: its metrics, cells with states and times, the graph, the environment and the hashes of the lockfile', async () => {
  const { code, stdout, stderr } = await p.run('report');
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/wrote report-1\.html/);
  const html = page('report-1.html');
  for (const id of ['summary', 'pipeline-cells', 'environment', 'lockfile']) expect(html).toContain(`<section id="${id}"`);
  expect(html).toContain('score[rate=3]');
  expect(html).toContain('0.3');
  expect(html).toContain('param level');
  const [, fingerprint] = /fingerprint: ([\da-f]{16})/.exec(page('p.lock'))!;
  expect(html).toContain(fingerprint);
  const [, graph] = /src="data:image\/svg\+xml;base64,([^"]+)"/.exec(html)!;
  expect(Buffer.from(graph!, 'base64').toString()).toMatch(/>ran [^<]*s</);
});

test('cells and all that they depend on, as Markdown at a given place', async () => {
  const { code, stderr } = await p.run('report', 'score[rate=2]', '--format', 'md', '-o', 'out/cells.md', '--title', 'Two');
  expect(code, stderr).toBe(0);
  const text = page('out/cells.md');
  expect(text).toMatch(/^# Two\n/);
  expect(text).toContain('score&#91;rate=2&#93;');
  expect(text).not.toContain('rate=3');
  expect(text).toContain('| make |');
  expect(page('out/cells-pictures/pipeline.svg')).toMatch(/^<svg /);
});

test('what a step found out before it failed is shown, also after another run of other steps', async () => {
  const check = (limit: string) => `
name: checked
params: { rows: ./rows.jsonl }
steps:
  collect: { uses: collect, with: { files: "\${{ params.rows }}" } }
  check: { uses: check, with: { data: "\${{ steps.collect.data }}", limits: { missing: "${limit}" } } }
  copy: { uses: check, with: { data: "\${{ steps.check.data }}" } }
`;
  p.write('rows.jsonl', ['a', 'b', ''].map((text, i) => JSON.stringify({ text, label: `l${i % 2}` })).join('\n'));
  p.write('checked.yaml', check('<= 0'));
  expect((await p.run('run', 'checked.yaml')).code).toBe(1);
  await p.run('report', 'checked.yaml', '-o', 'failed.html');
  expect(page('failed.html')).toContain('Missed limits: missing &#60;= 0.');
  expect(page('failed.html')).toContain('<h1>checked, run');

  p.write('checked.yaml', check('<= 1'));
  expect((await p.run('run', 'checked.yaml', '-p', 'rows=rows.jsonl')).code).toBe(0);
  await p.run('report', 'checked.yaml', '-o', 'passed.html');
  expect(page('passed.html')).not.toContain('Missed limits');
  const edges = (name: string) => {
    const [, graph] = /src="data:image\/svg\+xml;base64,([^"]+)"/.exec(page(name))!;
    return Buffer.from(graph!, 'base64')
      .toString()
      .match(/marker-end/g)?.length;
  };
  expect(edges('passed.html')).toBe(2);
  // Without the pipeline, the dependencies come from the hashes; all three tables have the same bytes.
  p.write('checked.yaml', 'steps: {}');
  await p.run('report', 'latest', '-o', 'unknown.html');
  expect(edges('unknown.html')).toBe(2);
});

test.each([
  [['report', '99'], 'there is no run 99'],
  [['report', 'nothing'], 'there is no such cell or step'],
  [['report', '--format', 'pdf'], 'format'],
])('%j is a usage error', async (words, message) => {
  const { code, stderr } = await p.run(...words);
  expect(code).toBe(2);
  expect(stderr).toContain(message);
});
