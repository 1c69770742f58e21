/** Full, read-only and removed disks: clear messages, no lost data, and with space again the next run is like a clean run. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FULL_EVERY, fullFrom } from './instants.ts';
import { faulty } from './rig.ts';
import { mount, mounts, onSmallDisk } from './small-disks.ts';

// More instants: test/optional/chaos.test.ts.
test('a disk that is full from an instant on: reported, not as a bug; the next run is clean', () => fullFrom(12 * FULL_EVERY));

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
