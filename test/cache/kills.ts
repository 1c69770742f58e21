/** Processes that publish results into a cache and are killed. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { expect } from 'vitest';
import { contentOf } from '../../cache/content.ts';
import { openCache } from '../../cache/open.ts';
import { folder, start } from './rig.ts';

/** Kills the compiled engine at a random instant, so many times: every result is complete, no partial files are visible or left behind. */
export async function expectWholeAfterKills(engine: string, rounds: number): Promise<void> {
  const at = folder();
  const cacheFolder = join(at, 'cache');
  let results = 0;
  for (let round = 0; round < rounds; round++) {
    const work = join(at, `work ${round % 3}`);
    mkdirSync(work, { recursive: true });
    const engines = [start(engine, ['publish', cacheFolder, work, `seed ${round}`])];
    if (round % 5 === 0) {
      mkdirSync(join(at, 'beside'), { recursive: true });
      engines.push(start(engine, ['publish', cacheFolder, join(at, 'beside'), `beside ${round}`]));
    }
    await engines[0]!.line();
    await setTimeout(Math.random() * 60);
    for (const { process } of engines) process.kill('SIGKILL');
    for (const { ended } of engines) expect((await ended).output).toMatch(/^(published\n)?$/);

    const cache = openCache(cacheFolder);
    const saved = cache.index.history('crash', 1000);
    expect(saved.length).toBeGreaterThan(results);
    results = saved.length;
    for (const { outputs } of saved) expect(await cache.objects.state(outputs.out!)).toBe('ok');
    const said = readFileSync(join(work, 'said'), 'utf8').split('\n');
    const out = join(work, 'out');
    if (existsSync(out)) expect(said).toContain((await contentOf(out, cache.fileHashes))!.hash);
    expect(readdirSync(join(cacheFolder, 'tmp'))).toEqual([]);
    const asked = performance.now();
    (await cache.leases.acquire('the only key')).release();
    expect(performance.now() - asked).toBeLessThan(5000); // Fast in principle; a busy machine needs more time.
    cache.close();
  }
  const cache = openCache(cacheFolder);
  expect((await cache.objects.verify()).damaged).toEqual([]);
  cache.close();
  const database = new Sqlite(join(cacheFolder, 'index.sqlite'));
  expect(database.pragma('integrity_check', { simple: true })).toBe('ok');
  database.close();
}
