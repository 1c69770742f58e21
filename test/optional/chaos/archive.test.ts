/** Damaged archives. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { exportResults, importResults } from '../../../cache/archive.ts';
import { contentOf } from '../../../cache/content.ts';
import type { Result } from '../../../cache/index.ts';
import { openCache } from '../../../cache/open.ts';
import { cacheIn, folder, write } from '../../cache/rig.ts';

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

test('a flipped byte is detected or changes nothing', async () => {
  const at = folder();
  const { file, result } = await exported(at, { a: 'aaa', b: 'b'.repeat(2000) });
  const bytes = readFileSync(file);
  let refused = 0;
  for (let place = 0; place < bytes.length; place += 89) {
    const flipped = Buffer.from(bytes);
    flipped[place]! ^= 1 << (place % 8);
    writeFileSync(join(at, 'flipped.tar'), flipped);
    const target = join(at, `flipped-${place}`);
    const { trouble, found } = await imported(target, join(at, 'flipped.tar'));
    if (trouble) expect([trouble.name, found], `byte ${place}: ${trouble.stack}`).toEqual(['CacheError', undefined]);
    else {
      expect(found, `byte ${place}`).toEqual(expect.objectContaining(result));
      execFileSync('diff', ['-r', join(at, 'made'), join(target, 'restored')]);
    }
    if (trouble) refused++;
  }
  expect(refused).toBeGreaterThan(20);
});
