/** More values that are kept to the letter: characters, numbers, and their types. */
import { expect, test } from 'vitest';
import { expectLetters, manyTexts } from '../../steps/collect/characters.ts';
import { collected, failure, values } from '../../steps/collect/files.ts';

test('text files keep everything except a byte order mark', async () => {
  const all = manyTexts().filter((text) => !text.startsWith('\ufeff'));
  const table = await collected(Object.fromEntries(all.map((text, i) => [`${i}.txt`, text])), { select: { text: 'text', label: 'text' } });
  await expectLetters(table, all);
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
