/** Checkpoints of steps: `context.checkpoints`. */
import { utimesSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Records } from '../../../engine/run/records.ts';
import { engine } from './rig.ts';

/** Counts its attempts in a checkpoint. The file `how` decides how it ends. */
const COUNT = `import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineStep, StepError } from 'tunesmith';
export default defineStep({
  name: 'count', version: 1,
  options: { word: { type: 'string', default: 'a' } },
  inputs: { data: { kind: 'file', optional: true } },
  outputs: { o: 'file' },
  async run({ checkpoints, folder, outputs, inputs, signal, log }) {
    const file = join(checkpoints, 'count');
    const count = existsSync(file) ? Number(readFileSync(file, 'utf8')) + 1 : 1;
    const how = readFileSync(join(folder, 'how'), 'utf8');
    if (how !== 'no checkpoint') {
      mkdirSync(checkpoints, { recursive: true });
      writeFileSync(file, String(count));
    }
    log('attempt ' + count);
    if (how === 'fail') throw new StepError('not yet');
    if (how === 'edit') {
      writeFileSync(inputs.data, 'edited');
      throw new StepError('not yet');
    }
    if (how === 'wait') await new Promise((_, reject) => {
      setInterval(() => {}, 1000);
      signal.addEventListener('abort', () => reject(signal.reason));
    });
    writeFileSync(outputs.o, String(count));
  },
});`;
const pipeline = (more = '') => `name: p\nsteps:\n  count: { uses: ./count.mjs, with: { data: data.txt }${more} }\n`;
const project = (how: string, more?: string) => engine(pipeline(more), { 'count.mjs': COUNT, 'data.txt': 'data', how });
const OUTPUT = '.tunesmith/outputs/p/count/o';
const kept = (p: ReturnType<typeof project>) => p.below('.tunesmith/checkpoints').map((name) => name.split('/')[1]);

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

test('a checkpoint survives Ctrl-C, a timeout and kill -9; other options have their own', async () => {
  const p = project('wait');
  for (const [signal, attempt] of [
    ['SIGINT', 1],
    ['SIGKILL', 2],
  ] as const) {
    const other = p.apart();
    await p.until(() => other.events().some((event) => event.type === 'log' && event.line === `attempt ${attempt}`));
    other.kill(signal);
    await other.ended;
  }
  p.write('p.yaml', pipeline(', timeout: 1s'));
  const late = await p.go();
  expect(late.failures.count!.message).toBe('timed out after 1s');
  // On a busy machine, the step may not have started yet.
  const attempts = 2 + late.lines.length;
  p.write('how', 'end');
  p.write('p.yaml', pipeline().replace('data.txt }', 'data.txt, word: b }'));
  expect((await p.go()).lines).toEqual(['attempt 1']);
  expect(kept(p)).toEqual(['count']);
  p.write('p.yaml', pipeline(', cache: false'));
  p.env.TUNESMITH_CACHE = p.path('elsewhere');
  expect((await p.run('run', 'p.yaml')).code).toBe(0);
  expect(p.read(OUTPUT)).toBe(String(attempts + 1));
  expect(kept(p)).toEqual([]);
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
