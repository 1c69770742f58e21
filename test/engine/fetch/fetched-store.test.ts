/** Locks across processes. A dead process does not block others. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { thisProcess } from '../../../cache/process.ts';
import { withDownloadLock } from '../../../engine/fetch/fetched-store.ts';
import { project } from '../../rig.ts';

test('work under one lock never overlaps, and the lock is removed afterwards', async () => {
  const path = project().path('locks/one');
  let at = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 8 }, () =>
      withDownloadLock(path, {}, async () => {
        most = Math.max(most, ++at);
        await sleep(5);
        at--;
      }),
    ),
  );
  expect(most).toBe(1);
  await expect(withDownloadLock(path, {}, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(existsSync(path)).toBe(false);
});

test('the lock of a dead holder is taken at once, by one of many; of an inactive remote one, after a while', async () => {
  const path = project().path('locks/one');
  const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' });
  await once(child, 'exit');
  mkdirSync(dirname(path), { recursive: true });
  for (const holder of [
    { ...thisProcess(), pid: child.pid! },
    { ...thisProcess(), host: 'another' },
  ]) {
    writeFileSync(path, JSON.stringify(holder));
    const hour = Date.now() / 1000 - 3600;
    utimesSync(path, hour, hour);
    let [at, most] = [0, 0];
    await Promise.all(
      Array.from({ length: 6 }, () =>
        withDownloadLock(path, {}, async () => {
          most = Math.max(most, ++at);
          await sleep(2);
          at--;
        }),
      ),
    );
    expect(most).toBe(1);
  }
});

test('waiting ends with the signal, and reports the holder', async () => {
  const path = project().path('locks/one');
  const stop = new AbortController();
  await withDownloadLock(path, {}, async () => {
    const told: number[] = [];
    const waiting = withDownloadLock(path, { signal: stop.signal, onWait: (pid) => told.push(pid) }, async () => {});
    setTimeout(() => stop.abort(), 50);
    await expect(waiting).rejects.toThrow(/abort/i);
    expect(told).toEqual([process.pid]);
  });
});
