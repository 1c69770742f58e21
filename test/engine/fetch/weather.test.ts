/** A hub and a network with random faults: in the end, all files are complete and correct. */
import { readFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { openCache } from '../../../cache/open.ts';
import { type Address, readAddress } from '../../../engine/contract/address.ts';
import { StepError } from '../../../engine/contract/step.ts';
import { RemoteSources } from '../../../engine/fetch/fetch.ts';
import { project } from '../../rig.ts';
import { startHub, type Trouble } from './hub.ts';

test.each([1, 2, 3, 5, 8, 13])('weather %i', async (seed) => {
  const random = randomly(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const hub = await startHub();
  const p = project();
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_HOME', p.path('hf'));
  vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '0.3');
  const files: Record<string, string> = { 'config.json': '{"a":1}' };
  for (let i = 0; i < 6; i++) files[`part${i % 2}/${i}.parquet`] = String.fromCharCode(97 + i).repeat(below(200_000));
  hub.publish('owner/name', files);

  const troubles: (() => Trouble)[] = [
    () => ({ at: 'cdn/', cut: below(200_000) }),
    () => ({ at: 'cdn/', stall: below(1000) }),
    () => ({ at: 'cdn/', spoil: (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from('?')]) }),
    () => ({ at: 'cdn/', spoil: (bytes) => Buffer.concat([bytes, bytes]) }),
    () => ({
      at: ['cdn/', 'resolve/', 'tree/', 'revision/'][below(4)]!,
      status: [401, 404, 429, 500, 503][below(5)],
      headers: { 'retry-after': '0' },
    }),
  ];
  let attempts = 1;
  /** One run of an engine that may be interrupted. */
  const attempt = async (): Promise<boolean> => {
    const fine = attempts > 15; // No fault lasts forever, and a busy machine limits the number of attempts.
    for (let i = fine ? 0 : below(6); i > 0; i--) hub.trouble(troubles[below(troubles.length)]!());
    const cache = openCache(p.path('cache'));
    const stop = new AbortController();
    const timer = !fine && random() < 0.3 ? setTimeout(() => stop.abort(), random() * 300) : undefined;
    let [expected, came] = [0, 0];
    try {
      const sources = new RemoteSources({ folder: p.path('sources'), fileHashes: cache.fileHashes, readOnly: false, notice: () => {} });
      const pinned = await sources.pin(readAddress('hf://owner/name/**') as Address);
      const fetched = await sources.fetch(pinned, {
        signal: stop.signal,
        log: () => {},
        expect(bytes) {
          expected += bytes;
        },
        onBytes(count) {
          came += count;
        },
      });
      expect(fetched.map(({ address }) => address)).toEqual(
        Object.keys(files)
          .sort()
          .map((name) => `hf://owner/name/${name}`),
      );
      for (const { path, address } of fetched) expect(readFileSync(path, 'utf8')).toBe(files[address.slice('hf://owner/name/'.length)]);
      expect(came).toBe(expected);
      return true;
    } catch (error) {
      if (error instanceof StepError || stop.signal.aborted) return false;
      throw error;
    } finally {
      clearTimeout(timer);
      cache.close();
    }
  };
  while (!(await attempt())) expect(++attempts).toBeLessThan(25);
  expect(p.find('.').filter((file) => /incomplete$|\.lock$|\.tunesmith/.test(file))).toEqual([]);
  vi.unstubAllEnvs();
});

/** Reproducible random numbers. */
function randomly(seed: number): () => number {
  let state = seed * 7919;
  return () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return state / 2147483648;
  };
}
