/** collect on several threads, files that are read in many pieces, ids, and columns. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import definition from '../../../steps/collect/step.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { literal } from '../../../steps/ml/data/sql.ts';
import { collected, failure, values, written } from '../../steps/collect/files.ts';
import { ranStep, temporary } from '../../steps/rig.ts';

const all = { max_rejected: 1 };

test('CSV: records and lines longer than one read', async () => {
  const long = 'é"\n'.repeat(700_000);
  const table = await collected({ 'a.csv': `text,label\n"${long.replaceAll('"', '""')}",a\nx\n` }, all);
  expect(values(table, 'text')).toEqual([long]);
  expect(table.rejected).toEqual(['a.csv:700003 1 field instead of 2']);
});

test('the same files make the same bytes on 1, 2 and 4 threads, read in any order', async () => {
  const lines = Array.from({ length: 30_000 }, (_, i) =>
    JSON.stringify({ text: `text ${i % 20_000} ${'x'.repeat(i % 50)}`, label: String(i % 3), n: i / 7 }),
  );
  const files = written({ 'a.jsonl': lines.slice(0, 9000).join('\n'), 'b.jsonl': lines.slice(9000).join('\n') });
  const bytes: Buffer[] = [];
  for (const [threads, inputs] of [
    [1, files],
    [2, files.toReversed()],
    [4, files],
  ] as const) {
    const { outputs } = await ranStep(definition, {}, { files: [...inputs] }, {}, { threads });
    bytes.push(readFileSync(join(outputs.data!, 'data.parquet')));
  }
  expect(bytes[1]!.equals(bytes[0]!)).toBe(true);
  expect(bytes[2]!.equals(bytes[0]!)).toBe(true);
});

test('UTF-16 without a byte order mark is rejected if its NULs would become part of texts; other NULs are kept', async () => {
  const utf16 = (text: string) => Buffer.from(text, 'utf16le');
  const told = (name: string, encoding: string) =>
    new RegExp(`^${name}: is UTF-16 without a byte order mark: \\d+ of its first \\d+ bytes are NUL → Set \`encoding: ${encoding}\`\\.$`);
  for (const text of ['good\n', 'one text\r\nand another one\r\n', 'Привет, мир! Это хороший день.\n']) {
    expect(await failure({ 'a.txt': utf16(text) })).toMatch(told('a.txt', 'utf-16le'));
    expect(await failure({ 'a.txt': utf16(text).swap16() })).toMatch(told('a.txt', 'utf-16be'));
    expect(values(await collected({ 'a.txt': utf16(text) }, { encoding: 'utf-16le' }), 'text')).toEqual([text]);
  }
  expect(await failure({ 'a.csv': utf16('good,a\nbad,b\n') }, { header: false, columns: ['text', 'label'] })).toMatch(
    told('a.csv', 'utf-16le'),
  );
  for (const text of ['\0a text with a NUL at both ends\0', 'a\0b', '\0'.repeat(20)])
    expect(values(await collected({ 'a.txt': text }), 'text')).toEqual([text]);
});

test('JSON: values of several kinds in one column are reported', async () => {
  const values = ['null', '1', '2', '"1"', 'true', '[1, 2]', '{"a":1}'];
  const notes = async (column: string[], options?: object) =>
    (await collected({ 'a.jsonl': column.map((v) => `{"text":"t","v":${v}}\n`).join('') }, options)).log.filter((line) =>
      line.includes('several kinds'),
    );
  expect(await notes(values)).toEqual([
    '`v` contains values of several kinds, and is read as text: 1 (a.jsonl:2) is a number, "1" (a.jsonl:4) is a text, true (a.jsonl:5) is a boolean, [1, 2] (a.jsonl:6) is a list, {"a":1} (a.jsonl:7) is an object; set `types` to change that',
  ]);
  expect(await notes(['["x"]', '["y",1]'])).toEqual([
    '`v[]` contains values of several kinds, and is read as text: 1 (a.jsonl:2) is a number, "x" (a.jsonl:1) is a text',
  ]);
  expect(await notes(['"x"', 'null', '"1"'])).toEqual([]);
  expect(await notes(['1', '"1"'], { types: { v: 'text' } })).toEqual([]);
});

test('CSV: other delimiters, no header, columns of several files by name, gzip', async () => {
  expect(values(await collected({ 'a.csv': 'text;label\na,b;c\n' }), 'text')).toEqual(['a,b']);
  expect(values(await collected({ 'a.csv': 'text#label\na,b#c\n' }, { delimiter: '#' }), 'text')).toEqual(['a,b']);
  expect(values(await collected({ 'a.csv': 'a,b\n' }, { header: false, columns: ['label', 'text'] }), 'text')).toEqual(['b']);
  const union = await collected({ 'a.csv.gz': gzipSync('text,label\na,x\n'), 'b.csv': 'extra,Label,text\n7,y,b\n' });
  expect(union.rows.map(({ text, label, extra }) => [text, label, extra]).sort()).toEqual([
    ['a', 'x', null],
    ['b', 'y', 7],
  ]);
});

test('Parquet: files with other columns, in another order', async () => {
  const folder = temporary();
  const database = await Database.open();
  await database.run(`COPY (SELECT 'a' AS text, 1 AS n) TO ${literal(join(folder, 'a.parquet'))} (FORMAT parquet)`);
  await database.run(`COPY (SELECT [1, 2] AS list, 'b' AS text) TO ${literal(join(folder, 'b.parquet'))} (FORMAT parquet)`);
  database.close();
  const table = await collected({}, { select: { text: 'text', n: 'n', list: 'list', source: 'source' } }, [
    join(folder, 'a.parquet'),
    join(folder, 'b.parquet'),
  ]);
  expect(table.rows.map(({ text, n, list }) => [text, n, list]).sort()).toEqual([
    ['a', 1, null],
    ['b', null, [1, 2]],
  ]);
  expect(
    values(table, 'source')
      .map((source) => String(source).slice(-9))
      .sort(),
  ).toEqual(['a.parquet', 'b.parquet']);
  const whole = await collected({}, {}, [join(folder, 'a.parquet')]);
  expect(whole.columns).toEqual(['id VARCHAR', 'text VARCHAR', 'n INTEGER']);
  const again = await Database.open();
  await again.run(`COPY (SELECT 'a' AS text, 1 AS file_row_number) TO ${literal(join(folder, 'c.parquet'))} (FORMAT parquet)`);
  again.close();
  await expect(collected({}, {}, [join(folder, 'c.parquet')])).rejects.toThrow(/c\.parquet: the column name file_row_number is reserved/);
});

test('ids depend on the content alone: not on file names, their order, or the order of columns', async () => {
  const one = await collected({ 'a.csv': 'text,label\na,x\na,x\nb,y\n', 'b.csv': 'text,label\na,x\n' });
  const other = await collected({
    'z.jsonl': '{"label":"y","text":"b"}\n{"label":"x","text":"a"}',
    'c.jsonl': '{"text":"a","label":"x"}\n{"text":"a","label":"x"}',
  });
  expect(values(one, 'id')).toEqual(values(other, 'id'));
  expect(values(one, 'id').map((id) => String(id).replace(/^[0-9a-f]{16}/, ''))).toEqual(expect.arrayContaining(['', '', '-2', '-3']));
  const [a, b] = [await collected({ 'x/a.txt': 'same', 'x/b.txt': 'same' }), await collected({ 'x/d.txt': 'same', 'x/c.txt': 'same' })];
  expect(values(a, 'id')).toEqual(values(b, 'id'));
});

test('ids of the user: a column by option, or a unique `id`; one that is not unique is kept under another name', async () => {
  expect(values(await collected({ 'a.csv': 'key,text\nx,a\ny,b\n' }, { id: 'key' }), 'id')).toEqual(['x', 'y']);
  expect(values(await collected({ 'a.csv': 'id,text\n10,a\n9,b\n' }), 'id')).toEqual(['10', '9']);
  const clash = await collected({ 'a.csv': 'id,text\n3,a\n3,b\n' });
  expect(values(clash, 'original_id')).toEqual([3, 3]);
  expect(clash.warnings[0]).toContain('"3" occurs 2 times');
  expect(await failure({ 'a.csv': 'key,text\nx,a\nx,b\n' }, { id: 'key' })).toMatch(/^`key` cannot identify rows: "x" occurs 2 times/);
});
