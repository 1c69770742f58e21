/** The names of the data on the card: the same on every machine, and without credentials. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sourcesOf } from '../../../steps/collect/files.ts';
import { writeSources } from '../../../steps/ml/data/table.ts';
import { temporary } from '../rig.ts';

type Context = Parameters<typeof sourcesOf>[1];

async function named(folder: string, given: string[], more: Partial<Context> = {}): Promise<string[] | undefined> {
  const paths = given.map((path) => join(folder, path));
  const sources = await sourcesOf(paths, { addresses: {}, names: {}, repositories: {}, origins: {}, ...more });
  return sources?.map(({ name, files }) => (files > 1 ? `${name} ${files}` : name));
}

test('files are named as in the fingerprint; many share one line', async () => {
  const folder = temporary();
  const names = (paths: string[]) => Object.fromEntries(paths.map((path) => [join(folder, path), path]));
  expect(await named(folder, ['data/a.csv', 'b.csv'], { names: names(['data/a.csv']) })).toEqual(['data/a.csv', 'b.csv']);
  const many = Array.from({ length: 12 }, (_, i) => (i % 2 ? `mails/${i}/x.eml` : `${i}.eml`));
  expect(await named(folder, many, { names: names(many) })).toEqual(['*.eml 6', 'mails/ 6']);
});

test('files of an npm package are named after it', async () => {
  const folder = temporary();
  const path = 'node_modules/@owner/mails/data';
  expect(await named(folder, [`${path}/a.json`, `${path}/b.json`])).toEqual(['@owner/mails 2']);
  expect(await named(folder, [`${path}/a.json`])).toEqual(['@owner/mails/data/a.json']);
});

test.each([
  ['postgres://ada@db.example/mails', 'PostgreSQL query'],
  ['sqlite:/home/ada/mails.db', 'SQLite file mails.db'],
  ['https://ada:secret@host.example/x.csv?token=secret', 'https://host.example/x.csv'],
])('%s is named %s', async (address, name) => {
  const folder = temporary();
  expect(await named(folder, ['x'], { addresses: { [join(folder, 'x')]: address } })).toEqual([name]);
});

test('the record of a table from another step is copied; files from a step without a record are not listed', async () => {
  const folder = temporary();
  mkdirSync(join(folder, 'table'));
  writeFileSync(join(folder, 'table/data.parquet'), '');
  const origins = { files: [{ cell: 'make', matrix: {} }] };
  expect(await named(folder, ['table'], { origins })).toBeUndefined();
  await writeSources(join(folder, 'table'), { rows: 2, sources: [{ name: 'a.csv', files: 1 }] });
  expect(await named(folder, ['table'], { origins })).toEqual(['a.csv']);
  expect(await named(folder, ['table', 'p/b.csv'], { origins })).toEqual(['a.csv', 'b.csv']);
});
