/** How many tokens the user's texts have: reads a sample of a table that collect wrote, and tokenizes it as `tokenize` does. */

import { StepError } from '../../engine/contract/step.ts';
import { Database } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { namesOf, requireColumn, tableOf } from '../ml/data/table.ts';
import type { Lengths } from '../ml/models/batches.ts';
import type { Task } from '../ml/models/config.ts';
import { openTokenizer, type Sequence, type Tokenizer, windowsOf } from '../ml/models/tokenizer.ts';

/** Rows of the data, and the texts of some of them. */
export interface Sample {
  /** Rows to train on, and rows of the validation split. */
  train: number;
  validation: number;
  texts: string[];
  /** The second texts: contexts of question-answering, targets of seq2seq. */
  seconds: string[];
  /** Letters that are not in ASCII, as a share of all letters. */
  foreign: number;
}

/** The lengths of the sequences of `rows` rows. */
export interface CountedLengths extends Lengths {
  rows: number;
}

interface SampleOptions {
  task: Task;
  /** The column of texts; default: that of collect. */
  column: string | undefined;
}

export async function readSample(folder: string, { task, column }: SampleOptions): Promise<Sample> {
  const database = await Database.open();
  try {
    const table = tableOf(folder);
    const columns = await database.columns(table);
    const [first, second] = columnsOf(task, column ?? (await namesOf(folder)).text ?? 'text');
    for (const name of [first, second]) if (name !== undefined) requireColumn(columns, name);
    const hasSplit = columns.some(({ name }) => name === 'split');
    const split = hasSplit ? 'split::VARCHAR' : "'train'";
    const counts = await database.rows<{ split: string | null; n: number }>(
      `SELECT ${split} AS split, count(*) AS n FROM ${table} GROUP BY ALL`,
    );
    const rowsOf = (name: string) => counts.find((one) => one.split === name)?.n ?? 0;
    const rows = rowsOf('train');
    if (rows === 0) throw new StepError('the data have no rows to train on', 'The column `split`, if there is one, must contain `train`.');
    const asText = (name: string) => (task === 'token-classification' ? `array_to_string(${quote(name)}, ' ')` : `${quote(name)}::VARCHAR`);
    const sampled = await database.rows<{ text: string; second: string }>(
      `SELECT coalesce(${asText(first)}, '') AS text, ${second === undefined ? "''" : `coalesce(${quote(second)}::VARCHAR, '')`} AS second
       FROM ${table} WHERE ${split} = ${literal('train')} ORDER BY md5(id) LIMIT ${MOST_ROWS}`,
    );
    return {
      train: hasSplit ? rows : Math.max(1, Math.round(TRAIN * rows)),
      validation: hasSplit ? rowsOf('validation') : Math.round(VALIDATION * rows),
      texts: sampled.map(({ text }) => text),
      seconds: second === undefined ? [] : sampled.map(({ second }) => second),
      foreign: foreignLetters(sampled.map(({ text }) => text.slice(0, 2000)).join(' ')),
    };
  } finally {
    database.close();
  }
}

/** Enough for the mean and the longest text. */
const MOST_ROWS = 4000;

/** The shares of the splits by default. */
const [TRAIN, VALIDATION] = [0.8, 0.1];

/** The columns that decide the lengths: the defaults of tokenize. */
function columnsOf(task: Task, text: string): [string, string?] {
  if (task === 'question-answering') return ['question', 'context'];
  if (task === 'token-classification') return ['tokens'];
  return task === 'seq2seq' ? [text, 'target'] : [text];
}

function foreignLetters(text: string): number {
  const letters = text.match(/\p{L}/gu) ?? [];
  return letters.filter((letter) => letter > '\x7f').length / Math.max(1, letters.length);
}

/** The lengths of the sequences that `tokenize` would make of the sample. */
export async function lengthsOf(sample: Sample, folder: string, task: Task, maxLength: number): Promise<CountedLengths> {
  const tokenizer = await openTokenizer(folder, {});
  const [tokens, targets]: [number[], number[]] = [[], []];
  for (let from = 0; from < sample.texts.length; from += AT_ONCE) {
    const texts = sample.texts.slice(from, from + AT_ONCE);
    const seconds = sample.seconds.slice(from, from + AT_ONCE);
    for (const lengths of await sequencesOf(tokenizer, task, maxLength, texts, seconds)) tokens.push(...lengths);
    if (task === 'seq2seq') targets.push(...(await tokenizer.encode(seconds, maxLength)).map(({ ids }) => ids.length));
  }
  const length = (i: number, kind = 'token') => (kind === 'token' ? tokens[i]! : (targets[i] ?? 0));
  return { rows: sample.texts.length, sequences: tokens.length, length };
}

/** A long text has all its tokens in memory. */
const AT_ONCE = 128;

/** For each text: the tokens of its sequences. */
async function sequencesOf(tokenizer: Tokenizer, task: Task, maxLength: number, texts: string[], seconds: string[]): Promise<number[][]> {
  if (task === 'text-classification' || task === 'seq2seq')
    return (await tokenizer.encode(texts, maxLength)).map(({ ids }) => [ids.length]);
  if (task === 'question-answering') {
    const pairs = await tokenizer.encodePairs(texts.map((text, i) => [text, seconds[i]!] as const));
    return pairs.map((pair) => windows(pair, tokenizer, maxLength, Math.min(128, Math.floor(maxLength / 4))));
  }
  const whole = await tokenizer.encode(texts);
  return whole.map((sequence) => windows(sequence, tokenizer, maxLength));
}

const windows = (sequence: Sequence, { truncationSide }: Tokenizer, maxLength: number, stride = 0): number[] =>
  windowsOf(sequence, { maxLength, truncationSide, stride }).map(({ ids }) => ids.length);
