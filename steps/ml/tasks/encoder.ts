/**
 * The one way to encode the fields of a raw input: decode and clean each field like its column of the training data,
 * then tokenize, truncate and split into windows as `tokenize` did. `tokenize`, `predict`, `generate` and `serve` all
 * use it, and model cards describe it. Each input is encoded by itself: neither its result nor its error depends on
 * other inputs.
 */

import { existsSync } from 'node:fs';
import path from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import { beginningOf, type Preprocessing, preprocess, stepsOf } from '../data/preprocessing.ts';
import { isGenerating, type Task, taskFacts } from '../models/config.ts';
import { readJson, shown } from '../models/json.ts';
import type { Encoding } from '../models/token-dataset.ts';
import { maskToken, openTokenizer, type Sequence, type SpecialToken, type Tokenizer } from '../models/tokenizer.ts';
import { taskKind } from './registry.ts';
import type { AskedWindows, Input } from './task.ts';

interface EncoderOptions {
  /** The folder of the tokenizer. */
  folder: string;
  task: Task;
  /** Without `max_length`, texts of seq2seq are not truncated. */
  encoding: Partial<Encoding>;
  preprocessing: Preprocessing;
  padTokenId: number;
}

/** An input as the model reads it. */
export interface EncodedInput {
  /** Decoded and cleaned; for a long text that is truncated, possibly only the beginning. */
  input: Input;
  sequences: Sequence[];
}

export interface Encoder {
  readonly tokenizer: Tokenizer;
  /** For masked-lm. */
  readonly mask?: SpecialToken;
  /** For a raw input. @throws StepError for an input that the model cannot read */
  encode(raw: Input, asked?: AskedWindows): Promise<EncodedInput>;
  /** For inputs that are cleaned already, such as the rows of a table: the sequences of each, or the error for it. */
  read(cleaned: Input[]): Promise<(Sequence[] | StepError)[]>;
}

export async function openEncoder(options: EncoderOptions): Promise<Encoder> {
  const { folder, task, encoding, padTokenId } = options;
  const kind = taskKind(task);
  const tokenizer = await openTokenizer(folder, kind.tokenizing(encoding));
  const mask = kind.masks && (await maskToken(folder, tokenizer));
  if (kind.masks && !mask)
    throw new StepError(
      `the tokenizer of ${shown(folder)} has no mask token`,
      'Declare it in tokenizer_config.json: "mask_token": "[MASK]". The vocabulary must contain it.',
    );
  refuseMovedPositions(options);
  const cleaning = Object.fromEntries(kind.fields.map(({ name }) => [name, cleaningOf(name, options)]));

  const clean = async (raw: Input): Promise<Input> => {
    const fields = Object.entries(raw).map(async ([name, text]) => [name, await preprocess(text, cleaning[name] ?? [], mask?.token)]);
    return Object.fromEntries(await Promise.all(fields));
  };
  /** Cleans only the beginning of a long text if the model reads only that. Undefined if that saves nothing. */
  const encodeBeginning = async (raw: Input): Promise<EncodedInput | undefined> => {
    const fields = kind.cut?.filter((name) => raw[name] !== undefined) ?? [];
    const cleaned = fields.filter((name) => cleaning[name]!.length > 0 && raw[name]!.length > cleanedAtOnce(encoding));
    if (!tokenizer.encodeBeginning || cleaned.length === 0) return undefined;
    const begin = await Promise.all(fields.map((name) => beginningOf(raw[name]!, cleaning[name]!)));
    for (let length = cleanedAtOnce(encoding); ; length *= 8) {
      const texts = begin.map((of) => of(length));
      if (texts.every(({ more }) => !more)) return undefined;
      const sequence = await tokenizer.encodeBeginning(texts);
      if (sequence) return { input: Object.fromEntries(fields.map((name, k) => [name, texts[k]!.text])), sequences: [sequence] };
    }
  };
  const sequencesOf = async (inputs: Input[], asked?: AskedWindows): Promise<Sequence[][]> => {
    const all = await kind.encode(inputs, { tokenizer, encoding, ...(asked && { asked }) });
    return isGenerating(task) ? all : all.map((own) => own.map((sequence) => (sequence.ids.length > 0 ? sequence : padding(padTokenId))));
  };
  const alone = async (input: Input): Promise<Sequence[] | StepError> => {
    try {
      return (await sequencesOf([input]))[0]!;
    } catch (error) {
      if (error instanceof StepError) return error;
      throw error;
    }
  };
  return {
    tokenizer,
    ...(mask && { mask }),

    async encode(raw, asked) {
      const begun = await encodeBeginning(raw);
      if (begun) return begun;
      const input = await clean(raw);
      const [sequences] = await sequencesOf([input], asked);
      if (mask && !sequences!.some(({ ids }) => ids.includes(mask.id))) throw noMask(raw, mask.token);
      return { input, sequences: sequences! };
    },

    async read(cleaned) {
      try {
        return await sequencesOf(cleaned);
      } catch (error) {
        if (!(error instanceof StepError)) throw error;
        return Promise.all(cleaned.map(alone));
      }
    },
  };
}

/** Code units that usually contain as many tokens as are read, even between tags. */
const cleanedAtOnce = ({ max_length }: Partial<Encoding>): number => 16 * max_length!;

/** For a field of a raw input. Version 1 of preprocessing.json listed no columns, and was not applied where answers are positions. */
export function cleaningOf(field: string, { task, encoding, preprocessing }: Omit<EncoderOptions, 'folder' | 'padTokenId'>): Preprocessing {
  const steps = stepsOf(preprocessing, encoding.fields?.[field] ?? field);
  return taskFacts(task).positions ? steps.filter(({ columns }) => columns) : steps;
}

/** Clients get answers as positions in the text that they sent, so that text must not be cleaned. */
function refuseMovedPositions(options: EncoderOptions): void {
  const { task, encoding } = options;
  const positions = taskFacts(task).positions;
  if (!positions || cleaningOf(positions.field, options).length === 0) return;
  throw new StepError(
    `the column \`${encoding.fields?.[positions.field]}\` was cleaned, but the answers of ${task} are positions in it`,
    'Clean only other columns: positions in a cleaned text are not positions in the original text.',
    [positions.option],
  );
}

/**
 * A text without any token, from a tokenizer without special tokens, becomes one padding token that is read. A
 * sequence without tokens would be padding alone, which attention cannot mask, so that its result would depend on the
 * length of the batch.
 */
const padding = (id: number): Sequence => ({
  ids: [id],
  truncated: false,
  typeIds: [0],
  sequenceIds: [null],
  wordIds: [null],
  spans: [[0, 0]],
});

function noMask({ text }: Input, mask: string): StepError {
  const given = JSON.stringify(text!.slice(0, 60));
  return text!.includes(mask)
    ? new StepError(
        `cleaning removes the ${mask} in ${given}`,
        'It is inside something that is removed, such as a link or a tag: move it elsewhere.',
      )
    : new StepError(`there is no ${mask} in ${given}`, `Write ${mask} in place of the word to predict.`);
}

/*
 * The encoding that a model carries along: `tokenize` writes it to tokens.json, `train` copies it to the model's
 * training.json, and `deploy` to the bundle's.
 */

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

export const whole = (least: number) => ({
  is: (value: unknown) => Number.isSafeInteger(value) && (value as number) >= least,
  what: `a whole number of at least ${least}`,
});

const columns = {
  is: (value: unknown) => typeof value === 'object' && value !== null && Object.values(value).every((name) => typeof name === 'string'),
  what: 'a map of fields to columns',
};

/** Checks for the value of each key, in the order in which they are written. */
const RULES: Record<keyof Encoding, { is: (value: unknown) => boolean; what: string }> = {
  pairs: { is: (value) => value === true, what: 'true, or omitted' },
  fields: columns,
  files: columns,
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
