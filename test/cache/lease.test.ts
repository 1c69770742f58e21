import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import { isAlive, thisProcess } from '../../cache/process.ts';
import { cacheIn, compileEngine, folder, start } from './rig.ts';

const engine = await compileEngine();

test('four processes that increment a number with the lease lose no update', async () => {
  const at = folder();
  writeFileSync(join(at, 'number'), '0');
  const ends = await Promise.all(
    Array.from({ length: 4 }, () => start(engine, ['count', join(at, 'cache'), join(at, 'number'), '10']).ended),
  );
  expect(ends).toEqual(ends.map(() => ({ code: 0, output: '' })));
  expect(readFileSync(join(at, 'number'), 'utf8')).toBe('40');
});

test('in one process, a key is held by one caller at a time, in the order of requests; other keys are free', async () => {
  const { leases } = cacheIn(folder());
  const order: number[] = [];
  let inside = 0;
  const work = async (n: number) => {
    const lease = await leases.acquire('key');
    expect(++inside).toBe(1);
    order.push(n);
    await setTimeout(2);
    inside--;
    lease.release();
  };
  const other = await leases.acquire('another key');
  await Promise.all([0, 1, 2, 3, 4, 5].map(work));
  expect(order).toEqual([0, 1, 2, 3, 4, 5]);
  other.release();
});

test('the lease of a killed process is taken over at once; for a living one, the caller waits and learns the holder', async () => {
  const at = folder();
  const holder = start(engine, ['hold', join(at, 'cache')]);
  expect(await holder.line()).toBe('held');
  const { leases } = cacheIn(join(at, 'cache'));
  const waitedFor: number[] = [];
  let got = false;
  const taken = leases.acquire('held', { onWait: (pid) => waitedFor.push(pid) }).then((lease) => {
    got = true;
    return lease;
  });
  await setTimeout(300);
  expect({ got, waitedFor }).toEqual({ got: false, waitedFor: [holder.process.pid] });
  const killed = performance.now();
  holder.process.kill('SIGKILL');
  (await taken).release();
  expect(performance.now() - killed).toBeLessThan(5000); // Fast in principle; a busy machine needs more time.
});

test('a reused pid and an earlier boot do not hold leases', async () => {
  const at = folder();
  const { leases } = cacheIn(at);
  const database = new Sqlite(join(at, 'index.sqlite'));
  const held = database.prepare("insert into leases values (?, 'x', 0, :host, :boot, :pid, :start)");
  const me = thisProcess();
  held.run('reused pid', { ...me, pid: process.ppid, start: '1' });
  held.run('reused own pid', { ...me, start: '1' });
  held.run('earlier boot', { ...me, boot: 'before' });
  held.run('pid that is free', { ...me, pid: 2 ** 22 + 1 });
  held.run('another host', { ...me, host: 'elsewhere' });
  database.close();
  for (const key of ['reused pid', 'reused own pid', 'earlier boot', 'pid that is free']) (await leases.acquire(key)).release();
  await expect(leases.acquire('another host', { signal: AbortSignal.timeout(200) })).rejects.toThrow('abort');
});

test('a zombie process is dead', async () => {
  const { spawn } = await import('node:child_process');
  // The shell's child ends. The shell becomes sleep, which never waits for the child.
  const shell = spawn('/bin/sh', ['-c', 'sh -c "exit 0" & echo $!; exec sleep 5'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const pid = Number(await new Promise((resolve) => shell.stdout!.once('data', resolve)));
  await setTimeout(100);
  expect(isAlive({ ...thisProcess(), pid, start: 'whatever' })).toBe(false);
  shell.kill('SIGKILL');
});

test('an abort ends the wait, within the process and across processes', async () => {
  const at = folder();
  const first = cacheIn(at);
  const second = cacheIn(at);
  const lease = await first.leases.acquire('key');
  for (const { leases } of [first, second]) {
    const controller = new AbortController();
    const waiting = leases.acquire('key', { signal: controller.signal });
    setTimeout(50).then(() => controller.abort(new Error('Ctrl-C')));
    await expect(waiting).rejects.toThrow(/Ctrl-C|abort/);
    await expect(leases.acquire('key', { signal: controller.signal })).rejects.toThrow('Ctrl-C');
  }
  lease.release();
  for (const { leases } of [first, second]) (await leases.acquire('key')).release();
});

test('closing releases all leases', async () => {
  const at = folder();
  const first = cacheIn(at);
  await first.leases.acquire('key');
  first.leases.close();
  const waitedFor: number[] = [];
  (await cacheIn(at).leases.acquire('key', { onWait: (pid) => void waitedFor.push(pid) })).release();
  expect(waitedFor).toEqual([]);
});
