/**
 * What was done to the text before the model read it, and the same again for raw text: `collect` and `clean` write down what they
 * did, it travels with data, tokens, model and bundle, and `predict` and `serve` repeat it.
 */
import { existsSync } from 'node:fs';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StepError } from '../../engine/step.ts';
import { type CleaningOptions, cleanText } from './cleaning.ts';

/** `preprocessing.json` */
export interface Preprocessing {
  version: 1;
  /** Whole mails were decoded to their texts. */
  decode?: 'mail';
  text?: CleaningOptions;
}

/** Texts as the model was trained on them. A text that is no mail is not decoded: who serves mails may post their bodies, too. */
export async function preprocess(texts: string[], { decode, text: cleaning }: Preprocessing): Promise<string[]> {
  if (decode === 'mail') {
    const { decodeMail, isMail } = await import('./mail.ts');
    texts = await Promise.all(texts.map(async (text) => (isMail(text) ? (await decodeMail(text)).text : text)));
  }
  return cleaning ? texts.map((text) => cleanText(text, cleaning)) : texts;
}

/** Of a folder of data, a model or a bundle; undefined where nothing was done to the text. */
export async function readPreprocessing(folder: string): Promise<Preprocessing | undefined> {
  const file = join(folder, 'preprocessing.json');
  if (!existsSync(file)) return undefined;
  let preprocessing: Preprocessing | null;
  try {
    preprocessing = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new StepError(`${file} is not a JSON object: ${(error as Error).message}`, 'Was it cut off? Make or copy the folder again.');
  }
  if (preprocessing?.version !== 1)
    throw new StepError(
      `preprocessing.json has the version ${preprocessing?.version}, and this tunesmith knows 1`,
      'Use the tunesmith that made the bundle, or a newer one.',
    );
  return preprocessing;
}

export async function writePreprocessing(folder: string, preprocessing: Preprocessing): Promise<void> {
  await writeFile(join(folder, 'preprocessing.json'), `${JSON.stringify(preprocessing, null, 2)}\n`);
}

/** What was done to the text so far travels with it. */
export async function carryPreprocessing(from: string, to: string): Promise<void> {
  const file = join(from, 'preprocessing.json');
  if (existsSync(file)) await copyFile(file, join(to, 'preprocessing.json'));
}
