import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { Database } from '../../../steps/ml/data/database.ts';
import { literal } from '../../../steps/ml/data/sql.ts';
import { type InputOptions, readInputs } from '../../../steps/serving/inputs.ts';
import { temporary } from '../rig.ts';

/** The texts of a file, and the error that ended it. */
async function read(name: string, content: string | Buffer, options?: InputOptions) {
  const file = join(temporary(), name);
  writeFileSync(file, content);
  const texts: string[] = [];
  try {
    for await (const some of readInputs(file, [{ name: 'text' }], options)) texts.push(...some.map(({ input }) => input.text!));
  } catch (error) {
    return { texts, mistake: (error as Error).message.replace(file, name) };
  }
  return { texts };
}

test('plain lines: an empty one counts, a carriage return before the newline is removed', async () => {
  expect(await read('a.txt', 'one\r\n\n  two \u2028 still two\n\n')).toEqual({ texts: ['one', '', '  two \u2028 still two', ''] });
  expect(await read('a.txt', 'no newline')).toEqual({ texts: ['no newline'] });
  expect(await read('a.txt', '')).toEqual({ texts: [] });
});

test('a column or a field that occurs twice is refused, because one of its two values would be ignored', async () => {
  expect(await read('a.csv', 'id,text,text\n1,one,two\n')).toEqual({ texts: [], mistake: 'a.csv:1: two columns have the name `text`' });
  expect(await read('a.jsonl', '{"text":"one"}\n{"text":"one","text":"two"}\n')).toEqual({
    texts: ['one'],
    mistake: 'a.jsonl:2: the field `text` occurs twice',
  });
});

test('the value of a group is a text, a number, a boolean or missing, and no plain line has one', async () => {
  const fields = [{ name: 'text' }, { name: 'source', group: true }];
  const groups = async (name: string, content: string | Buffer) => {
    const file = join(temporary(), name);
    writeFileSync(file, content);
    const found: (string | undefined)[] = [];
    for await (const some of readInputs(file, fields, { known: { source: ['from', 'source'] } }))
      found.push(...some.map(({ input }) => input.source));
    return found;
  };
  const lines = ['"web"', '7', 'true', 'null', '""'].map((value) => `{"text":"a","source":${value}}\n`);
  expect(await groups('a.jsonl', lines.join(''))).toEqual(['web', '7', 'true', undefined, '']);
  expect(await groups('a.csv', 'from,text\nweb,a\n,b\n"",c\n')).toEqual(['web', undefined, '']);
  await expect(groups('a.jsonl', '{"text":"a","source":["web"]}\n')).rejects.toThrow(
    '"source" is an array, not a string, a number, a boolean or null',
  );
  await expect(groups('a.jsonl', '{"text":"a"}\n')).rejects.toThrow('no field "from" and no "source": it has text');
  await expect(groups('a.txt', 'a text\n')).rejects.toThrow('contains plain lines, but an input has text and from');
  const parquet = join(temporary(), 'a.parquet');
  const database = await Database.open();
  await database.run(`COPY (SELECT * FROM (VALUES ('a', 7), ('b', NULL)) AS t(text, source)) TO ${literal(parquet)}`);
  database.close();
  const read: unknown[] = [];
  for await (const some of readInputs(parquet, fields)) read.push(...some.map(({ input }) => input));
  expect(read).toEqual([{ text: 'a', source: '7' }, { text: 'b' }]);
});

test('plain lines in UTF-16 without a byte order mark are rejected, never read with NULs', async () => {
  for (const [bytes, encoding] of [
    [Buffer.from('good\nbad\n', 'utf16le'), 'utf-16le'],
    [Buffer.from('good\r\nbad\r\n', 'utf16le').swap16(), 'utf-16be'],
  ] as const) {
    expect(await read('a.txt', bytes)).toEqual({
      texts: [],
      mistake: expect.stringMatching(/^a\.txt: is UTF-16 without a byte order mark: \d+ of its first \d+ bytes are NUL$/),
    });
    expect(await read('a.txt', bytes, { encoding })).toEqual({ texts: ['good', 'bad'] });
  }
  expect(await read('a.txt', 'a\0b\n')).toEqual({ texts: ['a\0b'] });
});

test('JSONL: by key, skipping blank lines', async () => {
  const lines = '{"text":"a\\n\\u2028"}\n\n{"id":2,"text":""}\r\n';
  expect(await read('a.jsonl', lines)).toEqual({ texts: ['a\n\u2028', ''] });
  expect(await read('a.ndjson', '{"body":"b"}', { column: 'body' })).toEqual({ texts: ['b'] });
});

test('CSV: quotes, newlines within them, any usual delimiter, a byte order mark', async () => {
  expect(await read('a.csv', 'id,text\n1,"a, ""b""\nc"\r\n2,\n3,d')).toEqual({ texts: ['a, "b"\nc', '', 'd'] });
  expect(await read('a.tsv', '\ufefftext\tid\nx\t1\n')).toEqual({ texts: ['x'] });
  expect(await read('a.csv', 'id;text\n1;x,y\n')).toEqual({ texts: ['x,y'] });
  expect(await read('a.csv', 'id,body\n1,x\n', { column: 'body' })).toEqual({ texts: ['x'] });
});

test('without an extension the content decides the format; --format overrides both', async () => {
  expect(await read('a', '{"text":"x"}\n')).toEqual({ texts: ['x'] });
  expect(await read('a', 'id,text\n1,x\n')).toEqual({ texts: ['x'] });
  expect(await read('a', 'a text, of words\n')).toEqual({ texts: ['a text, of words'] });
  expect(await read('a.csv', 'id,text\n', { format: 'lines' })).toEqual({ texts: ['id,text'] });
});

test('an error reports its line, after the texts before it', async () => {
  expect(await read('a.jsonl', '{"text":"x"}\n{"text":1}\n')).toEqual({
    texts: ['x'],
    mistake: 'a.jsonl:2: "text" is a number, not a string',
  });
  expect(await read('a.jsonl', '{"text":"x"}\n{"id":1,"body":"y"}\n')).toEqual({
    texts: ['x'],
    mistake: 'a.jsonl:2: no field "text": it has id, body',
  });
  expect(await read('a.jsonl', '\n[1]\n')).toEqual({
    texts: [],
    mistake: 'a.jsonl:2: expected an object such as {"text": "…"}, found an array',
  });
  expect((await read('a.jsonl', '{"text":"x"}\n{bad\n')).mistake).toMatch(/^a\.jsonl:2: not JSON: /);
  expect(await read('a.csv', 'id,text\n1,x\n2,y,z\n')).toEqual({
    texts: ['x'],
    mistake: 'a.csv:3: 3 fields instead of 2',
  });
  expect((await read('a.csv', 'id,text\n1,x\n2,"y\n')).mistake).toMatch(/^a\.csv:3: a quote is not closed/);
  expect(await read('a.csv', 'id,body\n1,x\n')).toEqual({ texts: [], mistake: 'a.csv:1: no column "text": it has id, body' });
  expect(await read('a.txt', Buffer.from('é\nx\n\xff\n', 'latin1'))).toEqual({ texts: [], mistake: 'a.txt:1: not UTF-8' });
  expect(await read('a.txt', Buffer.from([0x78, 10, 0xc3, 0xbc, 10, 0xff, 10]))).toEqual({
    texts: ['x', 'ü'],
    mistake: 'a.txt:3: not UTF-8',
  });
});

/** The rows of a file, with their copied columns. */
async function rows(name: string, content: string | Buffer, options?: InputOptions) {
  const file = join(temporary(), name);
  writeFileSync(file, content);
  const found = [];
  for await (const some of readInputs(file, [{ name: 'text' }], options)) found.push(...some);
  return found.map(({ input, kept }) => [input.text, JSON.stringify(kept)]);
}

test('predict reads what collect reads: dialects of CSV, JSON lists, gzip, encodings, Parquet', async () => {
  expect(await read('a.csv', 'sep=;\r\nid;text\r\n1;a,b\r\n')).toEqual({ texts: ['a,b'] });
  expect(await read('a.csv', 'id,text\r1,a\r2,b\r')).toEqual({ texts: ['a', 'b'] });
  expect(await read('a.csv', 'id, with commas;text\n1;a\n')).toEqual({ texts: ['a'] });
  expect(await read('a.tsv', 'id\ttext\n1\tsay "hi\n')).toEqual({ texts: ['say "hi'] });
  expect(await read('a.json', ' [{"text":"x"},\n{"text":"y"}]')).toEqual({ texts: ['x', 'y'] });
  expect(await read('a.csv.gz', gzipSync('id,text\n1,x\n'))).toEqual({ texts: ['x'] });
  expect(await read('a.csv', Buffer.from('\ufefftext\né\n', 'utf16le'), { encoding: 'utf-16' })).toEqual({ texts: ['é'] });
  expect(await read('a.txt', Buffer.from('\xe9\n', 'latin1'), { encoding: 'latin1' })).toEqual({ texts: ['é'] });
  expect(await read('a.csv', 'text\n\ufeffmark\n')).toEqual({ texts: ['\ufeffmark'] });
  expect((await read('a.txt', 'x', { encoding: 'utf-7' as never })).mistake).toBe('--encoding utf-7 is unknown');
  const file = join(temporary(), 'a.parquet');
  const database = await Database.open();
  await database.run(
    `COPY (SELECT 7 AS id, 'caf\\xC3\\xA9'::BLOB AS text UNION ALL SELECT 8, 'x'::BLOB) TO ${literal(file)} (FORMAT parquet)`,
  );
  database.close();
  const found = [];
  for await (const some of readInputs(file, [{ name: 'text' }])) found.push(...some);
  expect(found.map(({ input, kept }) => [input.text, kept.id])).toEqual([
    ['café', 7],
    ['x', 8],
  ]);
});

test('the column of the training data takes precedence over the name of the field', async () => {
  const known = { text: 'body' };
  expect(await read('a.csv', 'text,body\nx,y\n', { known })).toEqual({ texts: ['y'] });
  expect(await read('a.csv', 'text,other\nx,y\n', { known })).toEqual({ texts: ['x'] });
  expect(await read('a.jsonl', '{"body":"y"}\n{"text":"x"}\n', { known })).toEqual({ texts: ['y', 'x'] });
  expect(await read('a.csv', 'text,body\nx,y\n', { known, column: 'text' })).toEqual({ texts: ['x'] });
  expect((await read('a.csv', 'a,b\nx,y\n', { known })).mistake).toBe('a.csv:1: no column "body" and no "text": it has a, b');
});

test('copied columns do not change', async () => {
  expect(await rows('a.csv', 'id,text,n\n007,x,1.10\n,y,""\n')).toEqual([
    ['x', '{"id":"007"}'],
    ['y', '{"id":null}'],
  ]);
  expect(await rows('a.csv', 'id,text,n\n007,x,1.10\n', { columns: ['n', 'text'] })).toEqual([['x', '{"n":"1.10","text":"x"}']]);
  expect(await rows('a.jsonl', '{"id":12345678901234567890,"text":"x"}\n{"text":"y"}\n')).toEqual([
    ['x', '{"id":12345678901234567890}'],
    ['y', '{}'],
  ]);
  expect(await rows('a.jsonl', '{"text":"x","n":[1.10,{"e":1e5}]}\n{"text":"y"}\n', { columns: ['n'] })).toEqual([
    ['x', '{"n":[1.10,{"e":1e5}]}'],
    ['y', '{"n":null}'],
  ]);
  await expect(rows('a.csv', 'id,text\n1,x\n', { columns: ['label'] })).rejects.toThrow('a.csv:1: no column "label": it has id, text');
});

test('a file that cannot be read', async () => {
  const folder = temporary();
  await expect(readInputs(folder, [{ name: 'text' }]).next()).rejects.toThrow('is a folder');
  await expect(readInputs(join(folder, 'none'), [{ name: 'text' }]).next()).rejects.toThrow('does not exist');
});

test('characters across the borders of chunks', async () => {
  const lines = Array.from({ length: 60_000 }, (_, i) => `${'ü€😀'.repeat(i % 7)}${i}`);
  expect(await read('a.txt', lines.join('\n'))).toEqual({ texts: lines });
  const long = '😀'.repeat(400_000);
  expect(await read('a.csv', `id,text\n1,"${long}"\n`)).toEqual({ texts: [long] });
});

test('lists of words are read from Parquet as from JSONL, and an item that is not a word is reported', async () => {
  const fields = [{ name: 'text', words: true }];
  const known = { text: 'tokens' };
  const folder = temporary();
  const readFile = async (name: string) => {
    const inputs: unknown[] = [];
    try {
      for await (const some of readInputs(join(folder, name), fields, { known })) inputs.push(...some.map(({ input }) => input));
    } catch (error) {
      inputs.push((error as Error).message.replace(`${folder}/`, ''));
    }
    return inputs;
  };
  const lines = ['{"tokens":["a","b c"]}', '{"tokens":[]}', '{"tokens":["a",null,"Bob"]}'];
  writeFileSync(join(folder, 'a.jsonl'), lines.join('\n'));
  const database = await Database.open();
  const write = (name: string, sql: string) => database.run(`COPY (${sql}) TO ${literal(join(folder, name))} (FORMAT parquet)`);
  await write('a.parquet', "SELECT unnest([['a', 'b c'], [], ['a', NULL, 'Bob']]) AS tokens");
  await write('bytes.parquet', "SELECT ['caf\\xC3\\xA9'::BLOB] AS tokens");
  await write('null.parquet', 'SELECT NULL::VARCHAR[] AS tokens');
  await write('numbers.parquet', 'SELECT [1] AS tokens');
  database.close();
  const read = [
    { text: 'a b c', words: '["a","b c"]' },
    { text: '', words: '[]' },
  ];
  expect(await readFile('a.jsonl')).toEqual([...read, 'a.jsonl:3: item 2 of "tokens" is null, not a string']);
  expect(await readFile('a.parquet')).toEqual([...read, 'a.parquet: row 3: item 2 of "tokens" is null, not a string']);
  expect(await readFile('bytes.parquet')).toEqual([{ text: 'café', words: '["café"]' }]);
  expect(await readFile('null.parquet')).toEqual(['null.parquet: row 1: "tokens" is null, not a string']);
  expect(await readFile('numbers.parquet')).toEqual([
    'numbers.parquet: the column "tokens" contains INTEGER[], not texts or lists of words',
  ]);
});

test('a NUL in a column name', async () => {
  expect((await read('a.csv', Buffer.from('text,id\na,1\n', 'utf16le'))).mistake).toBe(
    'a.csv:1: the column name "t\\u0000e\\u0000x\\u0000t\\u0000" contains a NUL character',
  );
});

test('prompts are read like texts', async () => {
  const folder = temporary();
  const prompts = async (name: string, content: string | Buffer, options?: InputOptions) => {
    writeFileSync(join(folder, name), content);
    const found = [];
    for await (const some of readInputs(join(folder, name), [{ name: 'prompt' }], options)) found.push(...some.map(({ input }) => input));
    return found;
  };
  const one = [{ prompt: 'é, x' }];
  expect(await prompts('a.jsonl', '{"prompt":"é, x"}\n')).toEqual(one);
  expect(await prompts('a.txt', '{"prompt":"é, x"}\n')).toEqual(one);
  expect(await prompts('a.txt', 'é, x\n')).toEqual(one);
  expect(await prompts('a.csv', 'id,prompt\n1,"é, x"\n')).toEqual(one);
  expect(await prompts('a.csv', 'id;body\n1;é, x\n', { column: 'body' })).toEqual(one);
  expect(await prompts('b.jsonl', Buffer.from('{"prompt":"é, x"}', 'utf16le'), { encoding: 'utf-16le' })).toEqual(one);
});
