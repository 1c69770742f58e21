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

test('two concurrent runs execute each cell once', async () => {
  const yaml = 'steps: { a: { run: "echo x >> runs; sleep 2; echo > ${{ outputs.o }}", outputs: { o: o.txt } } }';
  const p = project({ 'p.yaml': yaml });
  const [one, two] = await Promise.all([p.states('p.yaml'), p.states('p.yaml')]);
  expect([one.code, two.code]).toEqual([0, 0]);
  expect(p.read('runs')).toBe('x\n');
  expect([one.cells.a, two.cells.a].sort()).toEqual(['fresh', 'ran']);
});

test('run and verify use the only pipeline of a folder and report it; with several, they list the names', async () => {
  const p = project({
    'notes.yaml': 'a: 1\n',
    'pipelines/one.yaml': 'steps: { a: { run: "echo 1 > ${{ outputs.o }}", outputs: { o: a.txt } } }\n',
  });
  const first = await p.run('run', '--only', 'a', '--plain');
  expect({ code: first.code, stderr: first.stderr }).toEqual({
    code: 0,
    stderr: 'using pipelines/one.yaml, the only pipeline in pipelines\n',
  });
  p.write('two.yaml', 'steps: { b: { run: "true" } }\n');
  expect((await p.run('run', '--plain')).screen).toContain('using two.yaml, the only pipeline here\n');
  expect((await p.run('verify', 'b')).stderr).toContain('using two.yaml, the only pipeline here\n');
  p.write('three.yaml', 'steps: { c: { run: "true" } }\n');
  for (const command of ['run', 'verify']) {
    const { code, screen } = await p.run(command);
    expect({ code, screen }).toEqual({
      code: 2,
      screen: 'error: there are 2 pipelines here; name one of them\n  = three.yaml\n    two.yaml\n',
    });
  }
  // What ran last, elsewhere, is not what somebody means who runs.
  p.write('empty/x', '');
  const { code, stderr } = await p.runIn('empty', 'run');
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('error: there is no pipeline here') });
});

test('validate refuses two pipelines with the same name, as run and status do, also if neither has run', async () => {
  const p = project({
    'package.json': '{}',
    'a/t.yaml': 'steps: { a: { uses: collect, with: { files: x.csv } } }\n',
    'b/t.yaml': 'steps: { a: { uses: collect, with: { files: x.csv } } }\n',
    'a/x.csv': 'a\n1\n',
    'b/x.csv': 'a\n2\n',
  });
  const before = p.snapshot();
  const { code, stderr, stdout } = await p.run('validate', 'a/t.yaml', 'b/t.yaml');
  expect({ code, stdout }).toEqual({ code: 2, stdout: 'a/t.yaml is valid: 1 step, 1 cell\n' });
  expect(stderr).toContain(
    'error: a/t.yaml and b/t.yaml have the same name, t, so their outputs would overwrite each other in .tunesmith/outputs/t',
  );
  expect(p.snapshot()).toEqual(before);
  expect((await p.run('run', 'a/t.yaml')).code).toBe(0);
  expect((await p.run('validate', 'b/t.yaml')).stderr).toContain('have the same name, t');
  expect((await p.run('validate', 'a/t.yaml')).code).toBe(0);
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

test('commands without a pipeline act on the project that a pipeline in the working folder has', async () => {
  const PIPELINE = 'steps: { a: { run: "echo > ${{ outputs.o }}", outputs: { o: o.txt } } }\n';
  const p = project({ 'package.json': '{}', 'p.yaml': PIPELINE, 'sub/x': '', 'inner/package.json': '{}', 'inner/deep/x': '' });
  await p.states('p.yaml');
  // In a folder of the project, each command finds the project and prints its root.
  const using = `using the project ${p.folder}\n`;
  for (const command of [['runs'], ['cache', 'ls'], ['cache', 'du'], ['gc', '--keep-runs', '1', '--dry-run']]) {
    expect(await p.runIn('sub', ...command)).toMatchObject({ code: 0, stderr: using });
    expect(await p.run(...command)).toMatchObject({ code: 0, stderr: '' });
  }
  expect((await p.runIn('sub', 'status')).stderr).toBe(`using ${p.path('p.yaml')}, which ran last in this project\n`);
  // A project inside of it has no results yet. Nothing of the outer project is shown, changed or removed.
  const before = p.snapshot();
  const outer = (above: string) =>
    `This folder is a project of its own, because ${above === '..' ? '' : `${p.path('inner')}/`}package.json exists. To use the project around it, run the command in ${above}.`;
  for (const [cwd, above, note] of [
    ['inner', '..', ''],
    ['inner/deep', '../..', `using the project ${p.path('inner')}\n`],
  ] as const) {
    expect(await p.runIn(cwd, 'runs')).toMatchObject({ code: 0, stdout: `there are no runs yet\n${outer(above)}\n`, stderr: note });
    expect(await p.runIn(cwd, 'cache', 'ls')).toMatchObject({ code: 0, stdout: `the cache is empty\n${outer(above)}\n`, stderr: note });
    expect(await p.runIn(cwd, 'gc', '--keep-runs', '1', '--yes')).toMatchObject({
      code: 2,
      stderr: `${note}error: no pipeline has run in the project ${p.path('inner')}\n  = ${outer(above)}\n`,
    });
  }
  for (const command of [['runs', 'show'], ['runs', 'diff'], ['cache', 'export', 'r.tar'], ['logs', 'a'], ['status'], ['show', 'a.o']])
    expect(await p.runIn('inner/deep', ...command)).toMatchObject({ code: 2 });
  expect(p.snapshot()).toEqual(before);
  // The pipeline of a project decides, wherever the command is called.
  expect((await p.run('runs', '-f', 'p.yaml')).stdout).toContain('p.yaml');
  expect((await p.runIn('inner', 'runs', '-f', '../p.yaml')).stdout).toContain('p.yaml');
  expect((await p.runIn('inner', 'cache', 'ls', '-f', '../p.yaml')).stdout).toContain('p.yaml a');
  await p.run('cache', 'export', 'results.tar');
  expect(await p.runIn('inner', 'cache', 'import', '../results.tar')).toMatchObject({ code: 0, stderr: '' });
  p.write('inner/q.yaml', PIPELINE);
  expect(await p.runIn('inner', 'cache', 'ls')).toMatchObject({ code: 0, stdout: expect.stringContaining('p.yaml a'), stderr: '' });
  expect((await p.runIn('inner', 'run', 'q.yaml', '--plain')).screen).toContain('restored');
  // An invalid pipeline hides no runs.
  p.write('p.yaml', 'steps: 5\n');
  expect(await p.run('runs', '-f', 'p.yaml')).toMatchObject({ code: 0, stdout: expect.stringContaining('p.yaml') });
  expect((await p.run('runs', '-f', 'no.yaml')).screen).toContain('no.yaml: error: there is no such file');
});
