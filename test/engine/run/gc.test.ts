/** `gc`: what is removed and what is kept, and that nothing is removed that is still needed. */
import { mkdirSync, writeFileSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import { checkOf } from '../../../cache/database.ts';
import { openCache } from '../../../cache/open.ts';
import { type Project, project } from '../../rig.ts';

const PIPELINE = `
params: { text: one }
steps:
  a: { run: "echo \${{ params.text }} > \${{ outputs.o }}", outputs: { o: out/a.txt } }
  b: { run: "cp -r \${{ inputs.i }} \${{ outputs.o }}; cat \${{ steps.a.o }} > \${{ outputs.o }}/last", inputs: { i: data }, outputs: { o: out/b } }
`;
const FILES = { 'p.yaml': PIPELINE, 'data/x': 'x\n', 'data/y': 'y\n' };

async function runs(p: Project, ...texts: string[]): Promise<void> {
  for (const text of texts) await p.states('p.yaml', '-p', `text=${text}`);
}

const ran = async (p: Project, text: string) =>
  Object.values((await p.states('p.yaml', '-p', `text=${text}`)).cells).filter((s) => s === 'ran').length;
const objects = (p: Project, cache = '.tunesmith') => p.find(`${cache}/objects`).length;

test('gc needs a valid rule', async () => {
  const p = project(FILES);
  expect((await p.run('gc', '--keep-runs', '1')).screen).toBe('error: no pipeline has run in the project <project>\n');
  mkdirSync(p.path('.tunesmith'));
  const none = await p.run('gc', '--yes');
  expect([none.code, none.screen.split('\n')[0]]).toEqual([2, 'error: gc needs a rule for what to remove']);
  for (const [flag, value] of [
    ['--older-than', '3'],
    ['--older-than', '-1d'],
    ['--max-size', '10XB'],
    ['--max-size', '-5'],
    ['--keep-runs', '0'],
  ] as const) {
    const wrong = await p.run('gc', `${flag}=${value}`);
    expect([wrong.code, wrong.screen], value).toEqual([2, expect.stringContaining(`argument '${value}' is invalid. It must be a`)]);
  }
  const nothing = await p.run('gc', '--max-size', '0', '--yes');
  expect([nothing.code, nothing.screen]).toEqual([0, 'there is nothing to remove\nto keep: 0 of 0 results, 0 bytes\n']);
});

test('without --yes it only lists what it would remove; with --yes it removes exactly that', async () => {
  const p = project(FILES);
  await runs(p, 'one', 'two', 'three');
  const before = p.snapshot();
  const dry = await p.run('gc', '--keep-runs', '1');
  expect(p.snapshot()).toEqual(before);
  expect(dry.code).toBe(0);
  expect(dry.stdout).toContain('to remove: 4 results, 4 objects');
  expect(dry.stdout).toContain('to keep: 2 of 6 results');
  expect(dry.stdout).toContain('nothing was removed; run the command again with --yes');
  const out = p.find('out').map((file) => p.read(file));

  const done = await p.run('gc', '--keep-runs', '1', '--yes');
  expect(done.stdout).toContain('removed 4 results, 4 objects');
  expect(p.find('out').map((file) => p.read(file))).toEqual(out);
  // The results of the last run can be restored. Removed ones run again, but the records still have their history.
  p.remove('out');
  expect((await p.states('p.yaml', '-p', 'text=three')).cells).toEqual({ a: 'restored', b: 'restored' });
  expect((await p.run('runs', 'diff', '1', '2')).stdout).toContain('a:\n    params.text: one → two\n');
  expect((await p.run('cache', 'verify')).code).toBe(0);
  expect((await p.run('gc', '--keep-runs', '1', '--yes')).stdout).toMatch(/^there is nothing to remove\n/);
  expect(await ran(p, 'one')).toBe(2);
});

test('on a terminal, it asks for confirmation', async () => {
  const p = project(FILES);
  await runs(p, 'one', 'two');
  p.write('terminal.mjs', 'for (const stream of [process.stdin, process.stdout]) stream.isTTY = true;');
  p.env.NODE_OPTIONS = `--import=file://${p.path('terminal.mjs')}`;
  for (const answer of ['n\n', '\n', '']) {
    const no = await p.feed(answer, 'gc', '--keep-runs', '1');
    expect([no.code, no.stdout], JSON.stringify(answer)).toEqual([
      0,
      expect.stringMatching(/Remove 2 results, .*\? \[y\/N\][\s\S]*nothing was removed\n$/),
    ]);
  }
  expect(objects(p)).toBe(6);
  expect((await p.feed('yes\n', 'gc', '--keep-runs', '1')).stdout).toContain('removed 2 results, 2 objects');
  expect(objects(p)).toBe(4);
});

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

test('by age: results that were not used for that time; by size: the least recently used results', async () => {
  const p = project({
    'p.yaml':
      'params: { n: 1 }\nsteps: { a: { run: "head -c 1000 /dev/zero | tr \'\\\\0\' ${{ params.n }} > ${{ outputs.o }}", outputs: { o: o.txt } } }',
  });
  for (const n of [1, 2, 3, 4]) await p.states('p.yaml', '-p', `n=${n}`);
  const index = new Sqlite(p.path('.tunesmith/index.sqlite'));
  const days = [40, 10, 35, 0];
  for (const [i, age] of days.entries()) {
    const at = new Date(Date.now() - age * 86_400_000).toISOString();
    index.prepare('update uses set began = ? where id = ?').run(at, i + 1);
    index.prepare('update results set created = ? where number = ?').run(at, i + 1);
  }
  index.function('check_of', { varargs: true }, checkOf);
  index.exec('update results set checked = check_of(fingerprint, subject, outputs, record, created)');
  index.close();
  const size = JSON.parse((await p.run('gc', '--max-size', '3000', '--json')).stdout);
  expect([size.results.length, size.bytes, size.left, size.removed]).toEqual([1, 1000, 3000, false]);
  expect((await p.run('gc', '--older-than', '50d')).stdout).toMatch(/^there is nothing to remove\n/);
  // Both rules must allow it: 1 and 3 are old, 3 is among the last two runs.
  expect(JSON.parse((await p.run('gc', '--older-than', '30d', '--keep-runs', '2', '--json')).stdout).results).toHaveLength(1);
  expect((await p.run('gc', '--older-than', '30d', '--yes')).stdout).toContain('removed 2 results, 2 objects (2.0 KB)');
  const left = await Promise.all([2, 4].map((n) => p.run('status', 'p.yaml', '-p', `n=${n}`, '--json')));
  expect(left.map(({ stdout }) => JSON.parse(stdout).cells.a.state)).toEqual(['restore', 'fresh']);
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

test('a read-only cache is not changed (needs root to become another user)', async (context) => {
  if (process.getuid?.() !== 0) return context.skip();
  const env: Record<string, string> = {};
  const p = project(FILES, env);
  env.TUNESMITH_CACHE = p.path('cache');
  await runs(p, 'one', 'two');
  p.remove('p.lock');
  const before = objects(p, 'cache');
  const { spawnSync } = await import('node:child_process');
  const { chmodSync } = await import('node:fs');
  const { root } = await import('../../rig.ts');
  for (const name of ['.', ...p.find('.', { all: true })]) chmodSync(p.path(name), p.stat(name).isDirectory() ? 0o755 : 0o644);
  const { status, stderr } = spawnSync(process.execPath, [`${root}/dist/engine/cli.js`, 'gc', '--keep-runs', '1', '--yes'], {
    cwd: p.folder,
    env: { PATH: process.env.PATH, ...env },
    uid: 65534,
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([1, expect.stringContaining('is read-only, so nothing can be removed')]);
  expect(objects(p, 'cache')).toBe(before);
});

test("kept files and outputs of failed cells are listed with their sizes and removed only on request; a user's file survives failures and a success", async () => {
  const p = project({
    'p.yaml':
      'steps: { a: { run: "echo half > ${{ outputs.o }}; test -e ready; echo whole > ${{ outputs.o }}", outputs: { o: out/a.txt } } }\n',
    'out/a.txt': 'mine\n',
  });
  for (const _ of [1, 2]) {
    expect((await p.run('run', 'p.yaml')).code).toBe(1);
    expect(p.read('out/a.txt')).toBe('mine\n');
  }
  expect(p.find('.tunesmith/failed').map(p.read)).toEqual(['half\n']);
  p.write('ready', '');
  expect((await p.run('run', 'p.yaml')).code).toBe(0);
  expect(p.find('.tunesmith/failed')).toEqual([]);
  const [mine] = p.find('.tunesmith/kept');
  expect(p.read(mine!)).toBe('mine\n');

  p.write('.tunesmith/failed/b/half', 'half');
  const listed = await p.run('gc', '--keep-runs', '5', '--yes');
  expect(listed.stdout).toMatch(
    /kept files and outputs of failed cells:\n {2}\.tunesmith\/kept\/\S+: 1 file, 5 bytes, removed only with --kept\n {2}\.tunesmith\/failed\/b: 1 file, 4 bytes, removed only with --failed\n/,
  );
  expect(p.exists(mine!)).toBe(true);
  const results = objects(p);
  expect((await p.run('gc', '--kept', '--failed')).stdout).toContain('nothing was removed; run the command again with --yes');
  expect((await p.run('gc', '--failed', '--older-than', '1d', '--yes')).stdout).toContain('failed/b: 1 file, 4 bytes, removed only with');
  // A name that is not UTF-8, as a failed step may leave it.
  writeFileSync(Buffer.concat([Buffer.from(`${p.folder}/.tunesmith/failed/b/x`), Buffer.from([0xff])]), 'odd');
  expect((await p.run('gc', '--failed')).stdout).toContain('failed/b: 2 files, 7 bytes');
  expect((await p.run('gc', '--failed', '--yes')).stdout).toMatch(/removed \.tunesmith\/failed\/b\n$/);
  expect([p.exists('.tunesmith/failed/b'), p.exists(mine!)]).toEqual([false, true]);
  expect((await p.run('gc', '--kept', '--yes', '--json')).events).toMatchObject([
    { type: 'gc', removed: true, aside: [{ kind: 'kept', files: 1, removed: true }] },
  ]);
  expect([p.exists(mine!), objects(p)]).toEqual([false, results]);
});
