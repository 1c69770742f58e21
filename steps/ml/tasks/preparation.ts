/** How a task makes sequences of the rows of a table: what it is given, and what it gives back to `tokenize`. */

import type { StepContext } from '../../../engine/step.ts';
import type { Database, Row, Column as TableColumn } from '../data/database.ts';
import type { ProblemType, Task } from '../models/config.ts';
import type { Encoding } from '../models/encoding.ts';
import type { Config } from '../models/family.ts';
import type { Column, Example, Values } from '../models/token-dataset.ts';
import type { Sequence, Tokenizer, Truncation } from '../models/tokenizer.ts';
import type { Input } from './task.ts';

/** The options of `tokenize`, as its schema types them. */
export interface TokenizeOptions {
  task: Task;
  text?: string;
  text_pair?: string;
  label?: string | string[];
  missing?: 'refuse' | 'drop';
  problem_type?: ProblemType;
  words?: string;
  tags?: string;
  question?: string;
  context?: string;
  answers?: string;
  prompt?: string;
  completion?: string;
  completion_only_loss?: boolean;
  block_size?: number;
  target?: string;
  prefix?: string;
  max_target_length?: number;
  max_length?: number;
  truncation?: Truncation;
  stride?: number;
}

/** What a task needs to know of the table and the model. */
export interface Source {
  database: Database;
  /** A relation for SQL. */
  table: string;
  columns: TableColumn[];
  options: TokenizeOptions;
  /** The model's labels. */
  config: Config;
  maxLength: number;
  /** The number of rows of each split. */
  splits: ReadonlyMap<string, number>;
  /** SQL for a row's split. */
  split: string;
  /** The labels in the model's order, if it names them and the data have no split to train on. */
  known?: string[] | undefined;
  log: StepContext['log'];
  warn: StepContext['warn'];
}

/** How a task converts rows. */
export interface Preparation<R extends Row> {
  /** The rows that are used, if not all are. */
  table?: string;
  labels: string[];
  problem?: ProblemType;
  /** The column that each field of an input comes from. */
  fields: Record<string, string>;
  /** The settings between a row and its sequences besides `max_length`. */
  encoding?: Omit<Encoding, 'fields' | 'max_length'>;
  /** A sequence contains two texts of different types. */
  paired: boolean;
  /** The sequences are texts to be concatenated and split into blocks of this many tokens. */
  blockSize?: number;
  /** The columns of a sequence besides `input_ids` and `token_type_ids`. */
  columns: Record<string, Column>;
  /** The columns to read besides `id`: SQL expressions by name. */
  select: { [name in keyof Omit<R, 'id'>]: string };
  /** `read` holds the sequences of each row's input; `tokenizer` encodes everything else. */
  encode(rows: R[], read: (inputs: Input[]) => Promise<Sequence[][]>, tokenizer: Tokenizer): Promise<Encoded[]>;
  /** Reports the counts when all rows are encoded. */
  finish?(): void;
}

export interface Encoded {
  example: Example;
  sequences: { sequence: Pick<Sequence, 'ids'> & Partial<Sequence>; values: Values }[];
  truncated: boolean;
}

/** Reads what must be known of the table before any long work, and rejects data that cannot be trained on. */
export type Prepare<R extends Row> = (source: Source) => Promise<Preparation<R>>;
