import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { moveAside, placeAtomically, temporaryIn } from '../../cache/atomic-move.ts';
import { folder, write } from './rig.ts';

/** /dev/shm is another device than the temporary folder on every Linux. On other systems, the tests use one device. */
function elsewhere(): string {
  if (!existsSync('/dev/shm') || statSync('/dev/shm').dev === statSync('/tmp').dev) return folder();
  const path = mkdtempSync('/dev/shm/tunesmith-');
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

for (const [where, other] of [
  ['on one device', folder],
  ['across devices', elsewhere],
] as const) {
  test(`place, ${where}: a file or a folder replaces whatever exists; links and modes are kept`, async () => {
    const at = folder();
    for (const staged of ['file', 'folder']) {
      for (const former of ['nothing', 'file', 'folder', 'dangling']) {
        const from = join(other(), 'staged');
        write(from, staged === 'file' ? {} : { 'a/run': 'x', 'empty/': '' });
        if (staged === 'file') write(join(from, '..'), { staged: 'new' });
        else chmodSync(join(from, 'a/run'), 0o755);
        if (staged === 'folder') symlinkSync('nowhere', join(from, 'link'));
        const path = join(at, `${staged} for ${former}`, 'out');
        if (former === 'file') write(path, { '../out': 'old' });
        if (former === 'folder') write(path, { old: 'old' });
        if (former === 'dangling') {
          mkdirSync(join(path, '..'));
          symlinkSync('nowhere', path);
        }
        await placeAtomically(from, path);
        expect(existsSync(from)).toBe(false);
        expect(readdirSync(join(path, '..'))).toEqual(['out']);
        if (staged === 'file') {
          expect(readFileSync(path, 'utf8')).toBe('new');
        } else {
          expect(readdirSync(path, { recursive: true }).map(String).sort()).toEqual(['a', 'a/run', 'empty', 'link']);
          expect(statSync(join(path, 'a/run')).mode & 0o777).toBe(0o755);
          expect(lstatSync(join(path, 'link')).isSymbolicLink()).toBe(true);
        }
      }
    }
  });

  test(`moveAside, ${where}: moves anything and never overwrites`, async () => {
    const at = folder();
    const kept = other();
    expect(await moveAside(join(at, 'nothing'), join(kept, 'nothing'))).toBeUndefined();
    for (const [n, name] of ['out.txt', 'out-2.txt', 'out-3.txt'].entries()) {
      write(at, { out: `version ${n}` });
      expect(await moveAside(join(at, 'out'), join(kept, 'aside/out.txt'))).toBe(join(kept, 'aside', name));
      expect(readFileSync(join(kept, 'aside', name), 'utf8')).toBe(`version ${n}`);
      expect(existsSync(join(at, 'out'))).toBe(false);
    }
    write(at, { 'folder/deep/file': 'x' });
    symlinkSync('nowhere', join(at, 'link'));
    expect(await moveAside(join(at, 'folder'), join(kept, 'folder'))).toBe(join(kept, 'folder'));
    expect(await moveAside(join(at, 'link'), join(kept, 'link'))).toBe(join(kept, 'link'));
    expect(execFileSync('find', ['.', '-type', 'l', '-o', '-type', 'f'], { cwd: kept }).toString().split('\n').sort()).toEqual(
      ['', './aside/out-2.txt', './aside/out-3.txt', './aside/out.txt', './folder/deep/file', './link'].sort(),
    );
    expect(readdirSync(at)).toEqual([]);
  });
}

test('files of a dead process beside a path are removed, those of a living one are not', async () => {
  const at = folder();
  const from = elsewhere();
  const mine = temporaryIn(at);
  const dead = mine.replace(`-${process.pid}-`, `-${2 ** 22 + 1}-`);
  write(mine, { half: 'x' });
  write(dead, { half: 'x' });
  write(from, { staged: 'new' });
  await placeAtomically(join(from, 'staged'), join(at, 'out'));
  if (statSync(from).dev === statSync(at).dev) return;
  expect(existsSync(dead)).toBe(false);
  expect(existsSync(mine)).toBe(true);
});
