/** Concurrent engines: two on one project, ten checkouts with one cache. */
import { createHash } from 'node:crypto';
import { symlinkSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import { FILES, faulty, tree } from './rig.ts';

test('two engines on one project: each cell runs once, outputs as in a clean run', async () => {
  const clean = faulty();
  await clean.run('run', 'p.yaml');
  const p = faulty();
  const [one, two] = await Promise.all([p.states('p.yaml'), p.states('p.yaml')]);
  for (const cell of Object.keys(one.cells)) expect([one.cells[cell], two.cells[cell]].sort(), cell).toEqual(['fresh', 'ran']);
  expect(tree(p)).toEqual(tree(clean));
  expect(new Set(Object.values((await p.states('p.yaml')).cells))).toEqual(new Set(['fresh']));
});

test('a run that takes over the cell of a killed one is not undone by the next run', async () => {
  const p = faulty({
    'package.json': '{}',
    's.yaml': `
name: s
params: { w: three }
steps:
  a: { run: "touch begun; while [ -e hold ]; do sleep 0.05; done; echo \${{ params.w }} > \${{ outputs.o }}", outputs: { o: out/a.txt } }
  b: { run: "cat \${{ steps.a.o }} > \${{ outputs.o }}", outputs: { o: out/b.txt } }
`,
    'other.yaml': 'steps: { c: { run: "cat ${{ inputs.i }} > ${{ outputs.o }}", inputs: { i: out/a.txt }, outputs: { o: out/c.txt } } }\n',
  });
  await p.states('s.yaml');
  p.remove('begun');
  p.write('hold', '');
  const killed = p.start('run', 's.yaml', '-p', 'w=four');
  await p.until(() => p.exists('begun'));
  const waits = p.start('run', 's.yaml', '-p', 'w=four', '--plain');
  await p.until(() => waits.output().includes('waiting'));
  killed.kill('SIGKILL');
  await killed.done;
  p.remove('hold');
  expect((await waits.done).code).toBe(0);
  expect((await p.states('other.yaml')).cells).toEqual({ c: 'ran' });
  expect(['a', 'b', 'c'].map((name) => p.read(`out/${name}.txt`))).toEqual(['four\n', 'four\n', 'four\n']);
});

test('a cell waits if another run is making its input again', async () => {
  const p = faulty({
    'package.json': '{}',
    'p.yaml': `
name: p
steps:
  made: { run: "touch making; while [ -e hold ]; do sleep 0.05; done; echo made > \${{ outputs.o }}", outputs: { o: made.txt } }
  gate: { run: "touch at-gate; while [ -e making-is-awaited ]; do sleep 0.05; done", needs: made, cache: false }
  reader: { run: "cat \${{ steps.made.o }} > \${{ outputs.o }}", needs: gate, outputs: { o: read.txt } }
`,
    'making-is-awaited': '',
  });
  await p.states('p.yaml', '--only', 'made');
  const reads = p.states('p.yaml');
  await p.until(() => p.exists('at-gate'));
  p.write('hold', '');
  p.remove('making');
  const makes = p.states('p.yaml', '--only', 'made', '--force');
  await p.until(() => p.exists('making'));
  p.remove('making-is-awaited');
  await new Promise((resolve) => setTimeout(resolve, 500));
  p.remove('hold');
  expect((await makes).cells).toEqual({ made: 'ran' });
  expect((await reads).cells).toEqual({ made: 'fresh', gate: 'ran', reader: 'ran' });
  expect(p.read('read.txt')).toBe('made\n');
});

test.each(['shell', 'step'])(
  'a run (%s) that is suspended until another one takes over its outputs fails and leaves the outputs alone',
  async (kind) => {
    const body = `touch begun-\${{ params.x }}; until [ -e go-\${{ params.x }} ]; do sleep 0.05; done; echo \${{ params.x }} > \${{ outputs.o }}`;
    const p = faulty({
      'package.json': '{}',
      'wait.mjs': `import { existsSync, writeFileSync } from 'node:fs'; import { setTimeout as sleep } from 'node:timers/promises';
      export default { name: 'wait', version: 1, options: { x: {} }, outputs: { o: 'file' }, async run({ options: { x }, outputs, folder }) {
        writeFileSync(folder + '/begun-' + x, '');
        while (!existsSync(folder + '/go-' + x)) await sleep(50);
        writeFileSync(outputs.o, x + '\\n'); writeFileSync(folder + '/made-' + x, '');
      } };`,
      'p.yaml': `
name: p
params: { x: 1 }
steps:
  a: ${kind === 'shell' ? `{ run: "${body}; touch made-\${{ params.x }}", retry: 2, outputs: { o: a.txt } }` : '{ uses: ./wait.mjs, retry: 2, with: { x: "${{ params.x }}" } }'}
`,
    });
    const output = kind === 'shell' ? 'a.txt' : '.tunesmith/outputs/p/a/o';
    const stopped = p.start('run', 'p.yaml', '--plain');
    await p.until(() => p.exists('begun-1'));
    stopped.kill('SIGSTOP');
    p.write('go-1', '');
    await p.until(() => p.exists('made-1'));
    // Another machine does this after a minute without a heartbeat.
    const state = new Sqlite(p.path('.tunesmith/state.sqlite'));
    state.exec('delete from leases');
    state.close();
    new Sqlite(p.path('.tunesmith/index.sqlite')).exec('delete from leases').close();
    p.write('go-2', '');
    expect((await p.states('p.yaml', '-p', 'x=2')).cells).toEqual({ a: 'ran' });
    stopped.kill('SIGCONT');
    const { code, screen } = await stopped.done;
    expect(code).toBe(1);
    expect(screen).toMatch(
      /a: failed after .*: another run took over its outputs while this run was suspended, so the files there belong to that run/,
    );
    expect(screen).toMatch(/A run that is suspended for a minute/);
    expect(p.read(output)).toBe('2\n');
    expect(p.find('.tunesmith/work')).toEqual([]);
    expect((await p.states('p.yaml', '-p', 'x=2')).cells).toEqual({ a: 'fresh' });
    expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
    expect(p.read(output)).toBe('1\n');
  },
);

test('a run fails if another run with other parameters overwrites its intermediate file', async () => {
  const p = faulty({
    'package.json': '{}',
    'hold-1': '',
    'p.yaml': `
name: p
params: { x: 1 }
steps:
  made: { run: "echo \${{ params.x }} > \${{ outputs.o }}", outputs: { o: made.txt } }
  gate: { run: "touch at-gate-\${{ params.x }}; while [ -e hold-\${{ params.x }} ]; do sleep 0.05; done", needs: made, cache: false }
  read: { run: "touch reading-\${{ params.x }}; while [ -e wait-\${{ params.x }} ]; do sleep 0.05; done; cat \${{ steps.made.o }} > \${{ outputs.o }}; echo \${{ params.x }} >> \${{ outputs.o }}", needs: gate, outputs: { o: read.txt } }
`,
  });
  const fails = (screen: string) =>
    expect(screen).toMatch(
      /read: failed after .*: another run has overwritten the input steps\.made\.o \(made\.txt\), which made made for this run/,
    );
  // Before the cell starts, and while it reads.
  const first = p.run('run', 'p.yaml', '--plain');
  await p.until(() => p.exists('at-gate-1'));
  expect((await p.states('p.yaml', '-p', 'x=2')).code).toBe(0);
  p.remove('hold-1');
  fails((await first).screen);
  expect(p.read('read.txt')).toBe('2\n2\n');
  p.write('wait-1', '');
  p.remove('reading-1');
  const second = p.run('run', 'p.yaml', '--plain');
  await p.until(() => p.exists('reading-1'));
  expect((await p.states('p.yaml', '-p', 'x=3', '--until', 'made')).code).toBe(0);
  p.remove('wait-1');
  fails((await second).screen);
  expect(p.read('read.txt')).toBe('2\n2\n');
  expect((await p.states('p.yaml')).cells).toEqual({ made: 'restored', gate: 'ran', read: 'ran' });
  expect(p.read('read.txt')).toBe('1\n1\n');
});

test('two cells that write the same file through a link do not run at the same time; each has its own result', async () => {
  const p = faulty({
    'package.json': '{}',
    'real/keep': '',
    'p.yaml': `
steps:
  one: { run: "echo one > \${{ outputs.o }}; sleep 1", outputs: { o: real/x } }
  two: { run: "sleep 0.4; echo two > \${{ outputs.o }}", outputs: { o: link/x } }
`,
  });
  symlinkSync('real', p.path('link'));
  await p.states('p.yaml', '-j', '2');
  const hash = (text: string) => createHash('sha256').update(text).digest('hex');
  expect(p.read('p.lock').match(/(?<=o: file )\w+/g)).toEqual([hash('one\n'), hash('two\n')]);
});

test('ten checkouts with one cache, one of them killed: each cell runs once, all have identical outputs', async () => {
  const shared = faulty({}).folder;
  const log = faulty({ executed: '' }).path('executed');
  const files = { ...FILES, 'p.yaml': String(FILES['p.yaml']).replace('run: sort', `run: echo words >> ${log}; sort`) };
  const checkouts = Array.from({ length: 10 }, () => {
    const p = faulty(files);
    p.env.TUNESMITH_CACHE = shared;
    return p;
  });
  const [first, ...others] = checkouts as [ReturnType<typeof faulty>, ...ReturnType<typeof faulty>[]];
  const killed = first.start('run', 'p.yaml', '--plain', '-j', '1');
  const running = others.map((p) => p.states('p.yaml', '-j', '1'));
  await first.until(() => killed.output().includes('running') || killed.output().includes('waiting'));
  killed.kill('SIGKILL');
  const ended = await Promise.all(running);
  expect((await first.states('p.yaml')).code).toBe(0);
  expect(ended.map(({ code }) => code)).toEqual(others.map(() => 0));
  const executed = ended.flatMap(({ cells }) => Object.entries(cells)).filter(([, state]) => state === 'ran');
  const names = executed.map(([cell]) => cell);
  expect(names.length).toBe(new Set(names).size);
  const trees = checkouts.map((p) => tree(p));
  for (const made of trees) expect(made).toEqual(trees[0]);
  // Once, and once more for the cell of the killed engine.
  expect(
    new TextDecoder()
      .decode(await import('node:fs').then((fs) => fs.readFileSync(log)))
      .trim()
      .split('\n').length,
  ).toBeLessThanOrEqual(2);
});
