/** Texts and labels reach the table exactly, whatever characters they contain and whichever format they come in. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Database, texts } from '../../../steps/ml/data/database.ts';
import { printed } from '../../../steps/ml/data/json-rows.ts';
import { literal } from '../../../steps/ml/data/sql.ts';
import { temporary } from '../rig.ts';
import { expectLetters, manyTexts } from './characters.ts';
import { collected, failure, values } from './files.ts';

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

test('numbers print as in DuckDB', async () => {
  const numbers = [0, -0, 1, 1.5, 1e-4, 9.9e-5, 1e-7, 1e15, 1e16, 1e21, 123456789012345.67, 0.1 + 0.2, 5e-324, 1.7e308, -2.5e-9, 1e100];
  const database = await Database.open();
  for (const number of numbers) {
    const { text } = await database.row<{ text: string }>(`SELECT '${Object.is(number, -0) ? '-0' : number}'::DOUBLE::VARCHAR AS text`);
    expect(printed(number)).toBe(text);
  }
  database.close();
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

test('a field that occurs twice in a JSON object is not guessed, and rows nested too deeply are rejected with their line', async () => {
  expect(await failure({ 'a.jsonl': '{"text":"a"}\n{"text":"b","text":"c"}\n' })).toMatch(/^a\.jsonl:2: the field `text` occurs twice/);
  expect(await failure({ 'a.jsonl': `{"text":"a"}\n{"text":"b","x":${'['.repeat(20_000)}${']'.repeat(20_000)}}\n` })).toMatch(
    /^a\.jsonl:2: nested deeper than 200 levels/,
  );
});
