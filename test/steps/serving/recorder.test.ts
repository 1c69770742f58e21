/** `serve --record`: what is written, and that no request fails because of it. */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import collect from '../../../steps/collect/step.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { tableOf } from '../../../steps/ml/data/table.ts';
import { openRecorder, recorded } from '../../../steps/serving/recorder.ts';
import type { ServedModel } from '../../../steps/serving/served-model.ts';
import { ranStep, temporary } from '../rig.ts';

afterEach(() => {
  vi.useRealTimers();
});

function recorder(folder = join(temporary(), 'records'), share = 1) {
  const counts = { written: 0, lost: 0 };
  const warnings: string[] = [];
  const opened = openRecorder({
    folder,
    share,
    warn: (line) => void warnings.push(line),
    onRecords: (outcome, count) => {
      counts[outcome] += count;
    },
  });
  return { ...opened, folder, counts, warnings };
}

const linesIn = (folder: string, name: string) =>
  readFileSync(join(folder, name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

test('each input has a line with time, id, input and answer, and only the user may read the file', async () => {
  const own = recorder();
  own.add([{ text: 'línea\n1' }, { text: '' }], [{ label: 'a' }, { label: 'b' }]);
  await own.close();
  const [name, ...others] = readdirSync(own.folder);
  expect(others).toEqual([]);
  expect(name).toMatch(/^\d{4}-\d\d-\d\d\.jsonl$/);
  const lines = linesIn(own.folder, name!);
  expect(lines.map(({ input, answer }) => ({ input, answer }))).toEqual([
    { input: { text: 'línea\n1' }, answer: { label: 'a' } },
    { input: { text: '' }, answer: { label: 'b' } },
  ]);
  expect(Object.keys(lines[0])).toEqual(['time', 'id', 'input', 'answer']);
  expect(lines[0].time.slice(0, 10)).toBe(name!.slice(0, 10));
  expect(new Set(lines.map(({ id }) => id)).size).toBe(2);
  expect(statSync(join(own.folder, name!)).mode & 0o777).toBe(0o600);
  expect(statSync(own.folder).mode & 0o777).toBe(0o700);
  expect(own.counts).toEqual({ written: 2, lost: 0 });
});

test('collect reads the records', async () => {
  const own = recorder();
  own.add(
    [{ text: 'one' }, { text: 'two' }],
    [
      { label: 'a', scores: { a: 0.9, b: 0.1 } },
      { label: 'b', scores: { a: 0.2, b: 0.8 } },
    ],
  );
  await own.close();
  const select = { id: 'id', time: 'time', text: 'input.text', label: 'answer.label' };
  const { outputs } = await ranStep(collect, { format: 'jsonl', select }, { files: [own.folder] });
  const database = await Database.open();
  try {
    const rows = await database.rows(`SELECT text, label FROM ${tableOf(outputs.data!)} ORDER BY text`);
    expect(rows).toEqual([
      { text: 'one', label: 'a' },
      { text: 'two', label: 'b' },
    ]);
  } finally {
    database.close();
  }
});

test('every day has a file of its own, by UTC', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-01T23:59:59.900Z') });
  const own = recorder();
  own.add([{ text: 'before' }], [null]);
  vi.setSystemTime(new Date('2026-03-02T00:00:00.100Z'));
  own.add([{ text: 'after' }], [null]);
  await own.close();
  expect(readdirSync(own.folder)).toEqual(['2026-03-01.jsonl', '2026-03-02.jsonl']);
  expect(linesIn(own.folder, '2026-03-02.jsonl')[0].input.text).toBe('after');
});

test('the share is that of the requests', async () => {
  const own = recorder(undefined, 0.25);
  for (let i = 0; i < 2000; i++) own.add([{ text: String(i) }, { text: String(i) }], [null, null]);
  await own.close();
  const { written } = own.counts;
  expect(written % 2).toBe(0);
  // Seven standard deviations.
  expect(Math.abs(written / 2 - 500)).toBeLessThan(136);
  expect(linesIn(own.folder, readdirSync(own.folder)[0]!)).toHaveLength(written);
});

test('a folder that cannot be written is reported once, then the records are counted as lost, and written again later', async () => {
  const folder = join(temporary(), 'records');
  writeFileSync(folder, 'a file');
  const own = recorder(folder);
  await own.check();
  own.add([{ text: 'a' }], [null]);
  await vi.waitFor(() => expect(own.counts.lost).toBe(1));
  expect(own.warnings).toHaveLength(1);
  expect(own.warnings[0]).toMatch(/^requests are answered, but not recorded: E(EXIST|NOTDIR)/);
  rmSync(folder);
  own.add([{ text: 'b' }], [null]);
  await own.close();
  expect(own.counts).toEqual({ written: 1, lost: 1 });
  expect(own.warnings[1]).toContain('are recorded again');
});

test.runIf(process.platform === 'linux')('a full disk loses records, and no request fails', async () => {
  const folder = join(temporary(), 'records');
  mkdirSync(folder);
  symlinkSync('/dev/full', join(folder, `${new Date().toISOString().slice(0, 10)}.jsonl`));
  const own = recorder(folder);
  const model = recorded(
    modelThat(async () => ['answer']),
    own,
  );
  for (let i = 0; i < 3; i++) expect(await model.predict([{ text: 'a' }], {} as never)).toEqual(['answer']);
  await own.close();
  expect(own.counts).toEqual({ written: 0, lost: 3 });
  expect(own.warnings).toEqual([expect.stringContaining('ENOSPC')]);
});

test('a line that a crash has left incomplete does not join the next one', async () => {
  const folder = join(temporary(), 'records');
  mkdirSync(folder);
  const name = `${new Date().toISOString().slice(0, 10)}.jsonl`;
  writeFileSync(join(folder, name), '{"time": "2026');
  const own = recorder(folder);
  own.add([{ text: 'a' }], [null]);
  await own.close();
  const [torn, whole] = readFileSync(join(folder, name), 'utf8').trimEnd().split('\n');
  expect(torn).toBe('{"time": "2026');
  expect(JSON.parse(whole!).input).toEqual({ text: 'a' });
});

test('a refused request is not recorded; a list of words is recorded as it was given', async () => {
  const own = recorder();
  const refusing = recorded(
    modelThat(() => Promise.reject(new Error('refused'))),
    own,
  );
  await expect(refusing.predict([{ text: 'a' }], {} as never)).rejects.toThrow('refused');
  const tagger = recorded(
    modelThat(async () => [['O', 'B']]),
    own,
  );
  await tagger.predict([{ text: 'a b', words: '["a","b"]' }], {} as never);
  await own.close();
  expect(linesIn(own.folder, readdirSync(own.folder)[0]!).map(({ input }) => input)).toEqual([{ text: ['a', 'b'] }]);
});

function modelThat(predict: ServedModel['predict']): ServedModel {
  return {
    bundle: { fields: [{ name: 'text', words: true }] } as unknown as ServedModel['bundle'],
    limits: {} as ServedModel['limits'],
    report: () => {},
    predict,
    generate: () => Promise.reject(new Error('it does not generate')),
    waiting: 0,
    close: async () => {},
  };
}
