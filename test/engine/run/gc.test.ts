/** `gc`: what is removed and what is kept, and that nothing is removed that is still needed. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';
import { FILES, objects, ran, runs } from './gc-project.ts';

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
