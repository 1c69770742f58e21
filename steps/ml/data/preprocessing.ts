/**
 * Records how texts were preprocessed, and repeats it for a raw text. `collect` and `clean` write the record as
 * `preprocessing.json`, which is copied with data, tokens, model and bundle; `predict`, `generate` and `serve` repeat
 * it.
 */

import { existsSync } from 'node:fs';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import { type CleaningOptions, cleanBeginning, cleanText, removables } from './cleaning.ts';
import { type Beginning, beginning } from './token-prefix.ts';

/** One operation on some columns. Version 1 listed no columns: every text was treated alike. */
type PreprocessingStep = { columns?: string[] } & ({ decode: 'mail' } | { clean: CleaningOptions });

/** In the order in which they were applied. */
export type Preprocessing = readonly PreprocessingStep[];

/** The operations on a column. */
export const stepsOf = (preprocessing: Preprocessing, column: string): Preprocessing =>
  preprocessing.filter(({ columns }) => columns === undefined || columns.includes(column));

/**
 * Preprocesses a raw text as the training texts were. A text that is not a mail is not decoded: clients of a model of
 * mails may also send the body alone.
 * @param steps those of the text's column
 * @param whole a token that must survive in the text, such as `<mask>`, unless it is in something that is removed
 */
export async function preprocess(text: string, steps: Preprocessing, whole?: string): Promise<string> {
  if (whole !== undefined && steps.length > 0 && text.includes(whole)) {
    const letter = letterNotIn(text);
    return (await preprocess(text.replaceAll(whole, letter), steps)).replaceAll(letter, () => whole);
  }
  for (const step of steps) {
    if ('clean' in step) text = cleanText(text, step.clean);
    else {
      const { decodeMail, isMail } = await import('./mail.ts');
      if (isMail(text)) text = (await decodeMail(text)).text;
    }
  }
  return text;
}

/** The beginning of the preprocessed text, from about `length` code units. A mail is decoded as a whole: its parts may be anywhere. */
export async function beginningOf(text: string, steps: Preprocessing): Promise<(length: number) => Beginning> {
  const behind = steps.findLastIndex((step) => 'decode' in step) + 1;
  const decoded = await preprocess(text, steps.slice(0, behind));
  return (length) =>
    steps.slice(behind).reduce(
      ({ text, more }, step) => {
        const { clean } = step as { clean: CleaningOptions };
        return { text: more ? cleanBeginning(text, clean) : cleanText(text, clean), more };
      },
      beginning(decoded, length),
    );
}

/** A letter that no cleaning changes: it stands for an unknown word. Cuneiform signs have no case and no other normal forms. */
function letterNotIn(text: string): string {
  for (let code = 0x12000; code < 0x12399; code++) {
    const letter = String.fromCodePoint(code);
    if (!text.includes(letter)) return letter;
  }
  throw new StepError('the text contains all cuneiform signs, so none is left to stand for the masked word', 'Remove one of them.');
}

/** The preprocessing of data, tokens, a model or a bundle. @throws StepError for a file that cannot be repeated exactly */
export async function readPreprocessing(folder: string): Promise<Preprocessing> {
  const file = join(folder, NAME);
  const record = await readRecord(file);
  if (record === undefined) return [];
  const version = record?.version;
  if (version !== 1 && version !== 2)
    throw new StepError(
      `preprocessing.json has the version ${version}, but this version of tunesmith supports 1 and 2`,
      'Use the version of tunesmith that made the bundle, or a newer one.',
    );
  const steps = version === 1 ? stepsOfVersion1(record!) : record!.steps;
  if (!Array.isArray(steps)) throw new StepError(`${file} has no list of steps`, MAKE_AGAIN);
  for (const [i, step] of steps.entries()) {
    const wrong = wrongWith(step);
    if (wrong) throw new StepError(`${file}: step ${i + 1} ${wrong}`, MAKE_AGAIN);
  }
  return steps;
}

/** Whether data were preprocessed as the first steps of a model's preprocessing say, or not at all. */
export const beginsWith = (ofModel: Preprocessing, ofData: Preprocessing): boolean =>
  ofData.every((step, i) => JSON.stringify(step) === JSON.stringify(ofModel[i]));

/** What texts of the data still lack: the steps of the model's preprocessing after those of the data. */
export const remainingSteps = (ofModel: Preprocessing, ofData: Preprocessing): Preprocessing =>
  beginsWith(ofModel, ofData) ? ofModel.slice(ofData.length) : ofModel;

const NAME = 'preprocessing.json';

const stepsOfVersion1 = ({ decode, text }: Record<string, unknown>): unknown[] => [
  ...(decode === undefined ? [] : [{ decode }]),
  ...(text === undefined ? [] : [{ clean: text }]),
];

/** Undefined for a valid step. */
function wrongWith(step: Record<string, unknown> | null): string | undefined {
  if (step === null || typeof step !== 'object') return 'is not an object';
  const { columns, decode, clean } = step;
  if (columns !== undefined && !(Array.isArray(columns) && columns.every((name) => typeof name === 'string')))
    return '`columns` is not a list of names';
  if (clean === undefined) return decode === 'mail' ? undefined : `decodes ${JSON.stringify(decode)}, which is unknown`;
  if (clean === null || typeof clean !== 'object') return '`clean` is not an object';
  const { remove, keep_characters, lowercase, whitespace, normalize, ...others } = clean as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) return `has the unknown option ${JSON.stringify(unknown)}`;
  if (!Array.isArray(remove)) return '`remove` is not a list';
  const odd = remove.find((what) => !removables.includes(what));
  if (odd !== undefined) return `removes ${JSON.stringify(odd)}, which is unknown`;
  if (typeof keep_characters !== 'string') return '`keep_characters` is not a text';
  if (typeof lowercase !== 'boolean') return '`lowercase` is not true or false';
  if (whitespace !== 'collapse' && whitespace !== 'keep') return '`whitespace` is not `collapse` or `keep`';
  return normalize === 'NFC' || normalize === 'NFKC' || normalize === 'none' ? undefined : '`normalize` is not `NFC`, `NFKC` or `none`';
}

/** Writes the preprocessing of the folder `from`, followed by `step`, to `to`. */
export async function addPreprocessing(from: string | undefined, to: string, step: PreprocessingStep): Promise<void> {
  await writePreprocessing(to, [...(from === undefined ? [] : await readPreprocessing(from)), step]);
}

export async function writePreprocessing(folder: string, steps: Preprocessing): Promise<void> {
  await writeFile(join(folder, NAME), `${JSON.stringify({ version: 2, steps }, null, 2)}\n`);
}

/** Copies the record of the preprocessing so far. */
export const carryPreprocessing = (from: string, to: string): Promise<void> => carryRecord(NAME, from, to);

/** The JSON of a record that folders carry; undefined if there is none. */
export async function readRecord(file: string): Promise<Record<string, unknown> | null | undefined> {
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new StepError(`${file} is not a JSON object: ${(error as Error).message}`, MAKE_AGAIN);
  }
}

export async function carryRecord(name: string, from: string, to: string): Promise<void> {
  if (existsSync(join(from, name))) await copyFile(join(from, name), join(to, name));
}

export const MAKE_AGAIN =
  'The file is truncated, was edited, or was written by a newer version of tunesmith. Make or copy the folder again.';
