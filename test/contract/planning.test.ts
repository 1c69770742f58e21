/** The contract of the matrix, selection, JSON, `status`, `--dry-run` and exit codes. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project, root } from '../rig.ts';

const GRID = `
name: grid
params: { rates: [1e-4, 0.001] }
steps:
  base: { run: "echo base > \${{ outputs.o }}", outputs: { o: out/base.txt } }
  train:
    matrix:
      rate: \${{ params.rates }}
      size: [16, 32]
      exclude: [{ rate: 0.001, size: 16 }]
    run: cat \${{ steps.base.o }} > \${{ outputs.o }}; echo \${{ matrix.rate }} \${{ matrix.size }} >> \${{ outputs.o }}
    outputs: { o: "out/\${{ matrix.rate }}-\${{ matrix.size }}.txt" }
  eval:
    run: wc -l < \${{ steps.train.o }} > \${{ outputs.o }}
    outputs: { o: "out/eval-\${{ matrix.rate }}-\${{ matrix.size }}.txt" }
  all:
    run: cat \${{ steps.eval[*].o }} > \${{ outputs.o }}
    outputs: { o: out/all.txt }
`;

const CELLS = [
  'all',
  'base',
  'eval[rate=0.0001,size=16]',
  'eval[rate=0.0001,size=32]',
  'eval[rate=0.001,size=32]',
  'train[rate=0.0001,size=16]',
  'train[rate=0.0001,size=32]',
  'train[rate=0.001,size=32]',
];

test('cells inherit the dimensions of the cells that they read; [*] collects all cells; names are canonical', async () => {
  const p = project({ 'p.yaml': GRID });
  const run = await p.states('p.yaml');
  expect(Object.keys(run.cells).sort()).toEqual(CELLS);
  expect(
    p
      .read('out/all.txt')
      .trim()
      .split('\n')
      .map((s) => s.trim()),
  ).toEqual(['2', '2', '2']);
});

test('a new matrix value runs only the new cells', async () => {
  const p = project({ 'p.yaml': GRID });
  await p.states('p.yaml');
  const run = await p.states('p.yaml', '-p', 'rates=[1e-4, 0.001, 0.01]');
  const ran = Object.entries(run.cells)
    .filter(([, s]) => s === 'ran')
    .map(([c]) => c);
  expect(ran.sort()).toEqual([
    'all',
    'eval[rate=0.01,size=16]',
    'eval[rate=0.01,size=32]',
    'train[rate=0.01,size=16]',
    'train[rate=0.01,size=32]',
  ]);
});

test('inherited dimensions with the same name join, others cross', async () => {
  const yaml = `
steps:
  a: { matrix: { x: [1, 2] }, run: "echo > \${{ outputs.o }}", outputs: { o: "a\${{ matrix.x }}" } }
  b: { matrix: { x: [2, 3], y: [p, q] }, run: "echo > \${{ outputs.o }}", outputs: { o: "b\${{ matrix.x }}\${{ matrix.y }}" } }
  c: { run: "cat \${{ steps.a.o }} \${{ steps.b.o }} > \${{ outputs.o }}", outputs: { o: "c\${{ matrix.x }}\${{ matrix.y }}" } }
`;
  const p = project({ 'p.yaml': yaml });
  const run = await p.states('p.yaml');
  expect(
    Object.keys(run.cells)
      .filter((c) => c.startsWith('c'))
      .sort(),
  ).toEqual(['c[x=2,y=p]', 'c[x=2,y=q]']);
});

test('names: strings that look like another type are quoted as JSON', async () => {
  const yaml = 'steps: { a: { matrix: { v: [plain-1.0_x, "1", "true", "null", "two words", 1, true, null, { k: 1 }] }, run: "true" } }';
  const p = project({ 'p.yaml': yaml });
  const run = await p.states('p.yaml');
  expect(Object.keys(run.cells).sort()).toEqual(
    [
      'a[v=plain-1.0_x]',
      'a[v="1"]',
      'a[v="true"]',
      'a[v="null"]',
      'a[v="two words"]',
      'a[v=1]',
      'a[v=true]',
      'a[v=null]',
      'a[v={"k":1}]',
    ].sort(),
  );
});

test('selection: only, from, until, their intersection; a step means all its cells', async () => {
  const p = project({ 'p.yaml': GRID });
  const refused = await p.run('run', 'p.yaml', '--only', 'eval', '--json');
  expect(refused.code).toBe(2);
  expect(refused.events.at(-1).type).toBe('error');

  expect(Object.keys((await p.states('p.yaml', '--until', 'train')).cells).sort()).toEqual(CELLS.filter((c) => /^(base|train)/.test(c)));
  expect(Object.keys((await p.states('p.yaml', '--only', 'eval[rate=0.001,size=32]')).cells)).toEqual(['eval[rate=0.001,size=32]']);
  expect(Object.keys((await p.states('p.yaml', '--from', 'train', '--until', 'eval')).cells).sort()).toEqual(
    CELLS.filter((c) => /^(train|eval)/.test(c)),
  );
  const unknown = await p.run('run', 'p.yaml', '--only', 'evel');
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toContain('eval');
});

test('--json: only JSON lines, the summary last', async () => {
  const p = project({ 'p.yaml': GRID });
  const run = await p.run('run', 'p.yaml', '--json');
  const summary = run.events.at(-1);
  expect(summary).toMatchObject({ type: 'summary', pipeline: 'grid', ran: 8, fresh: 0, restored: 0, failed: 0, skipped: 0, canceled: 0 });
  expect(typeof summary.seconds).toBe('number');
  expect(Object.keys(summary.cells).sort()).toEqual(CELLS);
});

test('status and --dry-run print the plan and change no file', async () => {
  const p = project({ 'p.yaml': GRID });
  const untouched = p.snapshot();
  const first = await p.run('status', 'p.yaml', '--json');
  expect(first.code).toBe(0);
  const plan = first.events.at(-1);
  expect(plan.type).toBe('plan');
  expect(plan.cells.base).toMatchObject({ state: 'run' });
  expect(plan.cells.base.why).toMatch(/first run/);
  expect(plan.cells.all.state).toBe('depends');
  expect(p.snapshot()).toEqual(untouched);

  await p.states('p.yaml');
  p.remove('out/base.txt');
  const before = p.snapshot();
  const second = await p.run('run', 'p.yaml', '--dry-run', '--json');
  expect(second.code).toBe(0);
  expect(second.events.at(-1).cells.base.state).toBe('restore');
  expect(second.events.at(-1).cells.all.state).toBe('fresh');
  expect((await p.run('status', 'p.yaml', '--check')).code).toBe(1);
  expect(p.snapshot()).toEqual(before);
  await p.states('p.yaml');
  expect((await p.run('status', 'p.yaml', '--check')).code).toBe(0);
});

test('reasons: options, inputs, edited outputs, first run', async () => {
  const yaml = `
params: { n: 1 }
steps:
  a: { run: "cat \${{ inputs.data }} > \${{ outputs.o }}; echo \${{ params.n }} >> \${{ outputs.o }}", inputs: { data: "in/*" }, outputs: { o: o.txt } }
`;
  const p = project({ 'p.yaml': yaml, 'in/1': '1', 'in/2': '2', 'in/3': '3' });
  const why = async (...args: string[]) => (await p.run('status', 'p.yaml', '--json', ...args)).events.at(-1).cells.a.why;
  expect(await why()).toBe('first run');
  await p.states('p.yaml');
  p.write('in/2', 'two');
  expect(await why()).toBe('input data changed: 1 of 3 files');
  p.write('in/2', '2');
  p.write('o.txt', 'edited');
  expect(await why()).toBe('output was edited');
});

test('a failure stops its dependents; continue runs the others; exit code 1', async () => {
  const yaml = `
steps:
  bad: { run: "exit 3", outputs: { o: bad.txt } }
  below: { run: "cat \${{ steps.bad.o }}" }
  apart: { run: "echo > \${{ outputs.o }}", outputs: { o: apart.txt } }
`;
  const p = project({ 'p.yaml': yaml });
  const goOn = await p.states('p.yaml', '--on-failure', 'continue', '-j', '1');
  expect(goOn.code).toBe(1);
  expect(goOn.cells).toEqual({ bad: 'failed', below: 'skipped', apart: 'ran' });
  const q = project({ 'p.yaml': yaml });
  const stop = await q.states('p.yaml', '-j', '1');
  expect(stop.cells).toEqual({ bad: 'failed', below: 'skipped', apart: 'canceled' });
});

test('Ctrl-C stops the children, prints a message and exits with 130; the next run continues', async () => {
  const yaml = `
steps:
  quick: { run: "echo 1 > \${{ outputs.o }}", outputs: { o: quick.txt } }
  slow: { run: "echo started > started; sleep 600; echo 2 > \${{ outputs.o }}", needs: quick, outputs: { o: slow.txt } }
`;
  const p = project({ 'p.yaml': yaml });
  const running = p.start('run', 'p.yaml', '--json');
  await p.until(() => p.exists('started'));
  running.kill('SIGINT');
  const run = await running.done;
  expect(run.code).toBe(130);
  expect(run.events.at(-1)).toMatchObject({ type: 'summary', cells: { quick: 'ran', slow: 'canceled' } });
  p.write('p.yaml', yaml.replace('sleep 600; ', ''));
  expect((await p.states('p.yaml')).cells).toEqual({ quick: 'fresh', slow: 'ran' });
});

test.skipIf(process.platform !== 'linux')(
  'an argument that is not UTF-8 is refused by its bytes, never taken with another value',
  async () => {
    const p = project({ 'p.yaml': 'params: { x: 1 }\nsteps: { a: { run: "echo ${{ params.x }} > out" } }\n' });
    const shell = (line: string) =>
      spawnSync('bash', ['-c', `${process.execPath} ${join(root, 'dist/engine/cli.js')} ${line}`], {
        cwd: p.folder,
        encoding: 'utf8',
        env: { ...process.env, NO_COLOR: '1' },
      });
    const { status, stderr } = shell("run p.yaml -p $'x=caf\\xe9'");
    expect({ status, stderr }).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('error: the argument -p x=caf\\xe9 is not UTF-8'),
    });
    expect(p.exists('out')).toBe(false);
    // The character itself is as good as any.
    expect(shell("run p.yaml -p $'x=caf\\xef\\xbf\\xbd'").status).toBe(0);
    expect(p.read('out')).toBe('caf\ufffd\n');
  },
);
