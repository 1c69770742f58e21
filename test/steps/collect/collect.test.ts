import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import definition from '../../../steps/collect/step.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { literal } from '../../../steps/ml/data/sql.ts';
import { preview } from '../../../steps/preview/preview.ts';
import { temporary } from '../rig.ts';
import { collected, type Files, failure, values, written } from './files.ts';

const all = { max_rejected: 1 };

test('CSV: byte order mark, CRLF, quotes, line breaks in fields, empty lines', async () => {
  const table = await collected({ 'a.csv': '\ufefftext,label\r\n"he said ""hi""\r\nthere",spam\r\n\r\nplain,ham' });
  expect(table.rows.map(({ text, label }) => [text, label]).sort()).toEqual([
    ['he said "hi"\r\nthere', 'spam'],
    ['plain', 'ham'],
  ]);
});

test('CSV: a column has a type only if all values have it and lose nothing', async () => {
  const table = await collected({ 'a.csv': 'text,whole,number,yes,code,version,empty\na,1,1.5,true,007,1,\nb,-20,2.0,false,1,,""\n' });
  expect(table.columns).toEqual([
    'id VARCHAR',
    'text VARCHAR',
    'whole BIGINT',
    'number DOUBLE',
    'yes BOOLEAN',
    'code VARCHAR',
    'version BIGINT',
    'empty VARCHAR',
  ]);
  expect(table.rows.find(({ text }) => text === 'a')).toMatchObject({ code: '007', empty: null });
  expect(table.rows.find(({ text }) => text === 'b')).toMatchObject({ version: null, empty: '' });
});

test('CSV: malformed records are rejected, and reading continues at the next line', async () => {
  const table = await collected({ 'a.csv': 'text,label\na,b\nc\nd,e,f\n"open,ham\ng,h\n"x"y,z\nlast,one\n"never closed,x\n' }, all);
  expect(values(table, 'text').sort()).toEqual(['a', 'g', 'last']);
  expect(table.rejected).toEqual([
    'a.csv:3 1 field instead of 2',
    'a.csv:4 3 fields instead of 2',
    'a.csv:5 text follows a closing quote',
    'a.csv:7 text follows a closing quote',
    'a.csv:9 a quote is not closed',
  ]);
  expect(table.card).toMatchObject({ rows: 3, read: 8, dropped: { rejected: 5 } });
  expect(table.warnings).toHaveLength(1);
});

test('TSV: quotes are literal unless a field is properly quoted', async () => {
  const table = await collected({ 'a.tsv': 'label\ttext\nham\t"Hello, he said\nspam\t"quoted\ttab"\nham\tit is 5" long\n' });
  expect(values(table, 'text').sort()).toEqual(['"Hello, he said', 'it is 5" long', 'quoted\ttab']);
});

test.each<[string, Files]>([
  ['a list', { 'a.json': ' [ {"text":"a[\\"]}"},\n {"text":"b"} ]\n' }],
  ['an object a file', { 'a.json': '{\n  "text": "a[\\"]}"\n}\n', 'b.json': '\ufeff{"text":"b"}' }],
  ['lines in .json', { 'a.json': '{"text":"a[\\"]}"}\n\n{"text":"b"}' }],
  ['lines', { 'a.jsonl': '{"text":"a[\\"]}"}\r\n{"text":"b"}\n' }],
])('JSON: %s', async (_, files) => {
  expect(values(await collected(files), 'text').sort()).toEqual(['a["]}', 'b']);
});

test('JSON: numbers keep their digits, fields of objects can be selected, mixed columns are texts', async () => {
  const table = await collected(
    {
      'a.jsonl': [
        '{"text":"a","n":9007199254740993,"big":18446744073709551615,"m":{"k":[{"x":1}]},"label":1,"date":"2020-01-01"}',
        '{"text":"b","n":-1,"big":1,"label":"one","list":["x","y"],"nothing":null}',
      ].join('\n'),
    },
    { select: { text: 'text', n: 'n', big: 'big', x: 'm.k[1].x', label: 'label', date: 'date', first: 'list[1]', nothing: 'nothing' } },
  );
  expect(table.columns).toContain('n BIGINT');
  expect(table.rows.find(({ text }) => text === 'a')).toMatchObject({
    n: '9007199254740993',
    big: '18446744073709551615',
    x: 1,
    label: '1',
    date: '2020-01-01',
  });
  expect(table.rows.find(({ text }) => text === 'b')).toMatchObject({ n: -1, x: null, label: 'one', first: 'x' });
});

test('JSON: lines that are not objects are rejected', async () => {
  const lines = ['{"text":"a"}', '{"text":', '[1]', '"x"', '{"text":"\\ud800"}', '{"text":null}', '{"other":1}', '{"text":"b",}', 'NaN'];
  const table = await collected(
    { 'a.jsonl': Buffer.concat([Buffer.from(`${lines.join('\n')}\n`), Buffer.from('{"text":"caf\xe9"}', 'latin1')]) },
    all,
  );
  expect(values(table, 'text')).toEqual(['a']);
  expect(table.rejected.map((line) => line.replace(/(not JSON).*/, '$1'))).toEqual([
    'a.jsonl:2 not JSON',
    'a.jsonl:3 not an object',
    'a.jsonl:4 not an object',
    'a.jsonl:5 half a surrogate pair',
    'a.jsonl:6 `text` is null',
    'a.jsonl:7 `text` is null',
    'a.jsonl:8 not JSON',
    'a.jsonl:9 not JSON',
    'a.jsonl:10 not UTF-8',
  ]);
});

test('JSON: a text about escapes is not an invalid character', async () => {
  const texts = ['"\\ud83d" is half of 😀', 'C:\\udder', '\\\\ud800'];
  const table = await collected({ 'a.jsonl': texts.map((text) => `${JSON.stringify({ text })}\n`).join('') }, all);
  expect(values(table, 'text').sort()).toEqual(texts.sort());
  expect(table.rejected).toEqual([]);
});

test('texts: one row per file, also for a whole folder', async () => {
  const [first] = written({
    'pos/a.txt': 'good',
    'neg/deep/b.txt': '\ufeffbad\n',
    'neg/.hidden.txt': 'x',
    'neg/c.txt': new Uint8Array([255]),
  });
  const table = await collected({}, { ...all, select: { text: 'text', label: 'folder', path: 'path' } }, [join(first!, '../..')]);
  expect(table.rows.map(({ text, label }) => [text, label]).sort()).toEqual([
    ['bad\n', 'deep'],
    ['good', 'pos'],
  ]);
  expect(table.rejected).toEqual(['neg/c.txt:1 not UTF-8']);
});

test('columns may have any name', async () => {
  const header = ['text', 'n', 'hash', 'row', 'source', 'value', 'select', 'a b', 'a"b', 'ü', 'data', 'raw', 'lines'];
  const table = await collected({
    'a.csv': `${header.map((name) => `"${name.replaceAll('"', '""')}"`).join(',')}\n${header.map((_, i) => `v${i}`).join(',')}\n`,
  });
  expect(table.rows).toEqual([{ id: expect.any(String), ...Object.fromEntries(header.map((name, i) => [name, `v${i}`])) }]);
  const json = await collected({ 'a.jsonl': JSON.stringify(table.rows[0]) });
  expect(json.rows).toEqual(table.rows);
});

test('select and where: SQL over the columns and `source`; the result does not depend on the number of threads', async () => {
  const files = { 'x/a.csv': 'text,label,n\na,0,1\nb,1,2\n', 'y/b.csv': 'text,label,n\nc,1,3\n' };
  const table = await collected(files, {
    select: {
      text: 'upper(text) -- a comment',
      label: "case when label = 1 then 'yes' else 'no' end",
      from: "split_part(source, '/', -2)",
    },
    where: 'n >= 2',
  });
  expect(table.columns).toEqual(['id VARCHAR', 'from VARCHAR', 'label VARCHAR', 'text VARCHAR']);
  expect(table.rows.map(({ text, label, from }) => [text, label, from]).sort()).toEqual([
    ['B', 'yes', 'x'],
    ['C', 'yes', 'y'],
  ]);
  expect(table.card).toMatchObject({ read: 3, rows: 2, dropped: { where: 1 }, labels: { yes: 2 } });
  const sample = () =>
    collected({ 'a.csv': `text\n${Array.from({ length: 5000 }, (_, i) => `t${i}`).join('\n')}\n` }, { where: 'random() < 0.5' });
  expect(values(await sample(), 'text')).toEqual(values(await sample(), 'text'));
});

test.each<[string, Files, object, string]>([
  [
    'too many bad rows',
    { 'a.csv': 'text,label\na,b\nc\nd\n' },
    {},
    'a.csv:3: 1 field instead of 2; 2 of 3 rows are bad, more than 1% → Also a.csv:4: 1 field instead of 2. Correct the rows, or allow more with `max_rejected`.',
  ],
  [
    'not UTF-8',
    { 'a.csv': Buffer.from('text\ncaf\xe9\n', 'latin1') },
    {},
    'a.csv:2: not UTF-8; that is 1 bad row of 1, more than 1% → Correct the rows, or allow more with `max_rejected`. If the file is not UTF-8, set `encoding`, such as latin1 or windows-1252.',
  ],
  [
    'UTF-16',
    { 'a.csv': Buffer.from('\ufefftext\na\n', 'utf16le') },
    {},
    'a.csv: is UTF-16, not UTF-8 → Set `encoding: utf-16` (for predict: `--encoding utf-16`).',
  ],
  [
    'nothing',
    { 'a.jsonl': '', 'b.jsonl': '\n' },
    {},
    'a.jsonl and 1 other file: no rows → An empty file has nothing to learn from: check `files`.',
  ],
  ['only a header', { 'a.csv': 'text,label\n' }, {}, 'a.csv: no rows → An empty file has nothing to learn from: check `files`.'],
  [
    'several formats',
    { 'a.csv': 'text\na\n', 'b.jsonl': '{}' },
    {},
    'the files have different formats: a.csv is csv, b.jsonl is jsonl → Read one format per collect step, or set `format` if all are the same.',
  ],
  [
    'an unknown format',
    { 'a.foo': 'x' },
    {},
    'a.foo: cannot derive the format from the extension .foo → Set `format`: csv, tsv, json, jsonl, parquet, text or mail.',
  ],
  ['two columns of one name', { 'a.csv': 'text,text\na,b\n' }, {}, 'a.csv:1: two columns have the name `text` → Rename one of them.'],
  ['a list that does not end', { 'a.json': '[{"text":"a"},\n{"text":"b"' }, {}, 'a.json:2: not JSON: the list does not end'],
  [
    'a list with a broken element',
    { 'a.json': '[{"text":"a"},\n{"text":b}]' },
    {},
    `a.json:2: not JSON: Unexpected token 'b', "{"text":b}" is not valid JSON`,
  ],
  ['something after a list', { 'a.json': '[{"text":"a"}]\nx' }, {}, 'a.json:2: not JSON: more follows after the list'],
  [
    'no Parquet',
    { 'a.parquet': 'text' },
    {},
    "a.parquet: cannot be read as Parquet: Invalid Input Error: File 'a.parquet' too small to be a Parquet file",
  ],
  ['no gzip', { 'a.csv.gz': 'text\na\n' }, {}, 'a.csv.gz: not a valid gzip file (incorrect header check)'],
  [
    'an unknown column in SQL',
    { 'a.csv': 'text,label\na,b\n' },
    { select: { text: 'text', label: 'lable' } },
    'select.label: lable: Binder Error: Referenced column "lable" not found in FROM clause! → The columns are `text`, `label`, `source`.',
  ],
  [
    'a column whose name SQL takes for more than a name',
    { 'a.csv': 'text,Stars (1-5)\na,5\n' },
    { select: { text: 'text', label: 'Stars (1-5)' } },
    'select.label: Stars (1-5): Catalog Error: Scalar Function with name stars does not exist! → The columns are `text`, `Stars (1-5)`, `source`. In SQL, `Stars (1-5)` needs double quotes: \'"Stars (1-5)"\'.',
  ],
  [
    'a column that is a word of SQL',
    { 'a.csv': 'text,group\na,b\n' },
    { select: { text: 'text', label: 'group' } },
    'select.label: group: Parser Error: syntax error at or near "group" → The columns are `text`, `group`, `source`. In SQL, `group` needs double quotes: \'"group"\'.',
  ],
  [
    'SQL that fails on a row',
    { 'a.csv': 'text,label\na,b\n' },
    { where: 'label::int = 3' },
    "where: label::int = 3: Conversion Error: Could not convert string 'b' to INT32 when casting from source column label → The columns are `text`, `label`, `source`.",
  ],
  [
    'SQL that reads other files',
    { 'a.csv': 'text\na\n' },
    { select: { text: "(SELECT max(content) FROM read_text('/etc/passwd'))" } },
    'select.text: (SELECT max(content) FROM read_text(\'/etc/passwd\')): Permission Error: Cannot access file "/etc/passwd" - file system operations are disabled by configuration → The columns are `text`, `source`.',
  ],
  [
    'an aggregate',
    { 'a.csv': 'text\na\n' },
    { select: { text: 'count(*)' } },
    'select: an expression is evaluated for each row, so it cannot aggregate rows as count(*) does → The columns are `text`, `source`.',
  ],
  [
    'no row kept',
    { 'a.csv': 'text\na\n' },
    { where: "text = 'x'" },
    "`where` keeps none of the 1 rows: text = 'x' → If a table without rows is a valid result, set `allow_empty: true`.",
  ],
  [
    'a keyword that is a column, in an expression',
    { 'a.csv': 'text,group\na,b\n' },
    { where: "group = 'b'" },
    'where: group = \'b\': Parser Error: syntax error at or near "group" → The columns are `text`, `group`, `source`. In SQL, `group` needs double quotes: \'"group"\'.',
  ],
  [
    'a field without a name',
    { 'a.jsonl': '{"text":"a"}\n{"text":"a","":1}\n' },
    {},
    'a.jsonl:2: a field has an empty name; that is 1 bad row of 2, more than 1% → Correct the rows, or allow more with `max_rejected`.',
  ],
  [
    'a column to decode that is not there',
    { 'a.csv': 'text\na\n' },
    { decode: { body: 'mail' } },
    'the data have no column `body` → The columns are `text`. To make another, use `select` of collect: `select: { body: … }`.',
  ],
  [
    'CSV options for JSON',
    { 'a.jsonl': '{"text":"a"}' },
    { delimiter: ';' },
    '`delimiter` does not apply to a.jsonl: its format is jsonl → Remove `delimiter`.',
  ],
])('fails with one clear message: %s', async (_, files, options, message) => {
  expect(await failure(files, options)).toBe(message);
});

test('contradictory options', () => {
  const problems = (options: object) =>
    definition.check!({ format: 'auto', header: true, max_rejected: 0.01, ...options } as never).map(
      ({ option, message }) => `${option}: ${message}`,
    );
  expect(problems({})).toEqual([]);
  expect(problems({ header: false })).toEqual(['header: `header: false` needs `columns`, the names of the columns']);
  expect(problems({ columns: ['a'] })).toEqual(['columns: `columns` is for files without a header: set `header: false`']);
  expect(problems({ format: 'tsv', delimiter: ';' })).toEqual(['delimiter: `delimiter` applies to CSV, not to tsv']);
  expect(problems({ delimiter: '"' })).toHaveLength(1);
  expect(problems({ select: { text: 'a' }, id: 'key' })).toEqual(['id: `select` makes no column `key`']);
});

test('a NUL in a column name is reported with its place, and with the advice that the file may be UTF-16', async () => {
  const csv = 'text,label\na,b\n';
  expect(await failure({ 'a.csv': Buffer.from(csv, 'utf16le') })).toBe(
    'a.csv:1: the column name "t\\u0000e\\u0000x\\u0000t\\u0000" contains a NUL character → The file may be UTF-16: set `encoding: utf-16le`.',
  );
  expect(await failure({ 'a.csv': Buffer.from(csv, 'utf16le').swap16() })).toMatch('set `encoding: utf-16be`');
  expect(await failure({ 'a.csv': 'te\0xt\na\n' })).toMatch('a.csv:1: the column name "te\\u0000xt" contains a NUL character');
  expect(await failure({ 'a.jsonl': '{"te\\u0000xt":"a"}\n' })).toMatch(
    'a.jsonl:1: the column name "te\\u0000xt" contains a NUL character',
  );
  expect(await failure({ 'a.jsonl': Buffer.from('{"text":"a"}\n', 'utf16le') })).toMatch(/a\.jsonl:1: not JSON.*`encoding: utf-16le`/s);
  const file = join(temporary(), 'a.parquet');
  const database = await Database.open();
  await database.run(`COPY (SELECT 'a' AS teQxt) TO ${literal(file)} (FORMAT parquet)`);
  database.close();
  const bytes = Buffer.from(readFileSync(file).toString('latin1').replaceAll('teQxt', 'te\0xt'), 'latin1');
  expect(await failure({ 'a.parquet': bytes })).toBe(
    'a.parquet: the column name "te\\u0000xt" contains a NUL character → Rename that column.',
  );
});

test('if every row is rejected, the first reasons are reported', async () => {
  expect(await failure({ 'a.jsonl': '[1]\n{"text":null}\n' }, all)).toBe(
    'a.jsonl:1: not an object; all 2 rows are bad, so no row remains → Also a.jsonl:2: `text` is null. Correct the rows.',
  );
});

test('`allow_empty` makes a table without rows, which can be collected and shown', async () => {
  const table = await collected({ 'a.csv': 'text,label\na,b\n' }, { where: "label = 'c'", allow_empty: true });
  expect(table).toMatchObject({
    rows: [],
    columns: ['id VARCHAR', 'text VARCHAR', 'label VARCHAR'],
    card: { rows: 0, dropped: { where: 1 } },
  });
  const again = await collected({}, { allow_empty: true }, [table.folder]);
  expect(again).toMatchObject({ rows: [], columns: table.columns });
  expect((await preview(table.folder, 5)).length).toBeGreaterThan(0);
  await expect(collected({ 'a.csv': 'text\n' })).rejects.toThrow('no rows');
});

test('the log has no labels of a column of fractions', async () => {
  const table = await collected({ 'a.csv': 'text,label\na,1.5\nb,2.25\n' });
  expect(table.log.filter((line) => line.startsWith('labels'))).toEqual([]);
});

test('the log quotes labels that need it, and distinguishes a missing label from the text null', async () => {
  const labels = ['', '  ', 'spam', 'so, so', 'null', 'a\tb', 'so so', 'grade 3', '\u200b'];
  const rows = [...labels, null].map((label, i) => `${JSON.stringify({ text: `t${i}`, label })}\n`);
  const table = await collected({ 'a.jsonl': rows.join('') }, { required: [] });
  expect(table.card).toMatchObject({ labels: Object.fromEntries(labels.map((label) => [label, 1])), unlabelled: 1 });
  expect(table.log.find((line) => line.startsWith('labels'))).toBe(
    'labels: "" 1, "  " 1, "a\\tb" 1, "grade 3" 1, null 1, so so 1, "so, so" 1, spam 1, "\\u200b" 1; 1 row without a label',
  );
});
