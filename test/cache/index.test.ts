import { type BigIntStats, chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import type { Result } from '../../cache/index.ts';
import { openCache } from '../../cache/open.ts';
import { cacheIn, compileEngine, folder, start, write } from './rig.ts';

const engine = await compileEngine();

const result = (fingerprint: string, subject: string, record: Result['record'] = null): Result => ({
  fingerprint,
  subject,
  outputs: { 'an output': { kind: 'file', hash: 'ab'.repeat(32), size: 3, executable: true } },
  record,
  created: '2024-01-01T00:00:00.000Z',
});

test('a saved result is found again, also by a later process', () => {
  const at = folder();
  const first = openCache(at);
  expect(first.index.find('f')).toBeUndefined();
  first.index.save(result('f', 's', { option: ['ü', 1.5, null, { deep: true }] }));
  first.close();
  expect(cacheIn(at).index.find('f')).toEqual(result('f', 's', { option: ['ü', 1.5, null, { deep: true }] }));
});

test('the history of a subject is ordered by saving, newest first, whatever the clock; the last save of a fingerprint wins', () => {
  const { index } = cacheIn(folder());
  index.save({ ...result('a', 's', 1), created: '2030-01-01' });
  index.save({ ...result('b', 's', 2), created: '1999-01-01' });
  index.save(result('x', 'other', 3));
  index.save({ ...result('c', 's', 4), created: '2010-01-01' });
  expect(index.history('s', 10).map(({ record }) => record)).toEqual([4, 2, 1]);
  expect(index.history('s', 2).map(({ record }) => record)).toEqual([4, 2]);
  index.save(result('a', 's', 5));
  expect(index.find('a')?.record).toBe(5);
  expect(index.history('s', 10).map(({ record }) => record)).toEqual([5, 4, 2]);
  expect([...index.findAll(['c', 'none', 'a']).values()].map(({ record }) => record).sort()).toEqual([4, 5]);
  index.remove(['c']);
  expect(index.find('c')).toBeUndefined();
  expect(index.history('s', 10).map(({ record }) => record)).toEqual([5, 2]);
  expect(index.history('none', 10)).toEqual([]);
});

test('a file that is not a database is reported with a hint and left unchanged', () => {
  const at = folder();
  write(at, { 'index.sqlite': 'this is a text, and long enough to be looked at as a database'.repeat(50) });
  for (const readOnly of [true, false]) {
    expect(() => openCache(at, { readOnly })).toThrow(`the index ${at}/index.sqlite is not an SQLite database`);
    expect(hintOf(() => openCache(at, { readOnly }))).toBe(
      'Move it away and run again; the next run creates a new index and keeps stored objects.',
    );
  }
  expect(readFileSync(join(at, 'index.sqlite'), 'utf8')).toMatch(/^this is a text/);
  expect(readdirSync(at)).toEqual(['index.sqlite']);
});

test('an index that is damaged in the middle is reported when it is opened or used', () => {
  const at = folder();
  const first = openCache(at);
  for (let n = 0; n < 200; n++) first.index.save(result(`fingerprint ${n}`, `subject ${n}`, 'x'.repeat(500)));
  first.close();
  const bytes = readFileSync(join(at, 'index.sqlite'));
  bytes.fill(0x5a, 4096);
  writeFileSync(join(at, 'index.sqlite'), bytes);
  const use = () => {
    const cache = openCache(at, { readOnly: true });
    for (let n = 0; n < 200; n++) cache.index.find(`fingerprint ${n}`);
  };
  expect(use).toThrow(/^the index .*index\.sqlite is damaged \(.*\)$/);
});

test('an index of a newer tunesmith, a database of another program', () => {
  const at = folder();
  openCache(join(at, 'newer')).close();
  const newer = new Sqlite(join(at, 'newer/index.sqlite'));
  newer.pragma('user_version = 99');
  newer.close();
  expect(() => openCache(join(at, 'newer'))).toThrow('was written by a newer version of tunesmith (format 99; this version supports 3)');
  mkdirSync(join(at, 'other'));
  const other = new Sqlite(join(at, 'other/index.sqlite'));
  other.exec('create table bookmarks (url text)');
  other.close();
  expect(() => openCache(join(at, 'other'))).toThrow('is an SQLite database, but it is not the index of tunesmith');
});

test('an index of a version without uses is read, also read-only, and upgraded', () => {
  const at = folder();
  const old = cacheIn(at);
  old.index.save(result('f', 's'));
  old.close();
  const file = new Sqlite(join(at, 'index.sqlite'));
  file.exec('drop table users; drop table uses; drop table sets; pragma user_version = 1');
  withoutChecks(file);
  file.close();
  const reader = cacheIn(at, { readOnly: true });
  expect([reader.index.find('f')?.subject, reader.gcRoots.all()]).toEqual(['s', []]);
  const cache = cacheIn(at);
  const use = cache.gcRoots.register({ host: 'here', folder: '/f' }, 'p.yaml')!;
  expect(cache.gcRoots.all()).toEqual([expect.objectContaining({ id: use, state: 'running', after: 1, set: '' })]);
  const fingerprints = ['b', 'a'].map((letter) => letter.repeat(64));
  cache.gcRoots.begin(use, fingerprints);
  cache.gcRoots.end(use, undefined);
  const [ended] = cache.gcRoots.all();
  expect([ended!.state, cache.gcRoots.fingerprints(ended!.set)]).toEqual(['ended', fingerprints.toReversed()]);
});

test('an index of a version without checksums is read, with its file hashes, and upgraded; damaged rows are unknown', () => {
  const at = folder();
  const old = cacheIn(at);
  old.index.save(result('f', 's'), result('damaged', 's'));
  const stat = {
    dev: 2n ** 63n + 5n,
    ino: 7n,
    size: 3n,
    mtimeNs: 1_700_000_000_123_456_789n,
    ctimeNs: 1_700_000_000_123_456_790n,
  } as BigIntStats;
  old.fileHashes.trust(stat, 'a hash');
  old.close();
  const file = new Sqlite(join(at, 'index.sqlite'));
  withoutChecks(file);
  file.exec("update results set outputs = '{\"an output' where fingerprint = 'damaged'; pragma user_version = 2");
  file.close();
  for (const readOnly of [true, false]) {
    const cache = openCache(at, { readOnly });
    expect([cache.index.find('f'), cache.index.find('damaged')]).toEqual([result('f', 's'), undefined]);
    expect(cache.index.all().map(({ fingerprint }) => fingerprint)).toEqual(['f']);
    expect(cache.fileHashes.hashOf(stat)).toBe('a hash');
    cache.close();
  }
});

test('a damaged row is unknown: results, histories and file hashes', () => {
  const at = folder();
  const old = cacheIn(at);
  old.index.save(result('f', 's'), result('g', 's'));
  const stat = { dev: 1n, ino: 7n, size: 3n, mtimeNs: 1n, ctimeNs: 2n } as BigIntStats;
  old.fileHashes.trust(stat, 'a hash');
  old.close();
  for (const sql of [
    `update results set outputs = replace(outputs, 'abab', 'abac') where fingerprint = 'f'`,
    `update results set subject = 't' where fingerprint = 'f'`,
    `update results set fingerprint = 'h' where fingerprint = 'f'`,
    `update results set checked = null where fingerprint = 'f'`,
    `update hashes set hash = 'b hash'`,
    'update hashes set size = 4',
  ]) {
    const copy = join(folder(), 'cache');
    cpSync(at, copy, { recursive: true });
    const file = new Sqlite(join(copy, 'index.sqlite'));
    file.exec(sql);
    file.close();
    const { index, fileHashes: memo } = cacheIn(copy, { readOnly: true });
    const isMemo = sql.includes('hashes');
    expect(index.find('f') === undefined, sql).toBe(!isMemo);
    expect([index.find('h'), ...index.history('t', 9)], sql).toEqual([undefined]);
    expect(index.history('s', 9).map(({ fingerprint }) => fingerprint)).toEqual(isMemo ? ['g', 'f'] : ['g']);
    expect([memo.hashOf(stat), memo.hashOf({ ...stat, size: 4n } as BigIntStats)], sql).toEqual([isMemo ? undefined : 'a hash', undefined]);
  }
});

/** The schema before rows had checksums. */
function withoutChecks(file: InstanceType<typeof Sqlite>): void {
  file.exec(`
    alter table results drop column checked;
    create table files (
      device integer not null, inode integer not null, size integer not null, mtime_ns integer not null, ctime_ns integer not null,
      hash text not null, unique (device, inode)
    );
    insert into files select device, inode, size, mtime_ns, ctime_ns, hash from hashes;
    drop table hashes`);
}

test('an empty file becomes an index; a file in the place of the folder is reported', () => {
  const at = folder();
  write(at, { 'empty/index.sqlite': '', file: 'x' });
  cacheIn(join(at, 'empty')).index.save(result('f', 's'));
  for (const path of ['file', 'file/below']) {
    for (const readOnly of [false, true])
      expect(() => openCache(join(at, path), { readOnly })).toThrow(`the cache ${at}/${path} is not a folder`);
  }
});

test.skipIf(process.platform !== 'linux')('a cache in a folder that takes no folders is an error, not an endless loop', () => {
  // /proc answers ENOENT although it exists.
  expect(() => openCache('/proc/none/cache')).toThrow('the cache /proc/none/cache cannot be created there');
});

test('read-only access changes nothing and finds results, also those in the log of a killed process', () => {
  const at = folder();
  openCache(join(at, 'none'), { readOnly: true }).close();
  expect(existsSync(join(at, 'none'))).toBe(false);

  const writer = cacheIn(join(at, 'live'));
  writer.index.save(result('f', 's'));
  cpSync(join(at, 'live'), join(at, 'killed'), { recursive: true });
  expect(statSync(join(at, 'killed/index.sqlite-wal')).size).toBeGreaterThan(0);
  const stamps = () => readdirSync(join(at, 'killed')).map((name) => [name, statSync(join(at, 'killed', name)).mtimeMs]);
  const before = stamps();
  const reader = openCache(join(at, 'killed'), { readOnly: true });
  expect(reader.index.find('f')).toEqual(result('f', 's'));
  reader.close();
  expect(stamps()).toEqual(before);
  expect(cacheIn(join(at, 'killed')).index.find('f')).toEqual(result('f', 's'));
});

test.skipIf(process.getuid?.() !== 0)(
  'a cache that is read-only for another user: results are found, nothing is stored (needs root to become another user)',
  async () => {
    const at = folder();
    const owner = openCache(join(at, 'cache'));
    owner.index.save(result('old', 's', 'kept'));
    owner.close();
    write(at, { 'file to store': 'text' });
    for (const path of [at, dirname(engine)]) chmodSync(path, 0o755);
    const { code, output } = await start(engine, ['save', join(at, 'cache'), join(at, 'file to store')], { uid: 65534 }).ended;
    expect(output).toBe('{"readOnly":true,"old":"kept","new":null}\n');
    expect(code).toBe(0);
  },
);

test('with the option readOnly, nothing is stored and no warning is given', () => {
  const heard: string[] = [];
  const cache = openCache(folder(), { readOnly: true, notice: (message) => heard.push(message) });
  cache.index.save(result('f', 's'));
  expect(cache.index.find('f')).toBeUndefined();
  expect(heard).toEqual([]);
});

test('ten processes create a new cache at the same time', async () => {
  const at = folder();
  write(at, { file: 'x' });
  const ends = await Promise.all(Array.from({ length: 10 }, () => start(engine, ['read', join(at, 'cache'), join(at, 'file')]).ended));
  for (const { code, output } of ends) {
    expect(output).toMatch(/^\{"kind":"file"/);
    expect(code).toBe(0);
  }
});

function hintOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return (error as { hint?: string }).hint;
  }
}
