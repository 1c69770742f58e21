/**
 * Big files are stored and restored as reflinks if the file system supports them. Few test machines do, so the system
 * call is replaced by a plain copy.
 */
import { chmodSync, constants, readFileSync, statSync, writeFileSync } from 'node:fs';
import * as promises from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { contentOf } from '../../cache/content.ts';
import { cacheIn, folder, write } from './rig.ts';

vi.mock('node:fs/promises', async (original) => {
  const fs = await original<typeof promises>();
  return {
    ...fs,
    copyFile: vi.fn((from: string, to: string, mode = 0) => fs.copyFile(from, to, mode & ~constants.COPYFILE_FICLONE_FORCE)),
  };
});

const clones = () => vi.mocked(promises.copyFile).mock.calls.filter(([, , mode]) => mode === constants.COPYFILE_FICLONE_FORCE).length;

test('a reflink and a plain copy have the same effect: read-only objects, writable outputs, modes, no sharing', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  write(at, { 'root/big': Buffer.alloc(5 << 20, 'big'), 'root/small': 'small' });
  chmodSync(join(at, 'root/big'), 0o755);
  const content = (await contentOf(join(at, 'root'), cache.fileHashes))!;
  await cache.objects.put(join(at, 'root'), content);
  expect(clones()).toBe(1);
  const big = (await contentOf(join(at, 'root/big'), cache.fileHashes))!;
  const object = join(at, 'cache/objects', big.hash.slice(0, 2), big.hash.slice(2));
  expect(statSync(object).mode & 0o777).toBe(0o444);
  writeFileSync(join(at, 'root/big'), 'edited');
  expect(await cache.objects.state(content)).toBe('ok');
  await cache.objects.restore(content, join(at, 'back'));
  expect(await contentOf(join(at, 'back'), cache.fileHashes)).toEqual(content);
  expect(statSync(join(at, 'back/big')).mode & 0o777).toBe(0o777 & ~process.umask());
  writeFileSync(join(at, 'back/big'), 'edited');
  expect(readFileSync(object).equals(Buffer.alloc(5 << 20, 'big'))).toBe(true);
  expect((await cache.objects.verify()).damaged).toEqual([]);
});

test('copying detects a file that has changed since it was hashed', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  write(at, { big: Buffer.alloc(5 << 20, 'big') });
  const content = (await contentOf(join(at, 'big'), cache.fileHashes))!;
  write(at, { big: Buffer.alloc(5 << 20, 'BIG') });
  await expect(cache.objects.put(join(at, 'big'), content)).rejects.toThrow('it changed while it was being stored');
  expect(await cache.objects.state(content)).toBe('missing');
});
