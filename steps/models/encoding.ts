/**
 * How the fields of a raw input become what a model reads, as far as the tokenizer does not say it. `tokenize` decides it and writes it
 * into tokens.json; `train` carries it into the model's training.json, and `deploy` into the bundle's.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { StepError } from '../../engine/step.ts';
import { readJson, shown } from './json.ts';
import type { Truncation } from './tokenizer.ts';

export interface Encoding {
  /** The column of the training data that each field comes from. Only training.json of older versions lacks it. */
  fields?: Record<string, string>;
  /** What the columns of fields are called in the files that were collected, where they were renamed. */
  files?: Record<string, string>;
  /** Inputs are pairs of texts. */
  pairs?: true;
  /** The most tokens of a sequence, special ones included. */
  max_length: number;
  /** Which text of a pair is cut; default `longest_first`. */
  truncation?: Truncation;
  /** Tokens that neighbouring windows of a context share. */
  stride?: number;
  /** What each text of seq2seq begins with. */
  prefix?: string;
  /** The most tokens of a target of seq2seq: as many are written where nothing else is said. */
  max_target_length?: number;
}

/** The keys of an encoding among others. */
export function encodingOf<E extends Partial<Encoding>>(info: E): Pick<E, keyof Encoding & keyof E> {
  const keys = Object.keys(RULES) as (keyof Encoding & keyof E)[];
  return Object.fromEntries(keys.flatMap((key) => (info[key] === undefined ? [] : [[key, info[key]]]))) as Pick<
    E,
    keyof Encoding & keyof E
  >;
}

/** That of a model folder, a bundle or a folder of tokens; empty where tunesmith did not train the model. @throws StepError where the file is damaged */
export async function readEncoding(folder: string): Promise<Partial<Encoding>> {
  const name = ['training.json', 'tokens.json'].find((name) => existsSync(path.join(folder, name)));
  if (name === undefined) return {};
  const encoding = encodingOf((await readJson(path.join(folder, name))) as Partial<Encoding>);
  for (const [key, value] of Object.entries(encoding)) {
    const { is, what } = RULES[key as keyof Encoding];
    if (!is(value))
      throw new StepError(
        `${name} of ${shown(folder)}: ${key} is ${JSON.stringify(value)}, but must be ${what}`,
        'The file was edited or is of another version: copy or deploy the bundle again.',
      );
  }
  return encoding;
}

const whole = (least: number) => ({
  is: (value: unknown) => Number.isSafeInteger(value) && (value as number) >= least,
  what: `a whole number of at least ${least}`,
});

/** What each key takes, in the order in which they are written. */
const RULES: Record<keyof Encoding, { is: (value: unknown) => boolean; what: string }> = {
  pairs: { is: (value) => value === true, what: 'true, or left out' },
  fields: {
    is: (value) => typeof value === 'object' && value !== null && Object.values(value).every((name) => typeof name === 'string'),
    what: 'a map of fields to columns',
  },
  files: {
    is: (value) => typeof value === 'object' && value !== null && Object.values(value).every((name) => typeof name === 'string'),
    what: 'a map of fields to columns',
  },
  // Below that no token of a text has room between those around it.
  max_length: whole(3),
  truncation: {
    is: (value) => value === 'longest_first' || value === 'only_first' || value === 'only_second',
    what: 'longest_first, only_first or only_second',
  },
  stride: whole(0),
  prefix: { is: (value) => typeof value === 'string', what: 'a text' },
  max_target_length: whole(1),
};
