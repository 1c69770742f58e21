/**
 * Records how the fields of a raw input are encoded, besides what the tokenizer defines. `tokenize` decides it and
 * writes it to tokens.json; `train` copies it to the model's training.json, and `deploy` to the bundle's.
 */

import { existsSync } from 'node:fs';
import path from 'node:path';
import { StepError } from '../../../engine/step.ts';
import { readJson, shown } from './json.ts';
import type { Truncation } from './tokenizer.ts';

export interface Encoding {
  /** The column of the training data for each field. Only training.json of older versions lacks it. */
  fields?: Record<string, string>;
  /** The names of the fields' columns in the collected files, if they were renamed. */
  files?: Record<string, string>;
  /** Inputs are pairs of texts. */
  pairs?: true;
  /** The maximum number of tokens of a sequence, including special ones. */
  max_length: number;
  /** Which text of a pair is truncated; default `longest_first`. */
  truncation?: Truncation;
  /** Tokens that neighbouring windows of a context share. */
  stride?: number;
  /** The prefix of each text of seq2seq. */
  prefix?: string;
  /** The maximum number of tokens of a target of seq2seq, which is also the default length of generated texts. */
  max_target_length?: number;
}

/** Picks the keys of an encoding from a larger object. */
export function encodingOf<E extends Partial<Encoding>>(info: E): Pick<E, keyof Encoding & keyof E> {
  const keys = Object.keys(RULES) as (keyof Encoding & keyof E)[];
  return Object.fromEntries(keys.flatMap((key) => (info[key] === undefined ? [] : [[key, info[key]]]))) as Pick<
    E,
    keyof Encoding & keyof E
  >;
}

/**
 * The encoding of a model folder, a bundle or a folder of tokens; empty if tunesmith did not train the model. @throws
 * StepError if the file is damaged
 */
export async function readEncoding(folder: string): Promise<Partial<Encoding>> {
  const name = ['training.json', 'tokens.json'].find((name) => existsSync(path.join(folder, name)));
  if (name === undefined) return {};
  const encoding = encodingOf((await readJson(path.join(folder, name))) as Partial<Encoding>);
  for (const [key, value] of Object.entries(encoding)) {
    const { is, what } = RULES[key as keyof Encoding];
    if (!is(value))
      throw new StepError(
        `${name} of ${shown(folder)}: ${key} is ${JSON.stringify(value)}, but must be ${what}`,
        'The file was edited or is from another version: copy or deploy the bundle again.',
      );
  }
  return encoding;
}

const whole = (least: number) => ({
  is: (value: unknown) => Number.isSafeInteger(value) && (value as number) >= least,
  what: `a whole number of at least ${least}`,
});

/** Checks for the value of each key, in the order in which they are written. */
const RULES: Record<keyof Encoding, { is: (value: unknown) => boolean; what: string }> = {
  pairs: { is: (value) => value === true, what: 'true, or omitted' },
  fields: {
    is: (value) => typeof value === 'object' && value !== null && Object.values(value).every((name) => typeof name === 'string'),
    what: 'a map of fields to columns',
  },
  files: {
    is: (value) => typeof value === 'object' && value !== null && Object.values(value).every((name) => typeof name === 'string'),
    what: 'a map of fields to columns',
  },
  // With less, the special tokens would leave no room for a token of the text.
  max_length: whole(3),
  truncation: {
    is: (value) => value === 'longest_first' || value === 'only_first' || value === 'only_second',
    what: 'longest_first, only_first or only_second',
  },
  stride: whole(0),
  prefix: { is: (value) => typeof value === 'string', what: 'a text' },
  max_target_length: whole(1),
};
