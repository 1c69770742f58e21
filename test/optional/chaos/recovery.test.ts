/** More obstacles at output paths, and more executions of killed engines that cannot be rolled back. */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, lstatSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { cutOff, isRoot, OTHER, othersRun, step, unprivileged } from '../../engine/chaos/obstacles.ts';
import { project } from '../../rig.ts';

const mount = (...args: string[]) => spawnSync('mount', args).status === 0;

const mounts = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;

test('a file in the place of a parent folder: one of tunesmith is removed, one of the user is saved; for runs and for restoring', async () => {
  const file = step('echo file > ${{ outputs.o }}', 'out/model');
  const inside = step('echo inside > ${{ outputs.o }}', 'out/model/deep/w.bin');
  const p = unprivileged({ 'p.yaml': file });
  for (const [text, state] of [
    [file, 'ran'],
    [inside, 'ran'],
    [file, 'restored'],
    [inside, 'restored'],
  ] as const) {
    p.write('p.yaml', text);
    expect((await p.states('p.yaml')).cells).toEqual({ a: state });
    expect(p.read(text === file ? 'out/model' : 'out/model/deep/w.bin')).toBe(text === file ? 'file\n' : 'inside\n');
  }
  expect(p.find('.tunesmith/kept')).toEqual([]);
  expect(p.find('.tunesmith/work', { all: true })).toEqual([]);
  for (const again of [[], ['--force']]) {
    p.remove('out');
    p.write('out/model', 'mine');
    p.unprivileged();
    const { code, screen } = await p.run('run', 'p.yaml', '--plain', ...again);
    expect({ code, screen }).toMatchObject({
      code: 0,
      screen: expect.stringContaining('tunesmith did not write out/model, so it was saved as'),
    });
    expect(p.read('out/model/deep/w.bin')).toBe('inside\n');
  }
  expect(p.find('.tunesmith/kept').map((name) => p.read(name))).toEqual(['mine', 'mine']);
});

test('folders without permissions of a failed step are moved away and removed later', async () => {
  for (const mode of ['000', '555']) {
    const leave = `mkdir -p \${{ outputs.o }}/deep; echo x > \${{ outputs.o }}/deep/f; chmod ${mode} \${{ outputs.o }}/deep \${{ outputs.o }}; `;
    const p = unprivileged({ 'p.yaml': step(`${leave}exit 1`, 'out/a') });
    for (let n = 0; n < 2; n++) {
      const { code, screen } = await p.run('run', 'p.yaml', '--plain');
      expect({ code, screen }).toMatchObject({ code: 1, screen: expect.stringContaining('a: failed') });
      expect(screen).not.toMatch(/bug of its own|permission denied/);
      expect(p.find('out')).toEqual([]);
      expect((await p.run('cache', 'du')).code).toBe(0);
    }
    await cutOff(p, 'out/a', `${leave}echo > begun; sleep 60`);
    expect(await othersRun(p)).toContain('saved the content found at out/a as .tunesmith/kept/');
    p.write('p.yaml', step('mkdir ${{ outputs.o }}; echo good > ${{ outputs.o }}/f', 'out/a'));
    expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
    expect(p.read('out/a/f')).toBe('good\n');
    expect(p.find('.tunesmith/work', { all: true })).toEqual([]);
  }
});

test('an output in a folder without search or write permission: its cell fails with a message, former outputs stay', async () => {
  const p = unprivileged({ 'p.yaml': step('echo > ${{ outputs.o }}', 'out/locked/o') });
  for (const mode of [0o000, 0o500]) {
    mkdirSync(p.path('out/locked'), { recursive: true });
    chmodSync(p.path('out/locked'), mode);
    for (let n = 0; n < 2; n++) {
      const { code, screen } = await p.run('run', 'p.yaml', '--plain');
      expect({ code, screen }).toMatchObject({ code: 1, screen: expect.stringMatching(/a: failed/) });
      expect(screen).not.toContain('bug of its own');
      await othersRun(p);
    }
    chmodSync(p.path('out/locked'), 0o755);
  }
});

test.skipIf(!isRoot)(
  'files of root: the cell fails with path and hint; after a kill, it is reported once, and other pipelines run',
  async () => {
    const p = unprivileged({ 'out/a/mine': 'mine' });
    await cutOff(p, 'out/a');
    chownSync(p.path('out/a'), 0, 0);
    chownSync(p.path('out/a/half'), 0, 0);
    const first = await othersRun(p);
    // One message for the path: what is in the way, what to do, and where the former output is.
    expect(first).toMatch(
      /^could not move the content found at out\/a, an output of the interrupted cell a, to \.tunesmith\/kept: permission denied: .*out\/a.* Check its owner and permissions\. The former out\/a is not restored: another file is in its place; it was saved as \.tunesmith\/kept\/.*$/,
    );
    expect(first).not.toContain('restored the former');
    const [kept] = p.find('.tunesmith/kept');
    expect(p.read(kept!)).toBe('mine');
    expect(await othersRun(p)).not.toMatch(/could not/);
    for (let n = 0; n < 2; n++) {
      p.write('p.yaml', step('mkdir -p ${{ outputs.o }}', 'out/a'));
      const { code, screen } = await p.run('run', 'p.yaml', '--plain');
      expect({ code, screen }).toMatchObject({ code: 1, screen: expect.stringMatching(/a: failed .*permission denied: .*out\/a/) });
    }
    await othersRun(p);
    chownSync(p.path('out/a'), 65534, 65534);
    chownSync(p.path('out/a/half'), 65534, 65534);
    expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
  },
);

test("a file in the place of a killed engine's output folder, and the reverse: the former output is saved, other pipelines run", async () => {
  const p = unprivileged({ 'out/a/mine': 'mine' });
  await cutOff(p, 'out/a');
  renameSync(p.path('out'), p.path('moved'));
  p.write('out', 'a file now');
  const first = await othersRun(p);
  expect(first).toMatch(/could not restore out\/a: .*it was saved as \.tunesmith\/kept\//);
  expect(p.find('.tunesmith/kept').map((name) => p.read(name))).toEqual(['mine']);
  expect(p.read('out')).toBe('a file now');
  expect(await othersRun(p)).not.toContain('could not');
  expect(p.find('.tunesmith/work', { all: true })).toEqual([]);
});

test.skipIf(!mounts)('an output that is a mount point is emptied and filled', async () => {
  const p = project({
    'package.json': '{}',
    'other.yaml': OTHER,
    'p.yaml': step('mkdir -p ${{ outputs.o }}/d; echo 1 > ${{ outputs.o }}/d/f', 'out/m'),
  });
  mkdirSync(p.path('out/m'), { recursive: true });
  if (!mount('-t', 'tmpfs', '-o', 'size=8m', 'none', p.path('out/m'))) throw new Error('cannot mount');
  onTestFinished(() => void spawnSync('umount', ['-l', p.path('out/m')]));
  p.write('out/m/mine', 'mine');
  const dev = lstatSync(p.path('out/m')).dev;
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
  expect(p.find('out')).toEqual(['out/m/d/f']);
  expect(p.find('.tunesmith/kept').map((name) => p.read(name))).toEqual(['mine']);
  p.write('out/m/d/f', 'edited');
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'restored' });
  expect(p.read('out/m/d/f')).toBe('1\n');
  p.write('p.yaml', step('mkdir -p ${{ outputs.o }}; echo 2 > ${{ outputs.o }}/f; exit 1', 'out/m'));
  expect((await p.run('run', 'p.yaml', '--plain')).screen).not.toContain('bug of its own');
  expect(p.read('out/m/d/f')).toBe('1\n');
  await cutOff(p, 'out/m');
  await othersRun(p);
  expect(p.find('out')).toEqual(['out/m/d/f']);
  expect(lstatSync(p.path('out/m')).dev).toBe(dev);
});

test.skipIf(!mounts)('a disk without space or inodes during a rollback: reported, and finished when there is space', async () => {
  for (const [limit, fill] of [
    ['size=3m', 'head -c 9m /dev/zero > filler'],
    ['size=30m,nr_inodes=80', 'mkdir filler; i=0; while [ $i -lt 200 ]; do : > filler/$i || exit 0; i=$((i+1)); done'],
  ] as const) {
    const p = project();
    if (!mount('-t', 'tmpfs', '-o', limit, 'none', p.folder)) throw new Error('cannot mount');
    onTestFinished(() => void spawnSync('umount', ['-l', p.folder]));
    for (const [name, content] of Object.entries({ 'package.json': '{}', 'other.yaml': OTHER, 'out/a/mine': 'mine' }))
      p.write(name, content);
    await cutOff(p, 'out/a');
    spawnSync('sh', ['-c', fill], { cwd: p.folder });
    for (let n = 0; n < 2; n++) {
      const { code, screen } = await p.run('run', 'other.yaml', '--plain');
      expect(screen, limit).not.toContain('bug of its own');
      if (code !== 0) expect({ code, screen }, limit).toMatchObject({ code: 1, screen: expect.stringMatching(/disk (is )?full/) });
    }
    p.remove('filler');
    await othersRun(p);
    expect(p.find('out'), limit).toEqual(['out/a/mine']);
    expect(p.find('.tunesmith/work', { all: true }), limit).toEqual([]);
    expect(p.read('out/a/mine')).toBe('mine');
  }
});

test('files in the place of tunesmith’s own folders are reported, and only break what needs the folders', async () => {
  for (const name of ['logs', 'work', 'failed', 'kept', 'tmp']) {
    const p = unprivileged({
      'p.yaml': step('echo half > ${{ outputs.o }}; exit 1', 'out/o'),
      'out/o': 'mine',
      [`.tunesmith/${name}`]: 'a file',
    });
    for (const file of ['p.yaml', 'other.yaml']) {
      p.remove('other');
      const { code, screen } = await p.run('run', file, '--plain');
      expect([0, 1], `${name}: ${screen}`).toContain(code);
      expect(screen, name).not.toContain('bug of its own');
      expect(p.read('out/o'), name).toBe('mine');
      // The former output returns, so nothing goes to kept/.
      if (file === 'p.yaml' && name !== 'kept') expect(screen.replace(/\s+/g, ' ')).toContain(`.tunesmith/${name} is not a folder`);
    }
  }
});

test('a file in the place of a parent folder returns if the cell fails', async () => {
  const p = unprivileged({ 'p.yaml': step('echo half > ${{ outputs.o }}; exit 1', 'out/model/deep/w.bin'), 'out/model': 'mine' });
  expect((await p.run('run', 'p.yaml', '--plain')).code).toBe(1);
  expect(p.read('out/model')).toBe('mine');
  expect(p.read('.tunesmith/failed/a/out/model/deep/w.bin')).toBe('half\n');
  await cutOff(p, 'out/model/deep');
  expect(await othersRun(p)).toMatch(
    /^interrupted in an earlier run: restored the former out\/model before this run; saved the content found at out\/model\/deep as \.tunesmith\/kept\/\S+\/out\/model\/deep$/m,
  );
  expect(p.read('out/model')).toBe('mine');
});

test('names that no file system allows are refused at their position', async () => {
  const p = unprivileged({
    'p.yaml': step('echo > ${{ outputs.o }}', `out/${'é'.repeat(128)}`),
    'q.yaml': step('echo > ${{ outputs.o }}', `${'d'.repeat(200)}/`.repeat(21)),
  });
  const long = await p.run('run', 'p.yaml');
  expect(long.code).toBe(2);
  expect(long.screen).toContain('the name of output "o" has 256 bytes; file systems allow 255');
  const deep = await p.run('run', 'q.yaml');
  expect(deep.code).toBe(2);
  expect(deep.screen).toMatch(/the path of output "o" has \d+ bytes; the system allows 4095/);
  await othersRun(p);
});

test.skipIf(!isRoot)('abandoned execution folders and checkpoints of root are reported once', async () => {
  const p = unprivileged({});
  await cutOff(p, 'out/a');
  const [id] = p.find('.tunesmith/work', { all: true });
  mkdirSync(join(p.path(id!), 'staged'));
  writeFileSync(join(p.path(id!), 'staged/file'), 'of root');
  mkdirSync(p.path(`.tunesmith/checkpoints/${'0'.repeat(64)}/deep`), { recursive: true });
  spawnSync('touch', [
    '-d',
    '2001-01-01',
    p.path(`.tunesmith/checkpoints/${'0'.repeat(64)}/deep`),
    p.path(`.tunesmith/checkpoints/${'0'.repeat(64)}`),
  ]);
  for (const name of [join(id!, 'staged'), `.tunesmith/checkpoints/${'0'.repeat(64)}`, '.tunesmith/checkpoints']) {
    chownSync(p.path(name), 0, 0);
    chmodSync(p.path(name), 0o755);
  }
  const first = await othersRun(p);
  expect(first).toMatch(/could not remove .*: permission denied/);
  expect(first).toMatch(/could not remove .*checkpoints\/0+: permission denied/);
  expect(await othersRun(p)).not.toMatch(/could not remove/);
});
