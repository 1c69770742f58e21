/** Disks for tests: small ones, and one that is read-only for a while. */
import { spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { faulty, type Project } from './rig.ts';

export const mount = (...args: string[]) => spawnSync('mount', args).status === 0;

/** As root on Linux, the tests use real small and read-only disks; other users use permissions. */
export const mounts = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;

/** Returns a function that makes it writable again. */
export function readOnly(p: Project): () => void {
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
export function onSmallDisk(size: string): Project {
  const p = faulty({});
  if (!mount('-t', 'tmpfs', '-o', `size=${size}`, 'none', p.folder)) throw new Error('cannot mount');
  onTestFinished(() => void spawnSync('umount', ['-l', p.folder]));
  p.write('package.json', '{}');
  return p;
}
