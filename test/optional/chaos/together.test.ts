/** More concurrent engines: many checkouts with one cache, and runs that overwrite the files of each other. */
import { expect, test } from 'vitest';
import { FILES, faulty, tree } from '../../engine/chaos/rig.ts';
import { project } from '../../rig.ts';

test('two engines on one project: each cell runs once, outputs as in a clean run', async () => {
  const clean = faulty();
  await clean.run('run', 'p.yaml');
  const p = faulty();
  const [one, two] = await Promise.all([p.states('p.yaml'), p.states('p.yaml')]);
  for (const cell of Object.keys(one.cells)) expect([one.cells[cell], two.cells[cell]].sort(), cell).toEqual(['fresh', 'ran']);
  expect(tree(p)).toEqual(tree(clean));
  expect(new Set(Object.values((await p.states('p.yaml')).cells))).toEqual(new Set(['fresh']));
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

test('two concurrent runs execute each cell once', async () => {
  const yaml = 'steps: { a: { run: "echo x >> runs; sleep 2; echo > ${{ outputs.o }}", outputs: { o: o.txt } } }';
  const p = project({ 'p.yaml': yaml });
  const [one, two] = await Promise.all([p.states('p.yaml'), p.states('p.yaml')]);
  expect([one.code, two.code]).toEqual([0, 0]);
  expect(p.read('runs')).toBe('x\n');
  expect([one.cells.a, two.cells.a].sort()).toEqual(['fresh', 'ran']);
});
