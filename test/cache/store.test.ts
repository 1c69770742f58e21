import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Content, contentOf } from '../../cache/content.ts';
import { MissingObjectError } from '../../cache/error.ts';
import type { Cache } from '../../cache/open.ts';
import { cacheIn, compileEngine, folder, start, write } from './rig.ts';

const engine = await compileEngine();

async function store(cache: Cache, path: string): Promise<Content> {
  const content = (await contentOf(path, cache.fileHashes))!;
  await cache.objects.put(path, content);
  return content;
}

const objectOf = (at: string, { hash }: Content) => join(at, 'cache/objects', hash.slice(0, 2), hash.slice(2));

test('a file is restored with its bytes and executable bit, writable and independent of the cache', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  write(at, { plain: 'text', program: '#!/bin/sh\necho hi\n', big: Buffer.alloc(9 << 20, 'big') });
  chmodSync(join(at, 'program'), 0o750);
  chmodSync(join(at, 'plain'), 0o400);
  for (const name of ['plain', 'program', 'big']) {
    const content = await store(cache, join(at, name));
    const back = join(at, 'new folder', name);
    await cache.objects.restore(content, back);
    expect(readFileSync(back).equals(readFileSync(join(at, name)))).toBe(true);
    expect(lstatSync(back).mode & 0o777).toBe((name === 'program' ? 0o777 : 0o666) & ~process.umask());
    expect(lstatSync(objectOf(at, content))).toMatchObject({ mode: 0o100444, nlink: 1 });
    expect(await contentOf(back, cache.fileHashes)).toEqual(content);
    writeFileSync(back, 'edited');
    expect(await cache.objects.state(content)).toBe('ok');
  }
  expect(execFileSync(join(at, 'program')).toString()).toBe('hi\n');
});

test('a folder is restored with names, links, empty folders and executable bits', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  const root = join(at, 'root');
  write(root, {
    'a/b/c.txt': 'c',
    'empty/': '',
    'deep/er/empty/': '',
    'new\nline': 'n',
    ' space ': 's',
    'ünï😀': 'u',
    zero: '',
    same1: 'same',
    same2: 'same',
  });
  write(root, { 'a/big': Buffer.alloc(5 << 20, 'x'), '-rf': 'dash' });
  chmodSync(join(root, 'a/b/c.txt'), 0o755);
  symlinkSync('a/b/c.txt', join(root, 'link'));
  symlinkSync('/nowhere/at all', join(root, 'dangling'));
  symlinkSync('a', join(root, 'folder link'));
  const content = await store(cache, root);
  await cache.objects.restore(content, join(at, 'back'));
  expect(execFileSync('diff', ['-r', '--no-dereference', root, join(at, 'back')]).toString()).toBe('');
  expect(statSync(join(at, 'back/a/b/c.txt')).mode & 0o100).toBe(0o100);
  expect(readlinkSync(join(at, 'back/dangling'))).toBe('/nowhere/at all');
  expect(lstatSync(join(at, 'back/folder link')).isSymbolicLink()).toBe(true);
  expect(readdirSync(join(at, 'back/deep/er/empty'))).toEqual([]);
  expect(await contentOf(join(at, 'back'), cache.fileHashes)).toEqual(content);
  expect(readdirSync(join(at, 'cache/tmp'))).toEqual([]);
});

test('an empty folder and an empty file', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  write(at, { 'folder/': '', file: '' });
  for (const name of ['folder', 'file']) {
    const content = await store(cache, join(at, name));
    await cache.objects.restore(content, join(at, `${name} back`));
    expect(await contentOf(join(at, `${name} back`), cache.fileHashes)).toEqual(content);
  }
});

test.each([
  ['file', 'file'],
  ['file', 'folder'],
  ['file', 'link'],
  ['folder', 'file'],
  ['folder', 'folder'],
  ['folder', 'link'],
])('a %s replaces a %s', async (kind, former) => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  write(at, kind === 'file' ? { made: 'new' } : { 'made/new': 'new' });
  const content = await store(cache, join(at, 'made'));
  write(at, { target: 'untouched' });
  if (former === 'link') symlinkSync('target', join(at, 'out'));
  else write(at, former === 'file' ? { out: 'old' } : { 'out/old': 'old', 'out/new': 'older' });
  await cache.objects.restore(content, join(at, 'out'));
  expect(lstatSync(join(at, 'out')).isSymbolicLink()).toBe(false);
  expect(await contentOf(join(at, 'out'), cache.fileHashes)).toEqual(content);
  expect(readFileSync(join(at, 'target'), 'utf8')).toBe('untouched');
  expect(readdirSync(at).sort()).toEqual(['cache', 'made', 'out', 'target']);
});

test('a sparse file stays sparse, in the cache and when it is restored', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  const path = join(at, 'sparse');
  writeFileSync(path, 'start');
  truncateSync(path, 100 << 20);
  const content = await store(cache, path);
  await cache.objects.restore(content, join(at, 'back'));
  expect(await contentOf(join(at, 'back'), cache.fileHashes)).toEqual(content);
  expect(execFileSync('sha256sum', [join(at, 'back')]).toString()).toContain(content.hash);
  for (const copy of [objectOf(at, content), join(at, 'back')]) expect(statSync(copy).blocks * 512).toBeLessThan(1 << 20);
});

test('a file that has changed since it was hashed is not stored', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  for (const name of ['file', 'root']) {
    write(at, { file: 'one', 'root/file': 'one' });
    const content = (await contentOf(join(at, name), cache.fileHashes))!;
    write(at, { file: 'two', 'root/file': 'two' });
    await expect(cache.objects.put(join(at, name), content)).rejects.toThrow(
      `cannot read ${at}/${name}: it changed while it was being stored`,
    );
    expect(await cache.objects.state(content)).toBe('missing');
    rmSync(join(at, name), { recursive: true });
    await expect(cache.objects.put(join(at, name), content)).rejects.toThrow('it changed while it was being stored');
  }
  expect(readdirSync(join(at, 'cache/tmp'))).toEqual([]);
});

/** Other bytes of the same length, so that only the timestamps differ. */
function damage(object: string): void {
  const bytes = readFileSync(object);
  bytes[0]! ^= 1;
  chmodSync(object, 0o644);
  writeFileSync(object, bytes);
  chmodSync(object, 0o444);
}

test('a damaged object is never restored: it is moved away, and storing it again repairs it', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  write(at, { 'root/a': 'aaa', 'root/b': 'bbb', out: 'what was there' });
  const content = await store(cache, join(at, 'root'));
  const b = (await contentOf(join(at, 'root/b'), cache.fileHashes))!;
  damage(objectOf(at, b));
  expect(await cache.objects.state(content)).toBe('damaged');
  await expect(cache.objects.restore(content, join(at, 'out'))).rejects.toThrow(MissingObjectError);
  expect(readFileSync(join(at, 'out'), 'utf8')).toBe('what was there');
  expect(readdirSync(join(at, 'cache/damaged'))).toEqual([b.hash]);
  expect(await cache.objects.state(content)).toBe('missing');
  await cache.objects.put(join(at, 'root'), content);
  expect(await cache.objects.state(content)).toBe('ok');
  damage(objectOf(at, content));
  expect(await cache.objects.state(content)).toBe('damaged');
  await cache.objects.put(join(at, 'root'), content);
  await cache.objects.restore(content, join(at, 'out'));
  expect(await contentOf(join(at, 'out'), cache.fileHashes)).toEqual(content);
});

test('damage with an old mtime, a truncated object, a touched one, and a folder in its place', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  write(at, { file: 'content of the file' });
  const content = await store(cache, join(at, 'file'));
  const object = objectOf(at, content);
  const { atime, mtime } = statSync(object);
  damage(object);
  utimesSync(object, atime, mtime);
  expect(await cache.objects.state(content)).toBe('damaged');
  await cache.objects.put(join(at, 'file'), content);
  utimesSync(object, 1000, 1000);
  expect(await cache.objects.state(content)).toBe('ok');
  chmodSync(object, 0o644);
  truncateSync(object, 3);
  expect(await cache.objects.state(content)).toBe('damaged');
  await expect(cache.objects.restore(content, join(at, 'out'))).rejects.toThrow('was damaged and was moved to');
  mkdirSync(object);
  expect(await cache.objects.state(content)).toBe('damaged');
  await expect(cache.objects.restore(content, join(at, 'out'))).rejects.toThrow('was damaged and was moved to');
  await cache.objects.put(join(at, 'file'), content);
  await cache.objects.restore(content, join(at, 'out'));
  expect(readFileSync(join(at, 'out'), 'utf8')).toBe('content of the file');
});

test('verify reads every object and moves those away that do not match their hash', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  write(at, { 'root/a': 'aaa', 'root/b': 'bbb', 'root/c': Buffer.alloc(5 << 20) });
  const content = await store(cache, join(at, 'root'));
  expect(await cache.objects.verify()).toMatchObject({ objects: 4, damaged: [] });
  const a = (await contentOf(join(at, 'root/a'), cache.fileHashes))!;
  damage(objectOf(at, a));
  expect((await cache.objects.verify()).damaged).toEqual([a.hash]);
  expect(await cache.objects.state(content)).toBe('missing');
  expect((await cache.objects.verify()).objects).toBe(3);
});

test('an object is stored once by ten processes at the same time', async () => {
  const at = folder();
  write(at, { 'root/a': 'aaa', 'root/b': Buffer.alloc(5 << 20, 'b') });
  const ends = await Promise.all(Array.from({ length: 10 }, () => start(engine, ['same', join(at, 'cache'), join(at, 'root')]).ended));
  expect(ends).toEqual(ends.map(() => ({ code: 0, output: '' })));
  const cache = cacheIn(join(at, 'cache'));
  expect(await cache.objects.verify()).toMatchObject({ objects: 3, damaged: [] });
  const { outputs } = cache.index.find('same')!;
  expect(await cache.objects.state(outputs.out!)).toBe('ok');
  expect(readdirSync(join(at, 'cache/tmp'))).toEqual([]);
});

test('the hash of a restored file is known from its timestamps, and any edit is detected', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  write(at, { 'made/file': 'as made', file: 'as made' });
  for (const [name, file] of [
    ['made', 'back/file'],
    ['file', 'back2'],
  ] as const) {
    const content = await store(cache, join(at, name));
    for (let n = 0; n < 50; n++) {
      const back = join(at, file.split('/')[0]!);
      await cache.objects.restore(content, back);
      expect(cache.fileHashes.hashOf(statSync(join(at, file), { bigint: true }))).toBeDefined();
      writeFileSync(join(at, file), 'as Made');
      expect(await contentOf(back, cache.fileHashes)).not.toEqual(content);
    }
  }
});

test('a hard link to an output is neither created nor broken', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  write(at, { out: 'first' });
  const first = await store(cache, join(at, 'out'));
  linkSync(join(at, 'out'), join(at, 'elsewhere'));
  write(at, { made: 'second' });
  const second = await store(cache, join(at, 'made'));
  await cache.objects.restore(second, join(at, 'out'));
  expect(readFileSync(join(at, 'elsewhere'), 'utf8')).toBe('first');
  await cache.objects.restore(first, join(at, 'out'));
  expect(readFileSync(join(at, 'out'), 'utf8')).toBe('first');
  expect(existsSync(join(at, 'out'))).toBe(true);
});
