/** Disks that fill up or are read-only, in more ways than `npm test` tries. */
import { spawnSync } from 'node:child_process';
import { chmodSync, renameSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { FILES, faulty, tree } from '../../engine/chaos/rig.ts';
import { mount, mounts, onSmallDisk, readOnly } from '../../engine/chaos/small-disks.ts';

test.skipIf(!mounts)('a real disk that fills up, with the project and with the cache', async () => {
  const model = faulty();
  await model.run('run', 'p.yaml');
  const clean = tree(model);
  for (const what of ['project', 'cache']) {
    for (const size of what === 'project' ? ['300k', '12m'] : ['4m']) {
      const p = faulty({});
      if (!mount('-t', 'tmpfs', '-o', `size=${size}`, 'none', p.folder)) throw new Error('cannot mount');
      onTestFinished(() => void spawnSync('umount', ['-l', p.folder]));
      const q = what === 'project' ? p : faulty({});
      for (const [name, content] of Object.entries(FILES)) q.write(name, content);
      if (what === 'cache') q.env.TUNESMITH_CACHE = p.path('cache');
      const full = await q.run('run', 'p.yaml', '--plain');
      expect(full.code, `${what} ${size}: ${full.screen}`).toBe(1);
      expect(full.screen, `${what} ${size}`).toMatch(/disk (is )?full|ENOSPC|No space left/);
      expect(full.screen).not.toContain('bug of its own');
      expect(mount('-o', 'remount,size=64m', p.folder)).toBe(true);
      const { code, screen } = await q.run('run', 'p.yaml', '--plain');
      expect(code, `${what} ${size}: ${screen}`).toBe(0);
      expect(tree(q), `${what} ${size}`).toEqual(clean);
    }
  }
});

test.skipIf(!mounts)('changed files in failed/ are not used as a result; success removes them', async () => {
  const p = faulty({ 'p.yaml': 'steps: { a: { run: "head -c 2m /dev/zero > ${{ outputs.o }}", outputs: { o: out/o } } }' });
  const cache = faulty({});
  if (!mount('-t', 'tmpfs', '-o', 'size=1m', 'none', cache.folder)) throw new Error('cannot mount');
  onTestFinished(() => void spawnSync('umount', ['-l', cache.folder]));
  p.env.TUNESMITH_CACHE = cache.folder;
  await p.run('run', 'p.yaml');
  expect(p.find('.tunesmith/failed')).toEqual(['.tunesmith/failed/a/.made.json', '.tunesmith/failed/a/out/o']);
  p.write('.tunesmith/failed/a/out/o', 'edited');
  expect(mount('-o', 'remount,size=64m', cache.folder)).toBe(true);
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
  expect(p.stat('out/o').size).toBe(2 << 20);
  expect(p.find('.tunesmith/failed')).toEqual([]);
});

test.skipIf(!mounts)('a disk that is temporarily full does not stop a running step', async () => {
  const p = onSmallDisk('2m');
  p.write(
    'p.yaml',
    `
name: p
steps:
  long: { run: "echo > filler; until [ -e goon ]; do sleep 0.05; done; echo done > \${{ outputs.o }}", outputs: { o: out/o.txt } }
  other: { run: "until [ -e filler ]; do sleep 0.05; done; head -c 9m /dev/zero > filler 2> /dev/null || true" }
`,
  );
  p.write('goon-soon', 'room for a name');
  const run = p.start('run', 'p.yaml', '--plain', '-j', '2');
  // The records are written one second late.
  await p.until(() => run.output().includes('other: failed'));
  await new Promise((resolve) => setTimeout(resolve, 1500));
  p.remove('filler');
  renameSync(p.path('goon-soon'), p.path('goon'));
  const { code, screen } = await run.done;
  expect({ code, screen }).toMatchObject({ code: 1, screen: expect.stringMatching(/long: ran/) });
  expect((await p.states('p.yaml', '--only', 'long')).cells).toEqual({ long: 'fresh' });
});

test('a read-only cache: its results are restored, other cells run and are not stored; with permission, they are stored again', async () => {
  const p = faulty();
  const cache = faulty({});
  p.env.TUNESMITH_CACHE = cache.folder;
  await p.run('run', 'p.yaml');
  const clean = tree(p);
  const give = readOnly(cache);
  p.remove('out');
  expect(new Set(Object.values((await p.states('p.yaml')).cells))).toEqual(new Set(['fresh', 'restored']));
  expect(tree(p)).toEqual(clean);
  p.write('words/one.txt', 'pear\n');
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code).toBe(0);
  expect(run.screen).toContain('is read-only, so results are not stored for the next run');
  p.write('words/one.txt', String(FILES['words/one.txt']));
  expect((await p.run('run', 'p.yaml', '--plain')).code).toBe(0);
  expect(tree(p)).toEqual(clean);
  give();
  p.write('words/one.txt', 'pear\n');
  expect((await p.states('p.yaml')).cells).toMatchObject({ words: 'ran', all: 'ran' });
});

test.skipIf(process.getuid?.() !== 0)(
  'a read-only index with a writable store, and the reverse: the notice names the read-only part',
  async () => {
    const p = faulty({
      'p.yaml': 'params: { n: 1 }\nsteps: { a: { run: "echo ${{ params.n }} > ${{ outputs.o }}", outputs: { o: out/o } } }',
    });
    p.unprivileged();
    await p.run('run', 'p.yaml');
    for (const [name, mode] of [
      ['index.sqlite', 0o444],
      ['objects', 0o555],
      ['tmp', 0o555],
    ] as const) {
      const path = p.path(`.tunesmith/${name}`);
      chmodSync(path, mode);
      const { code, events } = await p.run('run', 'p.yaml', '--json', '-p', `n=${name}`);
      chmodSync(path, 0o755);
      const { message } = events.find(({ type }) => type === 'notice');
      expect({ code, message }).toEqual({
        code: 0,
        message: `the cache ${p.folder}/.tunesmith is read-only (${path} is not writable), so results are not stored for the next run`,
      });
    }
  },
);

test('a read-only project: a run reports it, read-only commands work', async () => {
  const p = faulty();
  await p.run('run', 'p.yaml');
  const give = readOnly(p);
  for (const command of [['status', 'p.yaml'], ['runs'], ['run', 'p.yaml', '--dry-run']]) {
    const { code, screen } = await p.run(...command);
    expect(code, `${command}: ${screen}`).toBe(0);
  }
  const { code, screen } = await p.run('run', 'p.yaml');
  expect({ code, screen }).toEqual({
    code: 1,
    screen: expect.stringMatching(/^error: .*\n {2}Check the file, its folder and their permissions\.\n$/),
  });
  give();
  expect(new Set(Object.values((await p.states('p.yaml')).cells))).toEqual(new Set(['fresh']));
});
