/** Checkpoints of steps: `context.checkpoints`. */
import { utimesSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Records } from '../../../engine/run/records.ts';
import { kept, OUTPUT, project } from './counting.ts';

test('the checkpoint of a failed attempt is available for the next one and removed after success', async () => {
  const p = project('fail', ', retry: 1');
  const run = await p.go();
  expect(run.states.count).toBe('failed');
  expect(run.lines).toEqual(['attempt 1', 'attempt 2']);
  p.write('how', 'end');
  expect((await p.go()).lines).toEqual(['attempt 3']);
  expect(p.read(OUTPUT)).toBe('3');
  expect(p.find('.tunesmith/checkpoints', { all: true })).toEqual([]);
  expect((await p.go({ force: true })).lines).toEqual(['attempt 1']);
});

test('a step without checkpoints leaves no folder', async () => {
  const p = project('no checkpoint');
  expect((await p.go()).states.count).toBe('ran');
  expect(p.exists('.tunesmith/checkpoints')).toBe(false);
});

test('a checkpoint is not used if an input changed while it was made', async () => {
  const p = project('edit');
  expect((await p.go()).states.count).toBe('failed');
  expect(kept(p)).toEqual([]);
});

test('checkpoints that were unused for two weeks are removed, unless a run holds them', async () => {
  const p = project('end');
  const old = new Date(Date.now() - 15 * 24 * 3600 * 1000);
  const recent = new Date(Date.now() - 13 * 24 * 3600 * 1000);
  for (const [name, time] of Object.entries({ old, held: old, recent })) {
    p.write(`.tunesmith/checkpoints/${name}/deep/file`, '');
    for (const part of ['/deep/file', '/deep', '']) utimesSync(p.path(`.tunesmith/checkpoints/${name}${part}`), old, old);
    utimesSync(p.path(`.tunesmith/checkpoints/${name}/deep/file`), time, time);
  }
  const records = new Records(p.folder, { readOnly: false });
  const lease = await records.leases.acquire('checkpoints held');
  try {
    await p.go();
    expect(p.below('.tunesmith/checkpoints')).toEqual(['held/deep/file', 'recent/deep/file']);
  } finally {
    lease.release();
    records.close();
  }
  await p.go();
  expect(p.below('.tunesmith/checkpoints')).toEqual(['recent/deep/file']);
});
