/** The gc lock: many processes publish at the same time, one removes alone, and a dead process blocks nobody. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { cacheIn, compileEngine, folder, start } from './rig.ts';

const engine = await compileEngine();

test('many publish at the same time; removal waits for them, and they wait for removal', async () => {
  const at = folder();
  const [one, two] = [cacheIn(at), cacheIn(at)];
  const said: string[] = [];
  const publishing = [await one.gcLock.publish(), await one.gcLock.publish(), await two.gcLock.publish()];
  const removing = two.gcLock.remove().then((turn) => {
    said.push('removes');
    return turn;
  });
  await sleep(100);
  const late = [one, one, two].map(async (cache) => {
    const turn = await cache.gcLock.publish();
    said.push('publishes');
    await sleep(5);
    turn.release();
  });
  await sleep(100);
  expect(said).toEqual([]);
  for (const turn of publishing) turn.release();
  const turn = await removing;
  await sleep(100);
  expect(said).toEqual(['removes']);
  turn.release();
  await Promise.all(late);
  expect(said).toEqual(['removes', 'publishes', 'publishes', 'publishes']);
});

test('a process that was killed while removing or publishing blocks nobody', async () => {
  const at = folder();
  for (const what of ['removing', 'publishing']) {
    const child = start(engine, [what, at]);
    await child.line();
    child.process.kill('SIGKILL');
    await child.ended;
  }
  const cache = cacheIn(at);
  const asked = performance.now();
  (await cache.gcLock.publish()).release();
  (await cache.gcLock.remove()).release();
  expect(performance.now() - asked).toBeLessThan(5000); // Fast in principle; a busy machine needs more time.
});

test('an aborted removal leaves no trace; a read-only cache has no lock', async () => {
  const at = folder();
  const cache = cacheIn(at);
  const turn = await cache.gcLock.publish();
  await expect(cache.gcLock.remove(AbortSignal.timeout(50))).rejects.toThrow();
  turn.release();
  (await cache.gcLock.publish(AbortSignal.timeout(1000))).release();
  (await cacheIn(at, { readOnly: true }).gcLock.publish()).release();
});
