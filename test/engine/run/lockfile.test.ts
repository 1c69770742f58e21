/** The lockfile `<pipeline>.lock`, which is made for git, and `run --locked`, which compares a run with it. */
import { cpSync, mkdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const CHAIN = `
params: { suffix: end }
steps:
  sorted:
    run: sort \${{ inputs.words }} > \${{ outputs.list }}
    inputs: { words: words.txt }
    outputs: { list: out/sorted.txt }
  ended:
    run: cat \${{ steps.sorted.list }} > \${{ outputs.list }}; echo \${{ params.suffix }} \${{ matrix.n }} >> \${{ outputs.list }}
    matrix: { n: [1, "2"] }
    outputs: { list: "out/ended-\${{ matrix.n }}.txt" }
`;

const FILES = { 'p.yaml': CHAIN, 'words.txt': 'pear\napple\n' };

test('a run writes the lockfile: sorted, identical in every checkout, and changed only if results change', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const lock = p.read('p.lock');
  expect(lock.split('\n').filter((line) => !line.startsWith(' '))).toEqual([
    '# Written by `tunesmith run`. Commit it to git: `run --locked` and `verify` compare results with it.',
    '"ended[n=\\"2\\"]":',
    'ended[n=1]:',
    'sorted:',
    '',
  ]);
  expect(lock).toMatch(/^sorted:\n {2}fingerprint: [\da-f]{64}\n {2}outputs:\n {4}list: file [\da-f]{64}\n$/m);
  const other = project(FILES);
  await other.states('p.yaml', '-j', '1');
  expect(other.read('p.lock')).toBe(lock);
  const { mtimeMs } = p.stat('p.lock');
  await p.states('p.yaml');
  expect(p.stat('p.lock').mtimeMs).toBe(mtimeMs);
});

test('--locked passes if nothing differs, also without a cache', async () => {
  const p = project(FILES);
  const none = await p.run('run', 'p.yaml', '--locked');
  expect([none.code, none.screen]).toEqual([1, 'error: there is no p.lock to compare results with\n  Run without --locked to write it.\n']);
  await p.states('p.yaml');
  const fresh = project();
  for (const name of ['p.yaml', 'words.txt', 'p.lock']) fresh.write(name, p.read(name));
  const run = await fresh.states('p.yaml', '--locked');
  expect([run.code, run.cells]).toEqual([0, { sorted: 'ran', 'ended[n=1]': 'ran', 'ended[n="2"]': 'ran' }]);
});

test('--locked runs nothing if a fingerprint would differ, and reports which and why', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const lock = p.read('p.lock');
  // Dependents are checked as if the cells before had produced the locked outputs.
  p.remove('.tunesmith/objects');
  p.remove('out');
  p.write('p.yaml', CHAIN.replace('sort $', 'sort -r $').replace('[1, "2"]', '[1, 3]'));
  const run = await p.run('run', 'p.yaml', '--locked');
  expect([run.code, run.screen]).toEqual([
    1,
    `error: 2 cells differ from p.lock; no cell was run
  sorted: command changed
  ended[n=3]: it is not in the lockfile
  Run without --locked to accept the change and update the lockfile.
`,
  ]);
  const param = await p.run('run', 'p.yaml', '--locked', '--only', 'sorted');
  expect(param.screen).toContain('1 cell differs from p.lock; no cell was run\n  sorted: command changed\n');
  expect(p.exists('out')).toBe(false);
  expect(p.read('p.lock')).toBe(lock);
});

test('--locked fails a cell with different outputs: they are not stored, and the former outputs return', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: "date +%N > ${{ outputs.o }}", outputs: { o: o.txt } } }' });
  await p.states('p.yaml');
  const lock = p.read('p.lock');
  const first = p.read('o.txt');
  mkdirSync(p.path('other'));
  cpSync(p.path('p.yaml'), p.path('other/p.yaml'));
  cpSync(p.path('p.lock'), p.path('other/p.lock'));
  p.write('other/package.json', '{}');
  const run = await p.runIn('other', 'run', 'p.yaml', '--locked');
  expect(run.code).toBe(1);
  expect(run.screen).toMatch(/differs from p\.lock: output o \(file [\da-f]{8} → file [\da-f]{8}\)/);
  expect(p.exists('other/o.txt')).toBe(false);
  expect(p.find('other/.tunesmith/failed')).toHaveLength(1);
  expect(p.read('other/p.lock')).toBe(lock);
  expect(p.read('o.txt')).toBe(first);

  // This cache has another result with the same fingerprint, which must not replace the locked one.
  p.remove('other/p.lock');
  await p.runIn('other', 'run', 'p.yaml');
  p.write('other/p.lock', lock);
  expect((await p.runIn('other', 'run', 'p.yaml', '--locked')).screen).toContain('no cell was run\n  a: output o (file');
});

test('a merge conflict in a lockfile is reported with its line; a full run writes the file again', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const lock = p.read('p.lock');
  p.write('p.lock', lock.replace('sorted:', '<<<<<<< ours\nsorted:'));
  const run = await p.run('run', 'p.yaml', '--locked');
  expect([run.code, run.screen.split('\n')[0]]).toEqual([1, 'error: p.lock:10: there is a merge conflict']);
  const part = await p.run('run', 'p.yaml', '--only', 'sorted');
  expect([part.code, part.screen]).toEqual([0, expect.stringContaining('could not write p.lock: p.lock:10: there is a merge conflict')]);
  await p.states('p.yaml');
  expect(p.read('p.lock')).toBe(lock);
});

test('a folder in the place of a lockfile is reported and not changed', async () => {
  const p = project(FILES);
  p.write('p.lock/x', '');
  const run = await p.run('run', 'p.yaml', '--plain');
  expect([run.code, run.screen]).toEqual([0, expect.stringContaining('could not write p.lock: p.lock is a folder')]);
  const locked = await p.run('run', 'p.yaml', '--locked');
  expect([locked.code, locked.screen.split('\n')[0]]).toEqual([1, 'error: p.lock is a folder']);
  expect(p.exists('p.lock/x')).toBe(true);
});

test('a result of inputs that changed during the run does not enter the lockfile', async () => {
  const p = project({
    'p.yaml': 'steps: { a: { run: "cat in.txt > ${{ outputs.o }}; echo x >> in.txt", inputs: { i: in.txt }, outputs: { o: o.txt } } }',
    'in.txt': '',
  });
  await p.states('p.yaml');
  expect(p.read('p.lock').split('\n')).toHaveLength(2);
});
