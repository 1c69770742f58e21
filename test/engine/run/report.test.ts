/** `tunesmith report`: the page of a run, of cells, of a run whose results were removed, and of a pipeline that has changed. */
import { readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { project, sharedProject } from '../../rig.ts';

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
  [['report', 'nothing'], 'nothing: there is no such cell or step in run '],
  [['report', '--format', 'pdf'], 'format'],
])('%j is a usage error', async (words, message) => {
  const { code, stderr } = await p.run(...words);
  expect(code).toBe(2);
  expect(stderr).toContain(message);
});

test('with a pipeline, latest, previous and numbers are runs of this pipeline', async () => {
  const q = project({
    'a.yaml': 'name: first\nsteps: { a: { run: "echo one" } }',
    'b.yaml': 'name: second\nsteps: { a: { run: "echo two" } }',
  });
  for (const file of ['a.yaml', 'b.yaml']) await q.states(file);
  const written = async (...words: string[]) => {
    const { stdout, screen } = await q.run('report', ...words);
    return /wrote (\S+)/.exec(stdout)?.[1] ?? screen.split('\n')[0];
  };
  expect(await written('a.yaml', 'latest')).toBe('report-1.html');
  expect(await written('a.yaml', 'previous')).toBe('error: there is no run before the latest');
  expect(await written('a.yaml', '2')).toBe('error: run 2 is a run of b.yaml, not of a.yaml');
  expect((await q.run('logs', 'a.yaml', 'a', '--run', 'latest')).stdout).toBe('one\n');
  expect((await q.run('runs', '-f', 'a.yaml')).stdout).not.toContain('b.yaml');
  expect((await q.run('runs', 'show', '-f', 'a.yaml')).stdout).toMatch(/^run 1 of a\.yaml/);
});

test('times are of this run or of the last execution before it; cells without a result have none', async () => {
  const slow = (failing: string, last: string) => `
steps:
  free: { cache: false, run: "echo free > \${{ outputs.o }}", outputs: { o: free.txt } }
  quiet: { run: "echo quiet" }
  same: { run: "sleep 0.3; echo same > \${{ outputs.o }}", outputs: { o: same.txt } }
  fails: { run: "${failing}" }
  after: { needs: fails, run: "sleep ${last}" }
`;
  const q = project({ 'p.yaml': slow('true', '0.4') });
  await q.states('p.yaml');
  q.write('p.yaml', slow('false', '0.5'));
  await q.states('p.yaml', '--on-failure', 'continue');
  const cells = async (run: string) => {
    expect((await q.run('report', run, '--format', 'md', '-o', 'r.md')).code).toBe(0);
    const text = q.read('r.md');
    const times = text.matchAll(/^\| (\w+) \| \**(ran|fresh|failed|skipped|canceled)\** \| ([^|]*) \|/gm);
    return [text, Object.fromEntries([...times].map(([, cell, state, time]) => [cell, `${state} ${time}`]))] as const;
  };
  const [text, times] = await cells('latest');
  expect(times).toMatchObject({
    same: expect.stringMatching(/^fresh 0\.\d s \(last execution\)$/),
    after: expect.stringMatching(/^(skipped|canceled) –$/),
  });
  expect(times.free).toMatch(/^ran [<\d.]+/);
  expect(text).not.toMatch(/no longer stored|have changed since/);
  q.write('free.txt', 'changed');
  expect((await cells('latest'))[0]).toContain(
    'These cells have `cache: false`, and their outputs have changed since this run: free.'.replaceAll('`', '&#96;'),
  );
  expect((await cells('1'))[1].after).toMatch(/^ran 0\.[4-9] s$/);
});
