/** Full, read-only and removed disks: clear messages, no lost data, and with space again the next run is like a clean run. */
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FULL_EVERY, fullFrom } from './instants.ts';
import { FILES, faulty, type Project, tree } from './rig.ts';

const mount = (...args: string[]) => spawnSync('mount', args).status === 0;
/** As root on Linux, the tests use real small and read-only disks; other users use permissions. */
const mounts = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;

// All instants that are tried: test/optional/chaos.test.ts.
test('a disk that is full from an instant on: reported, not as a bug; the next run is clean', () => fullFrom(4 * FULL_EVERY));

test.skipIf(!mounts)('a real disk that fills up, with the project and with the cache', async () => {
  const model = faulty();
  await model.run('run', 'p.yaml');
  const clean = tree(model);
  for (const what of ['project', 'cache']) {
    for (const size of ['300k', '4m', ...(what === 'project' ? ['12m'] : [])]) {
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

test.skipIf(!mounts)('outputs that could not be stored are stored by the next run with space, without running again', async () => {
  const p = faulty({});
  if (!mount('-t', 'tmpfs', '-o', 'size=5m', 'none', p.folder)) throw new Error('cannot mount');
  onTestFinished(() => void spawnSync('umount', ['-l', p.folder]));
  const runs = faulty({}).folder;
  for (const [name, content] of Object.entries({
    'package.json': '{}',
    'p.yaml': `
name: p
steps:
  shell: { run: "echo >> ${runs}/shell; mkdir \${{ outputs.o }}; head -c 3m /dev/zero | tr '\\\\0' a > \${{ outputs.o }}/big; echo b > \${{ outputs.p }}", outputs: { o: out/o, p: out/p }, retry: 3 }
  step: { uses: ./own.mjs, with: { after: "\${{ steps.shell.p }}" } }
`,
    'own.mjs': `import { appendFileSync, writeFileSync } from 'node:fs';
export default { name: 'own', version: 1, inputs: { after: 'file' }, outputs: { model: 'file' }, run({ outputs }) {
  appendFileSync('${runs}/step', '\\n');
  writeFileSync(outputs.model, Buffer.alloc(2.5 * 2 ** 20, 'c'));
} };`,
  }))
    p.write(name, content);
  for (const [size, cell] of [
    ['9m', 'shell'],
    ['64m', 'step'],
  ] as const) {
    for (let n = 0; n < 2; n++) {
      const { code, screen } = await p.run('run', 'p.yaml', '--plain');
      expect(code, screen).toBe(1);
      expect(screen).toMatch(new RegExp(`${cell}: failed .*disk full`));
      expect(screen).toMatch(/The\s+outputs\s+of\s+the\s+cell\s+are\s+in\s+\.tunesmith\/failed\.\s+The\s+next\s+run\s+stores\s+them/);
    }
    expect(p.find('.tunesmith/failed').length).toBeGreaterThan(0);
    expect(mount('-o', `remount,size=${size}`, p.folder)).toBe(true);
  }
  expect((await p.states('p.yaml')).cells).toEqual({ shell: 'fresh', step: 'restored' });
  expect(p.find('.tunesmith/failed')).toEqual([]);
  expect([p.stat('out/o/big').size, p.read('out/p'), p.stat('.tunesmith/outputs/p/step/model').size]).toEqual([
    3 << 20,
    'b\n',
    2.5 * 2 ** 20,
  ]);
  expect(p.find('.', { all: true }).length).toBeGreaterThan(0);
  for (const cell of ['shell', 'step']) expect(readFileSync(join(runs, cell), 'utf8'), cell).toBe('\n');
  expect((await p.states('p.yaml', '--locked')).cells).toEqual({ shell: 'fresh', step: 'fresh' });
  p.remove('out');
  expect((await p.states('p.yaml')).cells).toEqual({ shell: 'restored', step: 'fresh' });
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

test.skipIf(!mounts)('a built-in step that fills the disk reports it with a hint', async () => {
  const p = faulty({
    'p.yaml': `steps:
  m: { run: "echo '{ \\"metrics\\": { \\"f1\\": 1 } }' > \${{ outputs.m }}; head -c 3m /dev/zero > \${{ outputs.model }}", outputs: { m: out/m.json, model: out/model } }
  s: { uses: select, with: { from: "\${{ steps.m.m }}", maximize: f1, pick: "\${{ steps.m.model }}" } }
`,
  });
  const cache = faulty({});
  p.env.TUNESMITH_CACHE = cache.folder;
  expect((await p.states('p.yaml', '--only', 'm')).cells).toEqual({ m: 'ran' });
  if (!mount('-t', 'tmpfs', '-o', 'size=1m', 'none', p.path('.tunesmith/work'))) throw new Error('cannot mount');
  onTestFinished(() => void spawnSync('umount', ['-l', p.path('.tunesmith/work')]));
  const { code, screen } = await p.run('run', 'p.yaml', '--plain', '--only', 's');
  expect({ code, screen }).toMatchObject({ code: 1, screen: expect.stringMatching(/s: failed after <time>: the disk is full: /) });
  expect(screen.replace(/\s+/g, ' ')).toContain('Free space and run again.');
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

test.skipIf(!mounts)('a disk that is full at the end of a run: the summary is still printed', async () => {
  const p = onSmallDisk('2m');
  p.write('p.yaml', 'name: p\nsteps: { fills: { run: "head -c 9m /dev/zero > filler 2> /dev/null || true" } }\n');
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code).toBe(1);
  expect(screen).toMatch(/p: 1 failed/);
  expect(screen).toMatch(/disk (is )?full|full disk/);
});

test.skipIf(!mounts)('a cell that fills the disk is reported once, with what to remove', async () => {
  const p = onSmallDisk('3m');
  p.write('p.yaml', 'name: p\nsteps: { a: { run: "head -c 9m /dev/zero > ${{ outputs.o }}", outputs: { o: o } } }\n');
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code, screen).toBe(1);
  expect(screen.match(/^a: failed/gm), screen).toHaveLength(1);
  expect(screen).toContain('No space left on device');
  expect(screen).toContain('`tunesmith gc --failed` removes the outputs of failed cells.');
  // That works on a full disk.
  expect(p.find('.tunesmith/failed')).toEqual(['.tunesmith/failed/a/o']);
  expect(await p.run('gc', '--failed', '--yes')).toMatchObject({ code: 0 });
  p.write('p.yaml', 'name: p\nsteps: { a: { run: "head -c 9k /dev/zero > ${{ outputs.o }}", outputs: { o: o } } }\n');
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
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

/** Returns a function that makes it writable again. */
function readOnly(p: Project): () => void {
  if (mounts) {
    if (!mount('--bind', p.folder, p.folder) || !mount('-o', 'remount,bind,ro', p.folder)) throw new Error('cannot mount');
    const give = () => void spawnSync('umount', ['-l', p.folder]);
    onTestFinished(give);
    return give;
  }
  const files = p.find('.', { all: true });
  const all = (bits: number) => {
    for (const name of ['.', ...files]) chmodSync(p.path(name), bits);
  };
  all(0o555);
  const give = () => all(0o755);
  onTestFinished(give);
  return give;
}

/** A project on a file system of its own. */
function onSmallDisk(size: string): Project {
  const p = faulty({});
  if (!mount('-t', 'tmpfs', '-o', `size=${size}`, 'none', p.folder)) throw new Error('cannot mount');
  onTestFinished(() => void spawnSync('umount', ['-l', p.folder]));
  p.write('package.json', '{}');
  return p;
}
