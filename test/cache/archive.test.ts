/** Export and import of results: an archive is imported completely or not at all. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { exportResults, importResults } from '../../cache/archive.ts';
import { contentOf } from '../../cache/content.ts';
import type { Result } from '../../cache/index.ts';
import { openCache } from '../../cache/open.ts';
import { cacheIn, folder, write } from './rig.ts';

async function exported(at: string, files: Record<string, string | Buffer>): Promise<{ file: string; result: Result }> {
  const cache = cacheIn(join(at, 'one'));
  write(join(at, 'made'), files);
  const content = (await contentOf(join(at, 'made'), cache.fileHashes))!;
  await cache.objects.put(join(at, 'made'), content);
  const result = { fingerprint: 'f'.repeat(64), subject: 'p.yaml a', outputs: { o: content }, record: { n: 1 }, created: '2026-01-01' };
  cache.index.save(result);
  const file = join(at, 'results.tar');
  await exportResults(cache, [result], file);
  return { file, result };
}

/** Imports into a new cache. Returns undefined, or the error message. */
async function imported(at: string, file: string) {
  const cache = openCache(at);
  try {
    const trouble = await importResults(cache, at, file).then(
      () => undefined,
      (error: Error) => error,
    );
    const found = cache.index.find('f'.repeat(64));
    if (found) await cache.objects.restore(found.outputs.o!, join(at, 'restored'));
    return { trouble, found };
  } finally {
    cache.close();
  }
}

test('an exported result can be restored in another cache; importing twice adds nothing', async () => {
  const at = folder();
  const files = { a: '', 'deep/ünï code\n.txt': 'x', big: Buffer.alloc(5 << 20, 7), 'empty/': '' };
  const { file, result } = await exported(at, files);
  const two = cacheIn(join(at, 'two'));
  expect(await importResults(two, join(at, 'two'), file)).toEqual({ results: 1, known: 0, objects: 4, bytes: expect.any(Number) });
  expect(two.index.find(result.fingerprint)).toEqual(expect.objectContaining(result));
  await two.objects.restore(result.outputs.o!, join(at, 'restored'));
  execFileSync('diff', ['-r', join(at, 'made'), join(at, 'restored')]);
  expect(await importResults(two, join(at, 'two'), file)).toEqual({ results: 0, known: 1, objects: 0, bytes: 0 });
  expect(readdirSync(join(at, 'two/tmp'))).toEqual([]);
  // It is a plain tar archive.
  expect(execFileSync('tar', ['tf', file], { encoding: 'utf8' }).split('\n')).toHaveLength(6);
  await expect(exportResults(two, [result], file)).rejects.toThrow('already exists');
  await expect(exportResults(two, [result], join(at, 'none/x.tar'))).rejects.toThrow('there is no folder');
});

test('a damaged object is left out, together with the results that need it', async () => {
  const at = folder();
  const { result } = await exported(at, { a: 'text' });
  const cache = cacheIn(join(at, 'one'));
  await cache.objects.remove([result.outputs.o!.hash]);
  const done = await exportResults(cache, [result], join(at, 'again.tar'));
  expect([done.results, done.broken.length]).toEqual([0, 1]);
});

test('a truncated archive is refused, wherever it is cut', async () => {
  const at = folder();
  const { file } = await exported(at, { a: 'aaa', b: 'b'.repeat(2000) });
  const bytes = readFileSync(file);
  for (let length = 0; length < bytes.length - 1024; length += 397) {
    writeFileSync(join(at, 'cut.tar'), bytes.subarray(0, length));
    const { trouble, found } = await imported(join(at, `cut-${length}`), join(at, 'cut.tar'));
    expect([trouble?.name, found], `${length} of ${bytes.length} bytes: ${trouble?.message}`).toEqual(['CacheError', undefined]);
  }
});

test('a file that is not an export is refused with a message', async () => {
  const at = folder();
  const cache = cacheIn(join(at, 'cache'));
  write(at, { 'text.tar': 'no archive', 'empty.tar': '', x: 'x' });
  execFileSync('tar', ['cf', 'other.tar', 'x'], { cwd: at });
  for (const name of ['text.tar', 'empty.tar', 'other.tar', 'none.tar', 'cache']) {
    const error = await importResults(cache, join(at, 'cache'), join(at, name)).catch((error) => error);
    expect([error.name, error.hint], `${name}: ${error.stack}`).toEqual(['CacheError', expect.any(String)]);
  }
  const readOnly = cacheIn(join(at, 'cache'), { readOnly: true });
  await expect(importResults(readOnly, join(at, 'cache'), join(at, 'other.tar'))).rejects.toThrow(
    'is read-only, so nothing can be imported',
  );
});
