import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { contentOf } from '../../cache/content.ts';
import * as reading from '../../cache/digest.ts';
import { openCache } from '../../cache/open.ts';
import { cacheIn, folder, write } from './rig.ts';

vi.mock('../../cache/digest.ts', { spy: true });

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const readings = () => vi.mocked(reading.digest).mock.calls.length;

test('a file is read once, by this run and later ones', async () => {
  const at = folder();
  write(at, { 'data/a': 'a', 'data/b': 'b' });
  await setTimeout(40);
  const first = openCache(join(at, 'cache'));
  const start = readings();
  const content = await contentOf(join(at, 'data'), first.fileHashes);
  expect(readings() - start).toBe(2);
  await contentOf(join(at, 'data'), first.fileHashes);
  first.close();
  const second = cacheIn(join(at, 'cache'));
  expect(await contentOf(join(at, 'data'), second.fileHashes)).toEqual(content);
  expect(readings() - start).toBe(2);
});

test('every change of a file is detected: same size, an older mtime, another file moved into its place', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  const path = join(at, 'file');
  writeFileSync(path, 'one');
  utimesSync(path, 1000, 1000);
  await setTimeout(40);
  expect((await contentOf(path, memo))!.hash).toBe(sha256('one'));
  writeFileSync(path, 'two');
  utimesSync(path, 1000, 1000);
  expect((await contentOf(path, memo))!.hash).toBe(sha256('two'));
  await setTimeout(40);
  await contentOf(path, memo);
  write(at, { other: 'six' });
  utimesSync(join(at, 'other'), 1000, 1000);
  renameSync(join(at, 'other'), path);
  expect((await contentOf(path, memo))!.hash).toBe(sha256('six'));
});

test('racy timestamps: a file written twice in one clock tick is never mistaken', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  const path = join(at, 'file');
  for (let n = 1000; n < 1300; n++) {
    writeFileSync(path, String(n));
    await contentOf(path, memo);
    writeFileSync(path, String(n + 1000));
    expect((await contentOf(path, memo))!.hash).toBe(sha256(String(n + 1000)));
  }
});

test('racy timestamps: a file as recent as its reading is read again until it is old enough', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  write(at, { file: 'one' });
  const path = join(at, 'file');
  // In the future, so that it is recent however long the readings take.
  const soon = Date.now() / 1000 + 60;
  utimesSync(path, soon, soon);
  const start = readings();
  await contentOf(path, memo);
  await contentOf(path, memo);
  expect(readings() - start).toBe(2);
  utimesSync(path, soon - 120, soon - 120);
  await setTimeout(40);
  await contentOf(path, memo);
  await contentOf(path, memo);
  expect(readings() - start).toBe(3);
});

test('a file with a timestamp in the future is read every time', async () => {
  const at = folder();
  const { fileHashes: memo } = cacheIn(join(at, 'cache'));
  write(at, { file: 'one' });
  utimesSync(join(at, 'file'), Date.now() / 1000 + 3600, Date.now() / 1000 + 3600);
  await setTimeout(40);
  const start = readings();
  await contentOf(join(at, 'file'), memo);
  await contentOf(join(at, 'file'), memo);
  expect(readings() - start).toBe(2);
});

test('read-only, nothing is written, not even beside the database', async () => {
  const at = folder();
  const cache = join(at, 'cache');
  write(at, { one: '1', two: '2' });
  await setTimeout(40);
  const first = openCache(cache);
  await contentOf(join(at, 'one'), first.fileHashes);
  first.close();
  const before = state(cache);
  const second = openCache(cache, { readOnly: true });
  const start = readings();
  await contentOf(join(at, 'one'), second.fileHashes);
  expect(readings() - start).toBe(0);
  await contentOf(join(at, 'two'), second.fileHashes);
  second.close();
  expect(state(cache)).toEqual(before);
});

test('the memo can be outside of the cache', async () => {
  const at = folder();
  write(at, { one: '1' });
  await setTimeout(40);
  const start = readings();
  const memo = join(at, '.tunesmith/memo.sqlite');
  for (const cache of ['first cache', 'second cache']) {
    const opened = openCache(join(at, cache), { fileHashes: memo });
    await contentOf(join(at, 'one'), opened.fileHashes);
    opened.close();
  }
  expect(readings() - start).toBe(1);
});

function state(root: string): Record<string, string> {
  const names = readdirSync(root, { recursive: true }).map(String).sort();
  return Object.fromEntries(
    names.map((name) => {
      const stat = statSync(join(root, name), { bigint: true });
      return [name, `${stat.mtimeNs} ${stat.isFile() ? sha256(readFileSync(join(root, name), 'latin1')) : ''}`];
    }),
  );
}
