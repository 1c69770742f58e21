/**
 * What was done to texts before the model read them, and the same again for a raw text. `collect` and `clean` write it down as
 * `preprocessing.json`, which travels with data, tokens, model and bundle; `predict`, `generate` and `serve` repeat it.
 */
import { existsSync } from 'node:fs';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StepError } from '../../engine/step.ts';
import { type Beginning, beginning } from '../models/beginnings.ts';
import { type CleaningOptions, cleanBeginning, cleanText, removables } from './cleaning.ts';

/** One thing that was done to some columns. Version 1 named no columns: every text was treated alike. */
export type PreprocessingStep = { columns?: string[] } & ({ decode: 'mail' } | { clean: CleaningOptions });

/** In the order in which the data went through it. */
export type Preprocessing = readonly PreprocessingStep[];

/** The steps that a column went through. */
export const stepsOf = (preprocessing: Preprocessing, column: string): Preprocessing =>
  preprocessing.filter(({ columns }) => columns === undefined || columns.includes(column));

/**
 * A raw text as the training texts were.
 * A text that is no mail is not decoded: a client of a model of mails may post their bodies, too.
 * @param steps those of the text's column
 * @param whole a token that stays whole in a text, such as `<mask>`, unless it stands within something that is removed
 */
export async function preprocess(text: string, steps: Preprocessing, whole?: string): Promise<string> {
  if (whole !== undefined && steps.length > 0 && text.includes(whole)) {
    const letter = letterNotIn(text);
    return (await preprocess(text.replaceAll(whole, letter), steps)).replaceAll(letter, whole);
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

/**
 * The beginning of what `preprocess` makes of a text, of about the first `length` code units of it. A mail is decoded whole: its parts
 * lie anywhere in it.
 */
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

/** A letter that no cleaning changes: it stands for a word of which nothing is known. Signs of cuneiform have no cases and no other forms. */
function letterNotIn(text: string): string {
  for (let code = 0x12000; code < 0x12399; code++) {
    const letter = String.fromCodePoint(code);
    if (!text.includes(letter)) return letter;
  }
  throw new StepError('the text has all signs of cuneiform, and none is left to stand for the masked word', 'Leave one out.');
}

/** What data, tokens, a model or a bundle went through. @throws StepError for a file that cannot be repeated to the letter */
export async function readPreprocessing(folder: string): Promise<Preprocessing> {
  const file = join(folder, NAME);
  if (!existsSync(file)) return [];
  let found: Record<string, unknown> | null;
  try {
    found = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new StepError(`${file} is not a JSON object: ${(error as Error).message}`, MAKE_AGAIN);
  }
  const version = found?.version;
  if (version !== 1 && version !== 2)
    throw new StepError(
      `preprocessing.json has the version ${version}, and this tunesmith knows 1 and 2`,
      'Use the tunesmith that made the bundle, or a newer one.',
    );
  const steps = version === 1 ? stepsOfVersion1(found!) : found!.steps;
  if (!Array.isArray(steps)) throw new StepError(`${file} has no list of steps`, MAKE_AGAIN);
  for (const [i, step] of steps.entries()) {
    const wrong = wrongWith(step);
    if (wrong) throw new StepError(`${file}: step ${i + 1} ${wrong}`, MAKE_AGAIN);
  }
  return steps;
}

const NAME = 'preprocessing.json';

const MAKE_AGAIN = 'The file was cut off, edited, or written by a newer tunesmith. Make or copy the folder again.';

const stepsOfVersion1 = ({ decode, text }: Record<string, unknown>): unknown[] => [
  ...(decode === undefined ? [] : [{ decode }]),
  ...(text === undefined ? [] : [{ clean: text }]),
];

/** Undefined for a step that can be repeated. */
function wrongWith(step: Record<string, unknown> | null): string | undefined {
  if (step === null || typeof step !== 'object') return 'is not an object';
  const { columns, decode, clean } = step;
  if (columns !== undefined && !(Array.isArray(columns) && columns.every((name) => typeof name === 'string')))
    return '`columns` is not a list of names';
  if (clean === undefined) return decode === 'mail' ? undefined : `decodes ${JSON.stringify(decode)}, which is not known`;
  if (clean === null || typeof clean !== 'object') return '`clean` is not an object';
  const { remove, keep_characters, lowercase, whitespace, normalize, ...others } = clean as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) return `has the unknown option ${JSON.stringify(unknown)}`;
  if (!Array.isArray(remove)) return '`remove` is not a list';
  const odd = remove.find((what) => !removables.includes(what));
  if (odd !== undefined) return `removes ${JSON.stringify(odd)}, which is not known`;
  if (typeof keep_characters !== 'string') return '`keep_characters` is not a text';
  if (typeof lowercase !== 'boolean') return '`lowercase` is not true or false';
  if (whitespace !== 'collapse' && whitespace !== 'keep') return '`whitespace` is not `collapse` or `keep`';
  return normalize === 'NFC' || normalize === 'NFKC' || normalize === 'none' ? undefined : '`normalize` is not `NFC`, `NFKC` or `none`';
}

/** Writes to `to` what the folder `from` went through, and `step` behind it. */
export async function addPreprocessing(from: string | undefined, to: string, step: PreprocessingStep): Promise<void> {
  await writePreprocessing(to, [...(from === undefined ? [] : await readPreprocessing(from)), step]);
}

export async function writePreprocessing(folder: string, steps: Preprocessing): Promise<void> {
  await writeFile(join(folder, NAME), `${JSON.stringify({ version: 2, steps }, null, 2)}\n`);
}

/** What was done to the texts so far travels with them. */
export async function carryPreprocessing(from: string, to: string): Promise<void> {
  const file = join(from, NAME);
  if (existsSync(file)) await copyFile(file, join(to, NAME));
}
