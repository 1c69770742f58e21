/** Datasets of the hub in collect: many files, the hub's own Parquet, and the source of rows. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Database } from '../../../steps/ml/data/database.ts';
import { readRows } from '../../table.ts';
import { engine } from '../run/rig.ts';
import { startHub } from './hub.ts';

function collecting(files: string): string {
  return `
name: p
steps:
  collect: { uses: collect, with: { files: ${files}, select: { text: text, from: source } } }
`;
}

async function fixture(files: string) {
  const hub = await startHub();
  const p = engine(collecting(files));
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_HOME', p.path('hf'));
  for (const name of ['HF_TOKEN', 'HF_HUB_CACHE', 'HF_HUB_OFFLINE']) vi.stubEnv(name, undefined);
  onTestFinished(() => void vi.unstubAllEnvs());
  const collected = async () => {
    const { states, failures } = await p.go();
    expect([states, failures]).toEqual([{ collect: 'ran' }, {}]);
    const rows: string[] = [];
    for await (const batch of readRows(p.path('.tunesmith/outputs/p/collect/data'), ['text', 'from']))
      for (const { text, from } of batch) rows.push(`${text} ${from}`);
    return rows.sort();
  };
  return { hub, p, collected };
}

/** A file with one row with that text. */
async function parquet(text: string): Promise<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), 'tunesmith-parquet-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const database = await Database.open();
  try {
    await database.run(`COPY (SELECT '${text}' AS text) TO '${join(folder, 'one.parquet')}' (FORMAT parquet)`);
  } finally {
    database.close();
  }
  return readFileSync(join(folder, 'one.parquet'));
}

test('a glob matches many files, and rows have the address as their source', async () => {
  const { hub, collected } = await fixture('hf://datasets/owner/mails@main/data/train-*.parquet');
  hub.publish('datasets/owner/mails', {
    'data/train-00000.parquet': await parquet('one'),
    'data/train-00001.parquet': await parquet('two'),
    'data/test-00000.parquet': await parquet('three'),
    'README.md': '',
  });
  expect(await collected()).toEqual([
    'one hf://datasets/owner/mails/data/train-00000.parquet',
    'two hf://datasets/owner/mails/data/train-00001.parquet',
  ]);
});

test('a folder means all its files; a list may mix addresses and files', async () => {
  const { hub, p, collected } = await fixture('[hf://datasets/owner/mails/more, ./own.jsonl]');
  p.write('own.jsonl', '{"text":"own"}\n');
  hub.publish('datasets/owner/mails', {
    'more/a.jsonl': '{"text":"a"}\n',
    'more/deep/b.jsonl': '{"text":"b"}\n',
    'c.jsonl': '{"text":"c"}\n',
  });
  expect(await collected()).toEqual([
    'a hf://datasets/owner/mails/more/a.jsonl',
    'b hf://datasets/owner/mails/more/deep/b.jsonl',
    'own own.jsonl',
  ]);
});

test("a whole dataset: its own Parquet, otherwise the hub's, otherwise its text files", async () => {
  const own = await fixture('hf://datasets/owner/mails');
  own.hub.publish('datasets/owner/mails', { 'data/a.parquet': await parquet('own'), 'raw.jsonl': '{"text":"raw"}\n' });
  own.hub.publish('datasets/owner/mails', { 'default/train/0000.parquet': await parquet('made') }, { ref: 'refs/convert/parquet' });
  expect(await own.collected()).toEqual(['own hf://datasets/owner/mails/data/a.parquet']);

  const made = await fixture('hf://datasets/owner/mails');
  made.hub.publish('datasets/owner/mails', { 'raw.jsonl': '{"text":"raw"}\n' });
  made.hub.publish('datasets/owner/mails', { 'default/train/0000.parquet': await parquet('made') }, { ref: 'refs/convert/parquet' });
  expect(await made.collected()).toEqual(['made hf://datasets/owner/mails/default/train/0000.parquet']);
  expect((await made.p.go()).states).toEqual({ collect: 'fresh' });

  const text = await fixture('hf://datasets/owner/mails');
  text.hub.publish('datasets/owner/mails', { 'raw.jsonl': '{"text":"raw"}\n', 'dataset_infos.json': '{}', 'README.md': '' });
  expect(await text.collected()).toEqual(['raw hf://datasets/owner/mails/raw.jsonl']);
});

test('another revision means other data; without a network, the last known one is used', async () => {
  const { hub, p, collected } = await fixture('hf://datasets/owner/mails/a.jsonl');
  hub.publish('datasets/owner/mails', { 'a.jsonl': '{"text":"old"}\n' });
  expect(await collected()).toEqual(['old hf://datasets/owner/mails/a.jsonl']);
  hub.publish('datasets/owner/mails', { 'a.jsonl': '{"text":"new"}\n' });
  expect(await collected()).toEqual(['new hf://datasets/owner/mails/a.jsonl']);
  hub.stop();
  expect((await p.go()).states).toEqual({ collect: 'fresh' });
});

test('a mirror without commits and hashes is asked for the files themselves', async () => {
  const { hub, p, collected } = await fixture('hf://datasets/owner/mails/a.parquet');
  hub.publish('datasets/owner/mails', { 'a.parquet': await parquet('one') });
  hub.trouble({ at: '/revision/', status: 404, times: 9 });
  hub.hashless = true;
  expect(await collected()).toEqual(['one hf://datasets/owner/mails/a.parquet']);
  hub.trouble({ at: 'cdn/', spoil: (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from('?')]) });
  p.remove('hf');
  const { failures } = await p.go({ force: true });
  expect(failures.collect!.message).toMatch(/has the wrong SHA-256/);
});
