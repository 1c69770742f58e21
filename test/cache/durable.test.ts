/** Order of writes for power failures: the bytes are on the disk before the name, and both before the index refers to them. */
import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test, vi } from 'vitest';
import * as durable from '../../cache/atomic-move.ts';
import { contentOf } from '../../cache/content.ts';
import { cacheIn, folder, write } from './rig.ts';

vi.mock('node:fs', { spy: true });
vi.mock('../../cache/atomic-move.ts', { spy: true });

test.each([1, 100])(
  'an object with %d files is flushed and renamed, its folders are flushed, and then it enters the index',
  async (count) => {
    const at = folder();
    const cache = cacheIn(join(at, 'cache'));
    for (let n = 0; n < count; n++) write(at, { [`root/${n}`]: `file ${n}` });
    const content = (await contentOf(join(at, 'root'), cache.fileHashes))!;
    vi.clearAllMocks();
    await cache.objects.put(join(at, 'root'), content);

    const flushed = calls(durable.flushFiles);
    const named = calls(durable.flushFolders);
    const renamed = calls(fs.renameSync).filter(({ args }) => String(args[1]).startsWith(join(at, 'cache/objects')));
    expect(renamed).toHaveLength(count + 1);
    for (const { order, args } of renamed) {
      const [from, to] = args as [string, string];
      expect(flushed.some((flush) => flush.order < order && (flush.args[0] as string[]).includes(from))).toBe(true);
      expect(named.some((flush) => flush.order > order && (flush.args[0] as string[]).includes(dirname(to)))).toBe(true);
    }
    for (const above of ['cache', 'cache/objects'])
      expect(named.some(({ args }) => (args[0] as string[]).includes(join(at, above)))).toBe(true);
  },
);

test('an object that another process has just renamed is used only after its name is on the disk', async () => {
  const at = folder();
  write(at, { file: 'text' });
  const first = cacheIn(join(at, 'cache'));
  const content = (await contentOf(join(at, 'file'), first.fileHashes))!;
  await first.objects.put(join(at, 'file'), content);
  const second = cacheIn(join(at, 'cache'));
  vi.clearAllMocks();
  await second.objects.put(join(at, 'file'), content);
  expect(calls(durable.flushFolders).flatMap(({ args }) => args[0])).toContain(join(at, 'cache/objects', content.hash.slice(0, 2)));
});

/** Calls of all functions in their order. */
function calls(spied: (...args: never[]) => unknown): { order: number; args: readonly unknown[] }[] {
  const { calls, invocationCallOrder } = vi.mocked(spied).mock;
  return calls.map((args, n) => ({ order: invocationCallOrder[n]!, args }));
}
