import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { preprocess, readPreprocessing } from '../../../steps/data/preprocessing.ts';
import { temporary } from '../rig.ts';

test('what was done to the text is read whole or refused in a sentence', async () => {
  const folder = temporary();
  const file = join(folder, 'preprocessing.json');
  expect(await readPreprocessing(folder)).toBeUndefined();
  writeFileSync(file, '{"version": 1, "decode": "mail"}');
  expect(await readPreprocessing(folder)).toEqual({ version: 1, decode: 'mail' });
  for (const [text, message] of [
    ['{"version": 1,', 'is not a JSON object'],
    ['{"version": 2}', 'has the version 2, and this tunesmith knows 1'],
    ['null', 'has the version undefined'],
  ] as const) {
    writeFileSync(file, text);
    await expect(readPreprocessing(folder)).rejects.toMatchObject({ name: 'StepError', message: expect.stringContaining(message) });
  }
});

test('a mail is decoded where mails were, and nowhere else; its body stays as it is', async () => {
  const mail = 'From: a@b.org\nSubject: x\n\nHello';
  expect(await preprocess([mail, 'Hello'], { version: 1, decode: 'mail' })).toEqual(['Hello', 'Hello']);
  expect(await preprocess([mail], { version: 1 })).toEqual([mail]);
});
