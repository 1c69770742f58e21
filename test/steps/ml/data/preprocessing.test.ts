import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import cleaning from '../../../../steps/clean/step.ts';
import collect from '../../../../steps/collect/step.ts';
import type { CleaningOptions } from '../../../../steps/ml/data/cleaning.ts';
import { addPreprocessing, preprocess, readPreprocessing, stepsOf } from '../../../../steps/ml/data/preprocessing.ts';
import { ranStep, temporary } from '../../rig.ts';

const clean = { remove: [], keep_characters: '', lowercase: true, whitespace: 'collapse', normalize: 'NFC' } as const;
const cleanStep = { clean: { ...clean, remove: [] }, columns: ['text'] };

test('a record of the preprocessing is read completely or rejected with one sentence', async () => {
  const folder = temporary();
  const file = join(folder, 'preprocessing.json');
  expect(await readPreprocessing(folder)).toEqual([]);
  for (const [content, message] of [
    ['{"version": 1,', 'is not a JSON object'],
    ['{"version": 3}', 'has the version 3, but this version of tunesmith supports 1 and 2'],
    ['null', 'has the version undefined'],
    ['{"version": 2}', 'has no list of steps'],
    ['{"version": 2, "steps": [null]}', 'step 1 is not an object'],
    ['{"version": 2, "steps": [{"decode": "news"}]}', 'step 1 decodes "news", which is unknown'],
    ['{"version": 2, "steps": [{"decode": "mail", "columns": "text"}]}', 'step 1 `columns` is not a list of names'],
    [JSON.stringify({ version: 1, text: { ...clean, remove: ['emojis'] } }), 'step 1 removes "emojis", which is unknown'],
    [JSON.stringify({ version: 2, steps: [cleanStep, { clean: { ...clean, stem: true } }] }), 'step 2 has the unknown option "stem"'],
    [JSON.stringify({ version: 2, steps: [{ clean: { ...clean, normalize: 'NFD' } }] }), 'step 1 `normalize` is not'],
  ] as const) {
    writeFileSync(file, content);
    await expect(readPreprocessing(folder)).rejects.toMatchObject({ name: 'StepError', message: expect.stringContaining(message) });
  }
});

test('version 1 listed no columns: its steps apply to every column', async () => {
  const folder = temporary();
  writeFileSync(join(folder, 'preprocessing.json'), JSON.stringify({ version: 1, decode: 'mail', text: clean }));
  const steps = await readPreprocessing(folder);
  expect(steps).toEqual([{ decode: 'mail' }, { clean }]);
  expect(stepsOf(steps, 'any')).toEqual(steps);
});

test('each step is appended, and repeated in that order on its columns alone', async () => {
  const [first, second] = [temporary(), temporary()];
  await addPreprocessing(undefined, first, { decode: 'mail', columns: ['text', 'reply'] });
  await addPreprocessing(first, second, cleanStep);
  const steps = await readPreprocessing(second);
  expect(steps).toEqual([{ decode: 'mail', columns: ['text', 'reply'] }, cleanStep]);
  const mail = 'From: a@b.org\nSubject: x\n\nHello';
  const each = (column: string) => preprocess(mail, stepsOf(steps, column));
  expect(await Promise.all(['text', 'reply', 'title'].map(each))).toEqual(['hello', 'Hello', mail]);
});

test('a mail is decoded if mails were decoded; its body alone does not change', async () => {
  expect(await preprocess('Hello', [{ decode: 'mail' }])).toBe('Hello');
});

test.each([
  [{ decode: { raw: 'mail' } }, ['raw']],
  [{ decode: { raw: 'mail' }, select: { text: 'raw', label: 'label' } }, ['text']],
  [{ decode: { raw: 'mail' }, select: { text: '"RAW" || label', raw_label: 'label' } }, ['text']],
  [{ decode: { raw: 'mail' }, select: { text: 'label' } }, undefined],
])('collect records which columns contain the texts of mails: %j', async (options, columns) => {
  const file = join(temporary(), 'mails.jsonl');
  writeFileSync(file, JSON.stringify({ raw: 'From: a@b.org\nSubject: x\n\nHello', label: 'ham' }));
  const { outputs } = await ranStep(collect, options, { files: [file] });
  expect(await readPreprocessing(outputs.data!)).toEqual(columns ? [{ decode: 'mail', columns }] : []);
});

test('a table that was collected, cleaned and collected again keeps its record, under the new names', async () => {
  const file = join(temporary(), 'mails.jsonl');
  writeFileSync(file, JSON.stringify({ raw: 'From: a@b.org\nSubject: x\n\nHello', other: 'x', label: 'ham' }));
  const first = (await ranStep(collect, { decode: { raw: 'mail' } }, { files: [file] })).outputs.data!;
  const second = (await ranStep(cleaning, { columns: ['raw', 'other'], lowercase: true }, { data: first })).outputs.data!;
  const select = { text: 'raw', title: 'other', label: 'label' };
  const { outputs } = await ranStep(collect, { select }, { files: [second] });
  expect((await readPreprocessing(outputs.data!)).map(({ columns }) => columns)).toEqual([['text'], ['text', 'title']]);
  const alone = ranStep(collect, { select }, { files: [join(second, 'data.parquet')] });
  await expect(alone).rejects.toThrow('belongs to a table whose texts were decoded or cleaned');
});

test.each(['<mask>', '[MASK]'])('%s survives any cleaning around it, unless it stands in something that is removed', async (mask) => {
  const all: CleaningOptions = {
    remove: ['html', 'urls', 'emails', 'special_characters', 'numbers'],
    keep_characters: '',
    lowercase: true,
    whitespace: 'collapse',
    normalize: 'NFKC',
  };
  const steps = [{ decode: 'mail' }, { clean: all }] as const;
  const cleaned = (text: string) => preprocess(text, steps, mask);
  expect(await cleaned(`The <b>${mask}</b>,  12 DAYS &amp; ${mask}!`)).toBe(`the ${mask} days ${mask}`);
  expect(await cleaned(`From: a@b.org\nSubject: x\n\nA ${mask} <br>Day`)).toBe(`a ${mask} day`);
  expect(await cleaned('\u{12000} sign')).toBe('\u{12000} sign');
  expect(await cleaned(`\u{12000} ${mask}`)).toBe(`\u{12000} ${mask}`);
  expect(await cleaned(`see http://x.org/${mask} now`)).toBe('see now');
  expect(await preprocess(`The ${mask}`, [], mask)).toBe(`The ${mask}`);
});
