/** Texts and labels reach the table exactly, whatever characters they contain and whichever format they come in. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Database, texts } from '../../../steps/ml/data/database.ts';
import { printed } from '../../../steps/ml/data/json-rows.ts';
import { literal } from '../../../steps/ml/data/sql.ts';
import { tableOf } from '../../../steps/ml/data/table.ts';
import { temporary } from '../rig.ts';
import { type Collected, collected, failure, values } from './files.ts';

/** Characters of every class that software is known to drop, trim, normalize or escape. */
const CLASSES = [
  ['a', 'Z', '0', ' ', '  '],
  ['\u0000', '\u0001', '\u0007', '\u001b', '\u001c', '\u001f', '\u007f'],
  ['\t', '\n', '\r', '\r\n', '\v', '\f'],
  ['"', '""', "'", ',', ';', '|', '\\', '\\n', '\\u0041', '{', '[', ':', '#', '%'],
  ['\ufeff', '\ufffe', '\uffff', '\ufffd', '\u{10ffff}', '\u{1fffe}'],
  ['\u0085', '\u00a0', '\u1680', '\u2003', '\u2028', '\u2029', '\u202f', '\u3000'],
  ['\u00ad', '\u200b', '\u200d', '\u200e', '\u202e', '\u2060', '\u{e0001}', '\ufe0f'],
  ['é', 'e\u0301', '\u0301', 'ß', 'İ', 'ﬁ', 'Å', '\u212b'],
  ['ü', '漢', 'か\u3099', 'ا', 'א', 'ก', '한', '\u1112\u1161\u11ab'],
  ['😀', '👩‍👩‍👧', '𝒳', '\u{20000}', '\ue000', '\u{f0000}', '🇩🇪'],
  ['null', 'NA', 'NaN', 'nan', 'None', 'true', '1.10', '1e5', '-0', '0x1F', '=1+1', '00501', 'inf'],
];

/** Texts that begin with, end with and consist of each character, and mixtures; the same ones in each run. */
function manyTexts(): string[] {
  let state = 7;
  const draw = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const all = CLASSES.flat();
  const mixtures = Array.from({ length: 600 }, () => Array.from({ length: 1 + draw(20) }, () => all[draw(all.length)]!).join(''));
  return [...new Set([...all.flatMap((one) => [one, `${one}x`, `x${one}`, `${one}${'long '.repeat(4)}${one}`]), ...mixtures])];
}

/** The bytes of a column's texts in DuckDB, without conversion by JavaScript. */
async function bytesOf(folder: string, column: string): Promise<string[]> {
  const database = await Database.open();
  try {
    const rows = await database.rows<{ bytes: string }>(`SELECT hex(encode(${column})) AS bytes FROM ${tableOf(folder)}`);
    return rows.map(({ bytes }) => bytes);
  } finally {
    database.close();
  }
}

async function expectLetters(table: Collected, expected: string[]): Promise<void> {
  for (const column of ['text', 'label']) {
    const bytes = await bytesOf(table.folder, column);
    expect(bytes.sort()).toEqual(expected.map((text) => Buffer.from(text).toString('hex').toUpperCase()).sort());
    expect(values(table, column).sort()).toEqual([...expected].sort());
  }
  expect(table.rejected).toEqual([]);
}

const inQuotes = (text: string) => `"${text.replaceAll('"', '""')}"`;

test('CSV keeps texts and labels with all classes of characters', async () => {
  const all = manyTexts();
  await expectLetters(
    await collected({ 'a.csv': `text,label\n${all.map((text) => `${inQuotes(text)},${inQuotes(text)}\n`).join('')}` }),
    all,
  );
  const simple = all.filter((text) => !/[",\n\r]/.test(text) && text !== '');
  await expectLetters(await collected({ 'a.csv': `text,label\r\n${simple.map((text) => `${text},${text}\r\n`).join('')}` }), simple);
});

test('JSON lines keep texts and labels with all classes of characters, escaped or not', async () => {
  const all = manyTexts();
  const escaped = (text: string) =>
    JSON.stringify(text).replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  await expectLetters(await collected({ 'a.jsonl': all.map((text) => `${JSON.stringify({ text, label: text })}\n`).join('') }), all);
  await expectLetters(
    await collected({ 'a.json': `[${all.map((text) => `{"text":${escaped(text)},"label":${escaped(text)}}`).join(',\n')}]` }),
    all,
  );
});

test('Parquet keeps texts and labels with all classes of characters', async () => {
  const all = manyTexts();
  const path = join(temporary(), 'a.parquet');
  const database = await Database.open();
  await database.run('CREATE TABLE made (text VARCHAR, label VARCHAR)');
  const made = await database.append('made', texts(2));
  for (const text of all) made.add(text, text);
  made.close();
  await database.run(`COPY made TO ${literal(path)} (FORMAT parquet)`);
  database.close();
  await expectLetters(await collected({}, {}, [path]), all);
});

test('text files keep everything except a byte order mark', async () => {
  const all = manyTexts().filter((text) => !text.startsWith('\ufeff'));
  const table = await collected(Object.fromEntries(all.map((text, i) => [`${i}.txt`, text])), { select: { text: 'text', label: 'text' } });
  await expectLetters(table, all);
});

const LABELS: [string, string[]][] = [
  ['versions', ['1.1', '1.10', '1.2', '1.20', '2.0']],
  ['exponents', ['1e5', '100000', '7']],
  ['capital booleans', ['True', 'False']],
  ['booleans in three spellings', ['TRUE', 'True', 'true']],
  ['a trailing zero', ['2.50', '2.5']],
  ['whole and broken numbers', ['1', '2.5']],
  ['leading zeros', ['00501', '10001']],
  ['signs', ['+1', '-1', '1']],
  ['many digits', ['12345678901234567890', '1']],
  ['many digits behind the point', ['0.1234567890123456789', '0.5']],
  ['spaces', [' 1', '1', '1 ']],
  ['underscores and hexadecimal', ['1_000', '0x1F', '1000']],
  ['nan and inf', ['nan', 'inf', '1.5']],
  ['minus nothing', ['-0', '0']],
  ['nulls in words', ['NA', 'null', 'None', 'N/A', '']],
  ['dates', ['2020-01-01', '2020-1-1']],
];

test.each(LABELS)('CSV: labels are classes exactly as they are written: %s', async (_, labels) => {
  const table = await collected({ 'a.csv': `text,label\n${labels.map((label, i) => `t${i},${inQuotes(label)}\n`).join('')}` });
  expect(table.columns).toContain('label VARCHAR');
  expect(values(table, 'label').sort()).toEqual([...labels].sort());
  expect(Object.keys(table.card.labels).sort()).toEqual([...labels].sort());
});

test.each([
  ['whole numbers', ['0', '-7', '9223372036854775807'], 'BIGINT'],
  ['numbers', ['2.0', '-0.5', '1e-05', '123456789012345.5'], 'DOUBLE'],
  ['booleans', ['true', 'false'], 'BOOLEAN'],
])('CSV: values that print back exactly have a type, and their labels the same digits: %s', async (_, labels, type) => {
  const table = await collected({ 'a.csv': `text,label\n${labels.map((label, i) => `t${i},${label}\n`).join('')}` });
  expect(table.columns).toContain(`label ${type}`);
  expect(Object.keys(table.card.labels).sort()).toEqual([...labels].sort());
});

test('the log reports the value that kept a column of numbers text', async () => {
  const note = async (...column: string[]) =>
    (await collected({ 'a.csv': `text,n\n${column.map((n) => `t,${n}\n`).join('')}` })).log.filter((line) => line.includes('stays text'));
  expect(await note('1', '2', 'n/a')).toEqual(['the column `n` stays text: "n/a" (a.csv:4) is not a number; set `types` to change that']);
  expect(await note('10001', '00501')).toEqual([
    'the column `n` stays text: "00501" (a.csv:3) would become 501.0 as a number; set `types` to change that',
  ]);
  expect(await note('1.5', '2')).toEqual([
    'the column `n` stays text: "2" (a.csv:3) would become 2.0 as a number; set `types` to change that',
  ]);
  expect(await note('true', 'False')).toEqual([
    'the column `n` stays text: "False" (a.csv:3) would become false as a boolean; set `types` to change that',
  ]);
  expect(await note('1', 'some', 'words')).toEqual([]);
  const json = await collected({ 'a.jsonl': '{"text":"a","n":1}\n{"text":"b","n":1.10}' });
  expect(json.log[0]).toBe('the column `n` stays text: "1.10" (a.jsonl:2) would become 1.1 as a number; set `types` to change that');
});

test('JSON: labels that are numbers keep the digits of the file', async () => {
  const labels = async (...written: string[]) => {
    const table = await collected({
      'a.jsonl': written.map((label, i) => `{"text": "t${i}", "label": ${label}, "deep": {"list": [${label}]}}\n`).join(''),
    });
    const found = values(table, 'deep').map((deep) => String((deep as { list: unknown[] }).list[0]));
    return {
      labels: Object.keys(table.card.labels).sort(),
      type: table.columns.find((column) => column.startsWith('label')),
      deep: found.sort(),
    };
  };
  const same = (...written: string[]) => [...written].sort();
  expect(await labels('1.1', '1.10', '1.2')).toEqual({
    labels: ['1.1', '1.10', '1.2'],
    type: 'label VARCHAR',
    deep: ['1.1', '1.10', '1.2'],
  });
  const big = same('12345678901234567890', '12345678901234567891', '1');
  expect(await labels(...big)).toEqual({ labels: big, type: 'label VARCHAR', deep: big });
  expect(await labels('1e5', '100000', '1E5', '-0', '1e400')).toMatchObject({ labels: same('1e5', '100000', '1E5', '-0', '1e400') });
  expect(await labels('1', '2.5', '2.0')).toMatchObject({ labels: ['1', '2.0', '2.5'], type: 'label VARCHAR' });
  expect(await labels('1.0', '2.5', '1e-05')).toMatchObject({ labels: ['1.0', '1e-05', '2.5'], type: 'label DOUBLE' });
  expect(await labels('3', '-2')).toMatchObject({ labels: ['-2', '3'], type: 'label BIGINT' });
  expect(await labels('"1.10"', '1.10', '"x"')).toMatchObject({ labels: ['1.10', 'x'], type: 'label VARCHAR' });
  expect((await collected({ 'a.jsonl': '{"text":"a","tags":["x",1.10,true]}' })).rows[0]!.tags).toEqual(['x', '1.10', 'true']);
});

test('numbers print as in DuckDB', async () => {
  const numbers = [0, -0, 1, 1.5, 1e-4, 9.9e-5, 1e-7, 1e15, 1e16, 1e21, 123456789012345.67, 0.1 + 0.2, 5e-324, 1.7e308, -2.5e-9, 1e100];
  const database = await Database.open();
  for (const number of numbers) {
    const { text } = await database.row<{ text: string }>(`SELECT '${Object.is(number, -0) ? '-0' : number}'::DOUBLE::VARCHAR AS text`);
    expect(printed(number)).toBe(text);
  }
  database.close();
});

test('types overrides the inferred type, per column', async () => {
  const files = { 'a.csv': 'text,zip,price,yes,n\na,501,1.50,True,7\nb,10001,2,FALSE,\nc,3, 1e2 ,1,8\n' };
  const plain = await collected(files);
  expect(plain.columns.slice(2)).toEqual(['zip BIGINT', 'price VARCHAR', 'yes VARCHAR', 'n BIGINT']);
  const typed = await collected(files, { types: { zip: 'text', price: 'number', yes: 'boolean', n: 'number' }, where: 'price > 1.5' });
  expect(typed.columns.slice(2)).toEqual(['zip VARCHAR', 'price DOUBLE', 'yes BOOLEAN', 'n BIGINT']);
  expect(typed.rows.map(({ text, zip, price, yes, n }) => [text, zip, price, yes, n]).sort()).toEqual([
    ['b', '10001', 2, false, null],
    ['c', '3', 100, true, 8],
  ]);
  const json = { 'a.jsonl': '{"text":"a","n":1,"m":2.5}\n{"text":"b","n":1.10,"m":"x"}\n' };
  const fromJson = await collected(json, { types: { n: 'number', m: 'number' }, max_rejected: 0.5 });
  expect(fromJson.columns).toContain('n DOUBLE');
  expect(fromJson.rejected).toEqual(['a.jsonl:2 `m` is not a number: "x"']);
  expect(values(await collected({ 'a.jsonl': '{"text":"a","n":100.0}\n' }, { types: { n: 'text' } }), 'n')).toEqual(['100.0']);
  expect(await failure(files, { types: { zap: 'text' } })).toMatch(/^the data have no column `zap`/);
});

test.each([
  ['n > 5', 'n', '5'],
  ['n = 5', 'n', '5'],
  ['5.0 <> n', 'n', '5.0'],
  ['n IN (1, 2)', 'n', '1'],
  ['n BETWEEN 1 AND 2', 'n', '1'],
  ['length(text) > 3 AND (text IS NULL OR n = -1)', 'n', '-1'],
  ['CASE n WHEN 1 THEN true END', 'n', '1'],
  ['n = whole', 'n', 'whole'],
])('a column of texts cannot be compared with numbers: where %s', async (where, column, number) => {
  const files = { 'a.csv': 'text,n,whole\nabcd,1.10,1\nabcd,5,5\n' };
  expect(await failure(files, { where })).toBe(
    `where: ${where}: compares the column \`${column}\`, which contains texts, with the number ${number} → Convert it to numbers with \`types: { n: number }\`, or compare with a text${number === 'whole' ? '' : `: '${number}'`}.`,
  );
  expect(await failure(files, { where, types: { n: 'number' } })).not.toMatch(/which contains texts/);
});

test('comparisons without mixed types are allowed, and errors of numeric functions mention `types`', async () => {
  const files = { 'a.csv': 'text,n\nabcd,1.10\nabcd,5\n' };
  const kept = async (where: string) => (await collected(files, { where })).rows.length;
  expect(await kept("n = '1.10'")).toBe(1);
  expect(await kept('n::DOUBLE > 1.05 AND length(n) > 2')).toBe(1);
  expect(await kept("n IN ('5', '6') OR text LIKE 'b%'")).toBe(1);
  expect(await kept('len(list_filter([1, 2], lambda x: x > 1)) = 1')).toBe(2);
  expect(await failure(files, { where: 'trim(n) = 5' })).toMatch(/compares the text trim\(n\) with the number 5/);
  expect(await failure(files, { where: 'abs(n) < 3' })).toMatch(/`n` contains texts: `types: \{ n: number \}` converts them to numbers\.$/);
  expect(await failure(files, { select: { text: 'text', label: 'n > 3' } })).toMatch(/^select\.label: n > 3: compares the column `n`/);
});

test('a field that occurs twice in a JSON object is not guessed, and rows nested too deeply are rejected with their line', async () => {
  expect(await failure({ 'a.jsonl': '{"text":"a"}\n{"text":"b","text":"c"}\n' })).toMatch(/^a\.jsonl:2: the field `text` occurs twice/);
  expect(await failure({ 'a.jsonl': `{"text":"a"}\n{"text":"b","x":${'['.repeat(20_000)}${']'.repeat(20_000)}}\n` })).toMatch(
    /^a\.jsonl:2: nested deeper than 200 levels/,
  );
});
