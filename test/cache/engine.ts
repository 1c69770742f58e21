/** A process that uses the cache as an engine does. Tests start several of them and kill them. */
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { contentOf } from '../../cache/content.ts';
import { openCache } from '../../cache/open.ts';

const [command, cacheFolder = '', ...rest] = process.argv.slice(2);
const cache = openCache(cacheFolder);

const commands: Record<string, () => Promise<void>> = {
  /** Stores and restores forever. `work/said` contains what `work/out` will be next. */
  async publish() {
    const [work = '', seed = ''] = rest;
    for (let n = 0; ; n++) {
      const made = join(work, 'made');
      rmSync(made, { recursive: true, force: true });
      mkdirSync(join(made, 'below'), { recursive: true });
      for (let i = 0; i < 10; i++) writeFileSync(join(made, i % 2 ? 'below' : '', `${i}.txt`), `${seed}-${n}-${i} `.repeat(1000 * i));
      writeFileSync(join(made, 'big.bin'), Buffer.alloc(5 << 20, `${seed}-${n}`));
      const content = (await contentOf(made, cache.fileHashes))!;
      const lease = await cache.leases.acquire('the only key');
      await cache.objects.put(made, content);
      cache.index.save({ fingerprint: `${seed}-${n}`, subject: 'crash', outputs: { out: content }, record: n, created: '' });
      lease.release();
      appendFileSync(join(work, 'said'), `${content.hash}\n`);
      await cache.objects.restore(content, join(work, 'out'));
      cache.fileHashes.flush();
      if (n === 0) console.log('published');
    }
  },
  /** Increments the number in a file `times` times, each time with the lease. */
  async count() {
    const [file = '', times = ''] = rest;
    const { readFileSync } = await import('node:fs');
    for (let n = 0; n < Number(times); n++) {
      const lease = await cache.leases.acquire('counter');
      const number = Number(readFileSync(file, 'utf8'));
      await setTimeout(1);
      writeFileSync(file, String(number + 1));
      lease.release();
    }
  },
  async hold() {
    await cache.leases.acquire('held');
    console.log('held');
    await setTimeout(60_000);
  },
  async removing() {
    await cache.gcLock.remove();
    console.log('removing');
    await setTimeout(60_000);
  },
  async publishing() {
    await cache.gcLock.publish();
    console.log('publishing');
    await setTimeout(60_000);
  },
  /** Stores the same result as other processes at the same time. */
  async same() {
    const [path = ''] = rest;
    const content = (await contentOf(path, cache.fileHashes))!;
    await cache.objects.put(path, content);
    cache.index.save({ fingerprint: 'same', subject: 'same', outputs: { out: content }, record: process.pid, created: '' });
  },
  async read() {
    const [path = ''] = rest;
    await contentOf(path, cache.fileHashes).then(
      (content) => console.log(JSON.stringify(content)),
      (error) => console.log(`${error.name}: ${error.message}`),
    );
  },
  async save() {
    const [path = ''] = rest;
    const content = (await contentOf(path, cache.fileHashes))!;
    await cache.objects.put(path, content);
    cache.index.save({ fingerprint: 'new', subject: 'new', outputs: { out: content }, record: null, created: '' });
    console.log(JSON.stringify({ readOnly: cache.readOnly, old: cache.index.find('old')?.record, new: cache.index.find('new') ?? null }));
  },
};

await commands[command!]!();
cache.close();
