import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, chmodSync, mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { contentOf, formatListing, listing, parseListing, readFolder } from '../../cache/content.ts';
import { cacheIn, folder, write } from './rig.ts';

const sha256sum = (path: string) => execFileSync('sha256sum', ['-z', path]).toString().slice(0, 64);

test.each([0, 1, 1000, (1 << 20) + 1, (4 << 20) - 1, 9 << 20])('the hash of a file equals sha256sum: %i bytes', async (size) => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  const path = join(at, 'file');
  writeFileSync(path, Buffer.alloc(size, 'some bytes \0 \xff'));
  expect(await contentOf(path, memo)).toEqual({ kind: 'file', hash: sha256sum(path), size, executable: false });
});

test('several big files in parallel, and concurrent requests for one big file', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  const paths = Array.from({ length: 12 }, (_, n) => join(at, `${n % 6}`));
  paths.forEach((path, n) => {
    writeFileSync(path, Buffer.alloc(5 << 20, `file ${n % 6}`));
  });
  const contents = await Promise.all(paths.map((path) => contentOf(path, memo)));
  expect(contents.map((content) => content!.hash)).toEqual(paths.map(sha256sum));
});

test('a sparse file of 100 MB uses little memory and is hashed with its holes as zeros', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  const path = join(at, 'sparse');
  writeFileSync(path, 'start');
  truncateSync(path, 100 << 20);
  appendFileSync(path, 'end');
  const before = process.memoryUsage().rss;
  expect((await contentOf(path, memo))!.hash).toBe(sha256sum(path));
  expect(process.memoryUsage().rss - before).toBeLessThan(50 << 20);
});

test('the hash of a folder is that of the listing in the header of content.ts', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  const root = join(at, 'root');
  const hash = (text: string) => createHash('sha256').update(text).digest('hex');
  write(root, { 'b.txt': 'bee', 'a/run': 'run me', 'empty/': '', 'line\nbreak "quoted"': 'odd', 'ünï 漢字 😀': '', 'a b': 'space' });
  chmodSync(join(root, 'a/run'), 0o755);
  symlinkSync('nowhere/at all', join(root, 'dangling'));
  const lines = [
    'tunesmith folder 1',
    '["folder","a"]',
    `["file","${hash('space')}",5,"a b"]`,
    `["program","${hash('run me')}",6,"a/run"]`,
    `["file","${hash('bee')}",3,"b.txt"]`,
    '["link","nowhere/at all","dangling"]',
    '["folder","empty"]',
    `["file","${hash('odd')}",3,"line\\nbreak \\"quoted\\""]`,
    `["file","${hash('')}",0,"ünï 漢字 😀"]`,
    '',
  ];
  const entries = await readFolder(root, memo);
  expect(formatListing(entries)).toBe(lines.join('\n'));
  expect(parseListing(lines.join('\n'))).toEqual(entries);
  expect(await contentOf(root, memo)).toEqual({ kind: 'folder', hash: hash(lines.join('\n')), size: 17, executable: false });
  expect(Object.keys(await listing(root, memo))).toEqual(['a b', 'a/run', 'b.txt', 'dangling', 'line\nbreak "quoted"', 'ünï 漢字 😀']);
});

test('names are ordered by bytes, independently of creation order, locale and UTF-16', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  const names = ['z', 'Z', 'ä', 'a', 'a/b', 'a.b', 'a-b', '\uffee', '😀', 'é', 'e\u0301'].filter((name) => name !== 'a');
  const files = (order: string[]) => Object.fromEntries(order.map((name) => [name, `in ${name}`]));
  write(join(at, 'one'), files(names));
  write(join(at, 'two'), files([...names].reverse()));
  expect(await contentOf(join(at, 'one'), memo)).toEqual(await contentOf(join(at, 'two'), memo));
  const sorted = execFileSync('find', ['.', '-mindepth', '1', '-printf', '%P\\0'], { cwd: join(at, 'one') });
  const reference = execFileSync('sort', ['-z'], { input: sorted, env: { ...process.env, LC_ALL: 'C' } });
  const found = (await readFolder(join(at, 'one'), memo)).map(({ path }) => path);
  expect(found).toEqual(reference.toString().split('\0').slice(0, -1));
});

test('every change of a folder changes its hash: bytes, name, executable bit, link, empty folder', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  const root = join(at, 'root');
  const seen = new Set<string>();
  const changes: (() => void)[] = [
    () => write(root, { file: 'one', 'below/file': 'two' }),
    () => write(root, { file: 'One' }),
    () => chmodSync(join(root, 'file'), 0o755),
    () => mkdirSync(join(root, 'empty')),
    () => symlinkSync('file', join(root, 'link')),
    () => {
      rmSync(join(root, 'link'));
      symlinkSync('below', join(root, 'link'));
    },
    () => write(root, { link2: 'file' }),
  ];
  for (const change of changes) {
    change();
    seen.add((await contentOf(root, memo))!.hash);
  }
  expect(seen.size).toBe(changes.length);
});

test('nothing at a path, a path below a file, a link at the path', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  write(at, { file: 'text', 'folder/x': 'y' });
  symlinkSync('file', join(at, 'link'));
  symlinkSync('folder', join(at, 'folder link'));
  symlinkSync('gone', join(at, 'dangling'));
  expect(await contentOf(join(at, 'nothing'), memo)).toBeUndefined();
  expect(await contentOf(join(at, 'file/below'), memo)).toBeUndefined();
  expect(await contentOf(join(at, 'dangling'), memo)).toBeUndefined();
  expect(await contentOf(join(at, 'link'), memo)).toEqual(await contentOf(join(at, 'file'), memo));
  expect(await contentOf(join(at, 'folder link'), memo)).toEqual(await contentOf(join(at, 'folder'), memo));
});

test('when links are followed, a link out of the folder counts as its target; others stay links', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  const root = join(at, 'root');
  write(at, { 'outside/data.csv': 'one', 'outside/folder/deep': 'deep', 'root/file': 'in', 'root/below/file': 'in' });
  const links = {
    data: '../outside/data.csv',
    all: '../outside/folder',
    inside: 'file',
    up: '..',
    self: '.',
    gone: 'gone',
    'below/up': '../..',
  };
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(root, name));
  symlinkSync('.', join(at, 'outside/folder/loop'));
  const followed = await listing(root, memo, { follow: true });
  expect(Object.fromEntries(Object.entries(followed).map(([path, { link, size }]) => [path, link ?? size]))).toEqual({
    'all/deep': 4,
    'all/loop': '.',
    'below/file': 2,
    'below/up': '../..',
    data: 3,
    file: 2,
    gone: 'gone',
    inside: 'file',
    self: '.',
    up: '..',
  });
  const before = await contentOf(root, memo, { follow: true });
  const kept = await contentOf(root, memo);
  write(at, { 'outside/data.csv': 'two' });
  expect(await contentOf(root, memo, { follow: true })).not.toEqual(before);
  expect(await contentOf(root, memo)).toEqual(kept);
});

test('an unreadable path is reported with the reason', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  mkdirSync(join(at, 'pipes'));
  execFileSync('mkfifo', [join(at, 'pipes/pipe')]);
  await expect(contentOf(join(at, 'pipes'), memo)).rejects.toThrow(
    `cannot read ${at}/pipes/pipe: it is neither a file, a folder nor a link`,
  );
  await expect(contentOf(join(at, 'pipes/pipe'), memo)).rejects.toThrow('it is neither a file nor a folder');

  mkdirSync(join(at, 'names'));
  writeFileSync(Buffer.concat([Buffer.from(join(at, 'names/caf')), Buffer.from([0xe9]), Buffer.from('.txt')]), 'latin-1');
  await expect(contentOf(join(at, 'names'), memo)).rejects.toThrow(
    `cannot read ${at}/names: the name caf\\xe9.txt in it is not valid UTF-8`,
  );

  write(at, { 'replacement/\ufffd': 'a name that is valid' });
  expect(await contentOf(join(at, 'replacement'), memo)).toMatchObject({ kind: 'folder', size: 20 });

  symlinkSync('circle', join(at, 'circle'));
  await expect(contentOf(join(at, 'circle'), memo)).rejects.toThrow(`cannot read ${at}/circle: its links form a cycle`);
});

test('a file that changes during reading is read again, and refused if it never settles', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  const path = join(at, 'growing');
  writeFileSync(path, Buffer.alloc(20 << 20));
  const writer = setInterval(() => appendFileSync(path, 'more'), 1);
  await expect(contentOf(path, memo)).rejects.toThrow(`cannot read ${path}: it changed while it was read`);
  clearInterval(writer);
  expect((await contentOf(path, memo))!.hash).toBe(sha256sum(path));
});
