/** gc next to other projects, lockfiles, and runs that run or were killed. */
import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import { openCache } from '../../../cache/open.ts';
import { FILES, objects, PIPELINE, ran, runs } from '../../engine/run/gc-project.ts';
import { project } from '../../rig.ts';

test('results in a lockfile are kept, also in a saved one and in both versions of a merge conflict', async () => {
  const p = project(FILES);
  await runs(p, 'one');
  p.write('kept/other.lock', p.read('p.lock'));
  await runs(p, 'two');
  const two = p.read('p.lock');
  await runs(p, 'three', 'four');
  p.write('p.lock', `${p.read('p.lock')}<<<<<<< ours\n${two}>>>>>>> theirs\n`);
  const done = await p.run('gc', '--max-size', '0', '--yes');
  expect(done.stdout).toContain('removed 2 results');
  expect(done.stdout).toContain('to keep: 6 of 8 results');
  expect(done.stdout).toContain('needed 6 by a lockfile');
  expect(done.stdout).toContain('the cache stays larger than 0 bytes, because the other results are still needed');
  for (const text of ['one', 'two', 'four']) expect(await ran(p, text), text).toBe(0);
  expect(await ran(p, 'three')).toBe(2);
});

test("in a shared cache, results of other projects' runs and lockfiles are kept", async () => {
  const env = { TUNESMITH_CACHE: '' };
  const p = project(FILES, env);
  const other = project(FILES, env);
  env.TUNESMITH_CACHE = p.path('cache');
  await runs(other, 'theirs', 'lock');
  await runs(p, 'one', 'two', 'three');
  const done = await p.run('gc', '--max-size', '0', '--yes');
  expect(done.stdout).toContain('removed 4 results');
  expect(done.stdout).toContain('needed 4 by a lockfile, 2 by another project with this cache');
  expect(await ran(other, 'theirs')).toBe(0);
  expect(await ran(other, 'lock')).toBe(0);

  // Its own gc removes them, but keeps what the lockfile of p refers to.
  const own = await other.run('gc', '--keep-runs', '1', '--yes');
  expect(own.stdout).toContain('removed 2 results');
  expect(await ran(p, 'three')).toBe(0);
});

test('nothing is removed while a run checks its cells', async () => {
  const p = project(FILES);
  await runs(p, 'one', 'two');
  const cache = openCache(p.path('.tunesmith'));
  const use = cache.gcRoots.register({ host: '', folder: '.' }, 'p.yaml')!;
  expect((await p.run('gc', '--max-size', '0', '--yes')).stdout).toMatch(
    /^there is nothing to remove\nto keep: 4 of 4 results, .*; needed 2 by a lockfile, 2 by a run in progress\n/,
  );
  cache.gcRoots.begin(use, []);
  cache.close();
  expect((await p.run('gc', '--max-size', '0', '--yes')).stdout).toContain('removed 2 results');
  // A run that could not start leaves no such trace.
  p.remove('.tunesmith/index.sqlite');
  expect((await p.run('run', 'p.yaml', '--only', 'b')).code).toBe(2);
  const index = new Sqlite(p.path('.tunesmith/index.sqlite'));
  expect(index.prepare('select count(*) from uses').pluck().get()).toBe(0);
  index.close();
});

test('results of a killed run count as its own', async () => {
  const p = project({
    'p.yaml': `${PIPELINE}
  slow: { run: "echo > begun; sleep 60", needs: b }
`,
    'data/x': '',
  });
  const killed = p.start('run', 'p.yaml', '-p', 'text=killed');
  await p.until(() => p.exists('begun'));
  killed.kill('SIGKILL');
  await killed.done;
  expect((await p.run('runs')).stdout).toContain('interrupted');
  await p.run('gc', '--keep-runs', '1', '--yes');
  expect((await p.states('p.yaml', '-p', 'text=killed', '--until', 'b')).cells).toEqual({ a: 'fresh', b: 'fresh' });
  // Now that run is no longer the last one, but another one uses the same results.
  await p.run('gc', '--keep-runs', '1', '--yes');
  expect(objects(p)).toBe(3);
});

test('next to a running engine, nothing that it publishes is lost', async () => {
  const p = project({
    'p.yaml':
      'params: { n: 0 }\nsteps: { a: { matrix: { x: [1, 2, 3, 4, 5, 6, 7, 8] }, run: "sleep 0.1; mkdir ${{ outputs.o }}; echo ${{ params.n }} ${{ matrix.x }} > ${{ outputs.o }}/f; echo same > ${{ outputs.o }}/g", outputs: { o: "out/${{ matrix.x }}" } } }',
  });
  await p.states('p.yaml');
  let over = false;
  const collecting = (async () => {
    let count = 0;
    while (!over) count += (await p.run('gc', '--max-size', '0', '--yes')).code === 0 ? 1 : Number.NaN;
    return count;
  })();
  for (const n of [1, 2, 3]) await p.states('p.yaml', '-j', '2', '-p', `n=${n}`);
  over = true;
  expect(await collecting).toBeGreaterThan(1);
  expect((await p.run('cache', 'verify')).screen).toContain('all intact');
  p.remove('out');
  expect(new Set(Object.values((await p.states('p.yaml', '-p', 'n=3')).cells))).toEqual(new Set(['restored']));
});

test('results of a run in progress are kept, also new ones', async () => {
  const p = project({
    'p.yaml': `${PIPELINE}
  slow: { run: "touch begun; while ! test -e ready; do sleep 0.05; done; cat \${{ steps.b.o }}/last > \${{ outputs.o }}", inputs: { b: "\${{ steps.b.o }}" }, outputs: { o: slow.txt } }
`,
    'data/x': '',
  });
  p.write('ready', '');
  await runs(p, 'one', 'two');
  for (const name of ['ready', 'begun', 'out', 'p.lock']) p.remove(name);
  const slow = p.start('run', 'p.yaml', '-p', 'text=three', '--json');
  await p.until(() => p.exists('begun'));
  const during = await p.run('gc', '--max-size', '0', '--yes');
  expect(during.stdout).toContain('removed 6 results');
  expect(during.stdout).toContain('needed 2 by a run in progress');
  p.write('ready', '');
  expect((await slow.done).code).toBe(0);
  p.remove('out');
  expect(await ran(p, 'three')).toBe(0);
});
