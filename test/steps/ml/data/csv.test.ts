/** The CSV dialects and encodings of spreadsheets and older programs. */
import { expect, test } from 'vitest';
import { openCsv } from '../../../../steps/ml/data/csv.ts';
import { collected, failure, values } from '../../collect/files.ts';

/** The records of a file that arrives in chunks of `size` bytes. */
async function records(content: string | Buffer, { size = 1 << 20, ...options } = {}) {
  const bytes = Buffer.from(content);
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const csv = await openCsv(chunks(), { source: 'a.csv', ...options });
  const found = [];
  for await (const group of csv.records) found.push(...group);
  return { delimiter: csv.delimiter, records: found };
}

const fields = async (content: string, options = {}) =>
  (await records(content, options)).records.map((record) => record.problem ?? ('fields' in record && record.fields));

test.each([
  ['commas in a header that semicolons part', 'text, in words;label\na, b;c\nd;e\n', ';'],
  ['commas in a header that tabs part', 'a,b\tlabel\nx\ty\n', '\t'],
  ['a bar', 'a|b\n1,5|2,5\n', '|'],
  ['decimal commas', 'price;qty\n1,5;2\n2,5;3\n', ';'],
  ['semicolons in quotes', '"a;b",c\n"x;y",z\n', ','],
  ['semicolons in texts', 'text,label;x\na;b,c\nd,e\nf;g;h,i\n', ','],
  ['one column', 'text\nhello\n', ','],
  ['nothing', '', ','],
])('the delimiter is the one that most records agree on: %s', async (_, content, delimiter) => {
  expect((await records(content)).delimiter).toBe(delimiter);
  expect((await records(content, { size: 1 })).delimiter).toBe(delimiter);
});

test('if two delimiters are equally likely, none is guessed', async () => {
  const ambiguous = { 'a.csv': 'name;price,eur\nx;1,5\ny;2,5\n' };
  expect(await failure(ambiguous)).toBe(
    'a.csv: the header can be separated by "," or by ";", and the rows do not decide → Set `delimiter`.',
  );
  expect((await collected(ambiguous, { delimiter: ';' })).columns).toContain('price,eur VARCHAR');
});

test('a first line sep=; sets the delimiter, as in Excel', async () => {
  for (const ends of ['\n', '\r\n'])
    expect(await fields(`\ufeffsep=;${ends}text;label${ends}a,b;c${ends}`)).toEqual([
      ['text', 'label'],
      ['a,b', 'c'],
    ]);
  expect((await records('sep=\t\na\tb\n1\t2\n')).delimiter).toBe('\t');
  expect((await records('sep=;\na;b\n1;2\nbad\n')).records.map(({ line }) => line)).toEqual([2, 3, 4]);
  expect(values(await collected({ 'a.csv': 'sep=;\r\ntext;label\r\na,b;c\r\n' }), 'text')).toEqual(['a,b']);
});

test('lines that end with a carriage return alone', async () => {
  const expected = [
    ['text', 'label'],
    ['a', 'x\ry'],
    ['b\nc', null],
    ['d', 'e'],
  ];
  const content = 'text,label\ra,"x\ry"\r"b\nc",\r\rd,e';
  for (const size of [1, 3, 1000]) expect(await fields(content, { size })).toEqual(expected);
  expect((await records(content)).records.map(({ line }) => line)).toEqual([1, 2, 4, 7]);
  expect(await fields('a,b\n1\r2,3\n')).toEqual([
    ['a', 'b'],
    ['1\r2', '3'],
  ]);
  const table = await collected({ 'a.csv': 'text,label\ra,x\rbad\rb,y\r' }, { max_rejected: 1 });
  expect(values(table, 'text').sort()).toEqual(['a', 'b']);
  expect(table.rejected).toEqual(['a.csv:3 1 field instead of 2']);
});

test('encodings: bytes become the right characters', async () => {
  const written = 'text,label\r\ncafé – ok,ü\r\n';
  const windows = Buffer.from(written.replace('–', '\x96'), 'latin1');
  expect(values(await collected({ 'a.csv': windows }, { encoding: 'windows-1252' }), 'text')).toEqual(['café – ok']);
  expect(values(await collected({ 'a.csv': windows }, { encoding: 'latin1' }), 'text')).toEqual(['café \x96 ok']);
  for (const [encoding, bytes] of [
    ['utf-16', Buffer.from(`\ufeff${written}`, 'utf16le')],
    ['utf-16', Buffer.from(`\ufeff${written}`, 'utf16le').swap16()],
    ['utf-16le', Buffer.from(written, 'utf16le')],
    ['utf-16be', Buffer.from(written, 'utf16le').swap16()],
  ] as const)
    expect(values(await collected({ 'a.csv': bytes }, { encoding }), 'text')).toEqual(['café – ok']);
  const excel = Buffer.from('\ufefftext\tlabel\r\n"a\tb"\t漢😀\r\n', 'utf16le');
  expect(values(await collected({ 'Unicode Text.txt': excel }, { encoding: 'utf-16', format: 'tsv' }), 'label')).toEqual(['漢😀']);
  expect(values(await collected({ 'a.jsonl': Buffer.from('{"text":"\xe9"}', 'latin1') }, { encoding: 'latin1' }), 'text')).toEqual(['é']);
  expect(values(await collected({ 'a.txt': Buffer.from('\xe9', 'latin1') }, { encoding: 'latin1' }), 'text')).toEqual(['é']);
  const japanese = Buffer.from([0x93, 0xfa, 0x96, 0x7b]);
  expect(values(await collected({ 'a.csv': Buffer.concat([Buffer.from('text\n'), japanese]) }, { encoding: 'shift_jis' }), 'text')).toEqual(
    ['日本'],
  );
});

test('every byte of windows-1252 is the character that Python reads, and the five undefined ones are rejected', async () => {
  const bytes = Buffer.from([...Array(128).keys()].map((i) => i + 128));
  const rows = [...bytes].map((byte) => Buffer.concat([Buffer.from('x'), Buffer.from([byte, 10])]));
  const table = await collected(
    { 'a.csv': Buffer.concat([Buffer.from('text\n'), ...rows]) },
    { encoding: 'windows-1252', max_rejected: 1 },
  );
  // ''.join(bytes([b]).decode('cp1252', 'ignore') for b in range(128, 256))
  const python =
    '€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ\u00a0¡¢£¤¥¦§¨©ª«¬\u00ad®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ';
  expect(values(table, 'text').sort()).toEqual([...python].map((character) => `x${character}`).sort());
  expect(table.rejected).toEqual([0x81, 0x8d, 0x8f, 0x90, 0x9d].map((byte) => `a.csv:${byte - 126} not WINDOWS-1252`));
});

test('an encoding that contradicts the file is rejected', async () => {
  expect(await failure({ 'a.csv': '\ufefftext\né\n' }, { encoding: 'latin1' })).toBe(
    'a.csv: its byte order mark is that of UTF-8, not latin1 → Set `encoding: utf-8`.',
  );
  expect(await failure({ 'a.csv': Buffer.from('text\na\n', 'utf16le') }, { encoding: 'utf-16' })).toBe(
    'a.csv: has no byte order mark, so the byte order is unknown → Set `encoding: utf-16le` or `utf-16be`.',
  );
  const half = Buffer.from('\ufefftext\nok\nhalf \ud83d pair\n', 'utf16le');
  expect((await collected({ 'a.csv': half }, { encoding: 'utf-16', max_rejected: 1 })).rejected).toEqual(['a.csv:3 not UTF-16']);
});

test('a field of 16 MB is read in linear time', async () => {
  const long = `a "quoted" text${' of lines\n'.repeat(30)}`.repeat(56_000);
  const start = process.cpuUsage();
  const [, record] = await fields(`text,label\n"${long.replaceAll('"', '""')}",x\n`, { size: 1 << 16 });
  expect((record as string[])[0] === long).toBe(true);
  expect(process.cpuUsage(start).user / 1e6).toBeLessThan(4);
}, 120_000);

test('records do not depend on the size of chunks', async () => {
  const content = '\ufeffa,b\r\n"x ""y""\r\nz",\r\n\r\n1,"never closed\nc,d\n';
  const whole = (await records(content)).records;
  for (const size of [1, 2, 3, 5, 7, 11]) expect((await records(content, { size })).records).toEqual(whole);
});

test('columns that some files lack are reported', async () => {
  const table = await collected({ 'a.csv': 'text,label,extra\na,x,1\n', 'b.csv': 'text,label\nb,y\n' });
  expect(table.log[0]).toBe('the column `extra` is missing in 1 of 2 files, whose rows have null there: b.csv');
});
