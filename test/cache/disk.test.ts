/** Full and read-only disks: real ones of one megabyte if the test may mount them (as root on Linux). */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { contentOf } from '../../cache/content.ts';
import { openCache } from '../../cache/open.ts';
import { folder, write } from './rig.ts';

const mount = (...args: string[]) => spawnSync('mount', args).status === 0;

function smallDisk(): string | undefined {
  const path = join(folder(), 'disk');
  mkdirSync(path);
  if (!mount('-t', 'tmpfs', '-o', 'size=1m', 'none', path)) return undefined;
  onTestFinished(() => {
    spawnSync('umount', ['-l', path]);
  });
  return path;
}

const probe = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']);
const mounts = probe.status === 0;

const hintOf = (promise: Promise<unknown>) => promise.then(() => undefined).catch((error) => error.hint);

test.skipIf(!mounts)('disk full while storing: the message has the sizes, no partial object is left, earlier objects stay', async () => {
  const disk = smallDisk()!;
  const at = folder();
  const cache = openCache(join(disk, 'cache'));
  onTestFinished(() => cache.close());
  write(at, {
    small: 'small',
    'root/a': Buffer.alloc(400_000, 'a'),
    'root/b': Buffer.alloc(900_000, 'b'),
    big: Buffer.alloc(5 << 20, 'c'),
  });
  const small = (await contentOf(join(at, 'small'), cache.fileHashes))!;
  await cache.objects.put(join(at, 'small'), small);
  for (const name of ['root', 'big']) {
    const content = (await contentOf(join(at, name), cache.fileHashes))!;
    await expect(cache.objects.put(join(at, name), content)).rejects.toThrow(
      new RegExp(`^disk full while storing ${at}/${name}: (1\\.3|5\\.2) MB needed, .* free at ${disk}/cache$`),
    );
    expect(await hintOf(cache.objects.put(join(at, name), content))).toMatch(/^Free space and run again/);
    expect(readdirSync(join(disk, 'cache/tmp'))).toEqual([]);
    expect(await cache.objects.state(content)).toBe('missing');
  }
  expect(await cache.objects.verify()).toMatchObject({ objects: 1, damaged: [] });
});

test.skipIf(!mounts)('disk full while restoring: the existing file stays, no partial file is left', async () => {
  const disk = smallDisk()!;
  const at = folder();
  const cache = openCache(join(at, 'cache'));
  onTestFinished(() => cache.close());
  write(at, { 'root/a': Buffer.alloc(700_000, 'a'), 'root/b': Buffer.alloc(700_000, 'b'), big: Buffer.alloc(5 << 20, 'c') });
  write(disk, { out: 'as it was' });
  for (const name of ['root', 'big']) {
    const content = (await contentOf(join(at, name), cache.fileHashes))!;
    await cache.objects.put(join(at, name), content);
    await expect(cache.objects.restore(content, join(disk, 'out'))).rejects.toThrow(/^disk full while restoring /);
    expect(readdirSync(disk)).toEqual(['out']);
  }
});

test.skipIf(!mounts)('disk full in the index: it is reported, and earlier results stay', async () => {
  const disk = smallDisk()!;
  const cache = openCache(join(disk, 'cache'));
  const save = (n: number) =>
    cache.index.save({ fingerprint: String(n), subject: 's', outputs: {}, record: 'x'.repeat(50_000), created: '' });
  save(0);
  const fill = () => {
    for (let n = 1; n < 100; n++) save(n);
  };
  expect(fill).toThrow(`disk full while writing ${disk}/cache/index.sqlite`);
  expect(cache.index.find('0')).toBeDefined();
  cache.close();
  const again = openCache(join(disk, 'cache'), { readOnly: true });
  expect(again.index.find('0')).toBeDefined();
  again.close();
});

test.skipIf(!mounts)('no space to create a cache', () => {
  const disk = smallDisk()!;
  try {
    writeFileSync(join(disk, 'filler'), Buffer.alloc(2 << 20));
  } catch {
    // Full now.
  }
  expect(() => openCache(join(disk, 'cache'))).toThrow(/^disk full while /);
});

test.skipIf(!mounts)('a read-only disk: results are found and restored; a warning says once that nothing is stored', async () => {
  const disk = smallDisk()!;
  const at = folder();
  write(at, { file: 'text' });
  const owner = openCache(join(disk, 'cache'));
  const content = (await contentOf(join(at, 'file'), owner.fileHashes))!;
  await owner.objects.put(join(at, 'file'), content);
  owner.index.save({ fingerprint: 'old', subject: 's', outputs: { out: content }, record: null, created: '' });
  owner.close();
  expect(mount('-o', 'remount,ro', disk)).toBe(true);

  const heard: string[] = [];
  const cache = openCache(join(disk, 'cache'), { fileHashes: join(at, 'memo.sqlite'), notice: (message) => heard.push(message) });
  expect(cache.readOnly).toBe(true);
  const found = cache.index.find('old')!;
  await cache.objects.restore(found.outputs.out!, join(at, 'back'));
  expect(await contentOf(join(at, 'back'), cache.fileHashes)).toEqual(content);
  (await cache.leases.acquire('key')).release();
  await cache.objects.put(join(at, 'file'), content);
  cache.index.save({ ...found, fingerprint: 'new' });
  cache.index.save({ ...found, fingerprint: 'newer' });
  expect(heard).toEqual([`the cache ${disk}/cache is read-only, so results are not stored for the next run`]);
  cache.close();
  expect(existsSync(join(at, 'memo.sqlite'))).toBe(true);
  // If no cache can be created, it behaves like an empty one.
  const none = openCache(join(disk, 'none'));
  expect(none.index.find('old')).toBeUndefined();
  none.close();
});
