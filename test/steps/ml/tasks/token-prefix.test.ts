/**
 * Long texts are cut before they are cleaned and tokenized. What comes out is what the whole texts give: random texts of all scripts,
 * under every option of cleaning, in every kind of tokenizer.
 */
import { expect, test } from 'vitest';
import { beginningOf, type Preprocessing, preprocess } from '../../../../steps/ml/data/preprocessing.ts';
import { optionsOf, sameBeginnings, sameSequences } from './token-prefix.ts';

test('a cleaned beginning is what the cleaned text begins with, whatever follows, in hundreds of random texts', () => sameBeginnings(500));

test('a mail is decoded whole before its text is cut', async () => {
  const mail = `From: a@example.org\nSubject: hi\nContent-Type: text/html\n\n<p>Hello there</p>${' and so on'.repeat(1000)}`;
  const steps: Preprocessing = [{ decode: 'mail' }, { clean: optionsOf(1) }];
  const { text, more } = (await beginningOf(mail, steps))(50);
  expect(more).toBe(true);
  expect(text.length).toBeGreaterThan(30);
  expect((await preprocess(mail, steps)).startsWith(text)).toBe(true);
});

test.each(['bert-cased', 'sentencepiece'])('%s: the sequences of long texts and pairs are those of the whole texts', sameSequences);
