/** Damaged caches and disks: each gives one clear message or runs the cell again, and no data is lost. */
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { systemError } from '../../../cache/error.ts';
import { engine } from './rig.ts';

const ONE = 'steps: { a: { run: "cat in.txt > ${{ outputs.o }}", inputs: { data: in.txt }, outputs: { o: out/o.txt } } }';
const FILES = { 'in.txt': 'some text\n' };

test('a damaged object is not restored: the cell runs, and its result is complete again', async () => {
  const p = engine(ONE, FILES);
  await p.go();
  const [object] = p.find('.tunesmith/objects');
  chmodSync(p.path(object!), 0o644);
  writeFileSync(p.path(object!), 'SOME TEXT\n');
  p.remove('out');
  expect((await p.plan()).a).toEqual({ state: 'run', why: 'its stored result is damaged' });
  expect((await p.go()).states).toEqual({ a: 'ran' });
  expect(p.read('out/o.txt')).toBe('some text\n');
  p.remove('out');
  expect((await p.go()).states).toEqual({ a: 'restored' });
  expect(p.read('out/o.txt')).toBe('some text\n');
});

test('missing objects: the cell runs; existing outputs stay fresh', async () => {
  const p = engine(ONE, FILES);
  await p.go();
  p.remove('.tunesmith/objects');
  expect((await p.go()).states).toEqual({ a: 'fresh' });
  p.remove('out');
  const run = await p.go();
  expect(run.why).toEqual({ a: 'its stored result is missing' });
  expect(run.states).toEqual({ a: 'ran' });
});

test.each(['state.sqlite', 'index.sqlite'])('%s that is not a database is reported with a hint', async (name) => {
  const p = engine(ONE, FILES);
  await p.go();
  const file = join(p.folder, '.tunesmith', name);
  for (const side of ['-wal', '-shm']) rmSync(file + side, { force: true });
  writeFileSync(file, 'not a database, but text that is long enough to be taken for one'.repeat(100));
  const before = readFileSync(file);
  for (const work of [p.go(), p.plan()]) {
    const error = await work.then(
      () => undefined,
      (error) => error,
    );
    expect(error).toMatchObject({
      name: 'CacheError',
      message: expect.stringContaining(file),
      hint: expect.stringMatching(/^Move it away/),
    });
  }
  expect(readFileSync(file)).toEqual(before);
});

test.each(['objects', 'tmp', 'work'])(
  'a file or a broken link in the place of .tunesmith/%s is reported by its path before a cell runs',
  async (name) => {
    const p = engine(ONE, FILES);
    await p.go();
    const path = p.path(`.tunesmith/${name}`);
    for (const put of [() => writeFileSync(path, 'mine'), () => symlinkSync('nowhere', path)]) {
      rmSync(path, { recursive: true, force: true });
      put();
      p.write('in.txt', 'other text\n');
      await expect(p.go()).rejects.toMatchObject({ message: `${path} is not a folder`, hint: expect.stringMatching(/^Move it away/) });
      expect(Object.keys(await p.plan())).toEqual(['a']);
      expect(p.read('out/o.txt')).toBe('some text\n');
    }
    // A link to a folder is a folder.
    rmSync(path);
    mkdirSync(p.path('elsewhere'));
    symlinkSync('../elsewhere', path);
    expect((await p.go()).states).toEqual({ a: 'ran' });
  },
);

test.each(['state.sqlite', 'index.sqlite'])('a folder in the place of %s is reported by its path', async (name) => {
  const p = engine(ONE, FILES);
  const path = p.path(`.tunesmith/${name}`);
  mkdirSync(path, { recursive: true });
  for (const work of [() => p.go(), () => p.plan()])
    await expect(work()).rejects.toMatchObject({
      message: expect.stringContaining(`${path} is a folder, but must be a file`),
      hint: expect.stringMatching(/^Move it away/),
    });
});

test('an error below a file in the place of a folder names that file', () => {
  const p = engine(ONE, { file: '' });
  const below = p.path('file/deep/below');
  for (const work of [
    () => mkdirSync(below, { recursive: true }),
    () => writeFileSync(below, ''),
    () => renameSync(p.path('p.yaml'), below),
  ])
    expect(systemError(errorOf(work))).toEqual({
      message: `${p.path('file')} is not a folder`,
      hint: `Move it away, or use another path than ${below}.`,
    });
  mkdirSync(p.path('folder'));
  expect(systemError(errorOf(() => mkdirSync(p.path('folder'))))?.message).toBe(`the target already exists: ${p.path('folder')}`);
});

function errorOf(work: () => void): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

test('a result that cannot be stored fails the cell; the former file returns', async () => {
  const p = engine(ONE, FILES);
  await p.go();
  p.write('in.txt', 'other text\n');
  // Files in the places of the folders for objects act like a disk that refuses writes.
  p.remove('.tunesmith/objects');
  for (let n = 0; n < 256; n++) p.write(`.tunesmith/objects/${n.toString(16).padStart(2, '0')}`, '');
  const run = await p.go();
  expect(run.states).toEqual({ a: 'failed' });
  expect(p.read('out/o.txt')).toBe('some text\n');
  const left = p.find('.tunesmith/failed').filter((file) => !file.endsWith('/.made.json'));
  expect(left.map((file) => p.read(file))).toEqual(['other text\n']);
});

test('an unreadable input fails its cell with the reason', async () => {
  const p = engine('steps: { a: { run: "true", inputs: { data: in } }, b: { run: "true" } }', { 'in/x': '' });
  // Permissions do not stop root, but nobody can read a socket.
  const { createServer } = await import('node:net');
  const server = createServer().listen(p.path('in/socket'));
  await new Promise((resolve) => server.once('listening', resolve));
  const run = await p.go({ onFailure: 'continue' });
  server.close();
  expect(run.states).toEqual({ a: 'failed', b: 'ran' });
  expect(run.failures.a!.message).toMatch(/^cannot read .*socket: it is neither a file, a folder nor a link$/);
});

test('TUNESMITH_CACHE moves only the index and the objects', async () => {
  const p = engine(ONE, FILES);
  const shared = engine('steps: {}').folder;
  p.env.TUNESMITH_CACHE = shared;
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'fresh' });
  expect(p.find('.tunesmith').map((file) => file.split('/')[1])).toEqual(expect.arrayContaining(['.gitignore', 'logs', 'state.sqlite']));
  expect(p.exists('.tunesmith/objects')).toBe(false);
  expect(p.exists('.tunesmith/index.sqlite')).toBe(false);
  p.remove('.tunesmith');
  p.remove('out');
  const run = await p.run('run', 'p.yaml', '--json');
  expect(run.events.at(-1).cells).toEqual({ a: 'restored' });
  expect(run.events.find((event) => event.type === 'cell').why).toBe('found in the cache');
});
