/**
 * What a task is, independently of the model: how rows and inputs become sequences, how a model's outputs become an
 * answer or metrics, which baselines it has, and what is said about it. One file per task beside this one;
 * `taskKind` in registry.ts finds it.
 */

import { type Json, type StepContext, StepError } from '../../../engine/contract/step.ts';
import type { Database, Row, TableColumn } from '../data/database.ts';
import type { ModelCalibration } from '../models/calibration.ts';
import type { ProblemType, Task } from '../models/config.ts';
import type { Config } from '../models/family.ts';
import type { Encoding, Example, Split, TokenColumn, TokensInfo, Values } from '../models/token-dataset.ts';
import { type Sequence, type Side, type Tokenizer, type TokenizerOptions, type Truncation, windowsOf } from '../models/tokenizer.ts';
import type { HostTensors } from '../runtime/runtime.ts';

/** One input of predict and serve, by field. If a text was given as a list of words, `words` has that list as JSON. */
export type Input = Record<string, string>;

/** A field of an input. */
export interface Field {
  name: string;
  optional?: boolean;
  /** A list of words may replace the text; the words are joined by spaces. */
  words?: boolean;
  /** No text, but the value of the column whose values have thresholds of their own. An input without it has a missing value. */
  group?: boolean;
}

/** The field's part of an input; undefined if the value is invalid. */
export function partOfInput({ name, words, group }: Field, value: unknown): Input | undefined {
  if (typeof value === 'string') return { [name]: value };
  if (group && (typeof value === 'number' || typeof value === 'boolean')) return { [name]: String(value) };
  if (group && value === null) return {};
  if (!words || !Array.isArray(value) || value.some((word) => typeof word !== 'string')) return undefined;
  return { [name]: value.join(' '), words: JSON.stringify(value) };
}

/** The item, counted from 1, that makes a list an invalid list of words; undefined if all are valid, or the field takes no words. */
export function itemThatIsNoWord({ words }: Field, value: unknown): number | undefined {
  const place = words && Array.isArray(value) ? value.findIndex((word) => typeof word !== 'string') : -1;
  return place < 0 ? undefined : place + 1;
}

/** Outputs of a program for a batch, by name: [batch, …]. */
export type Outputs = Record<string, { data: ArrayLike<number>; shape: readonly number[] }>;

/** What answers depend on besides the outputs. */
export interface Answering {
  labels: string[];
  problem: ProblemType;
  tokenizer: Tokenizer;
  calibration?: ModelCalibration | undefined;
  /** For masked-lm. */
  mask?: { token: string; id: number };
  /** For masked-lm: how many tokens of each mask are kept, the best first. */
  fillings?: number;
  /** The only tokens that may fill a mask. */
  targets?: readonly number[];
}

interface Reading {
  tokenizer: Tokenizer;
  encoding: Partial<Encoding>;
  asked?: AskedWindows;
}

/** How a request wants a question and its context to be split, instead of as in training. */
export interface AskedWindows {
  /** Tokens of a sequence. */
  maxLength: number;
  /** Tokens of the context that neighbours share. Default: half a sequence, and at most 128. */
  stride?: number;
  /** Tokens of the question, the first ones. */
  question?: number;
}

/** All that a task does, in the order of a model's life. `R` is the part of a model's outputs that is kept for one sequence. */
export interface TaskKind<R = unknown> {
  task: Task;
  fields: readonly Field[];
  /** Reads a table as far as it must be known before any long work, and rejects data that cannot be trained on. */
  prepare(source: PreparationContext): Promise<Preparation<any>>;
  /** How the tokenizer is opened for inputs. Without a length texts stay whole, and `encode` makes windows. */
  tokenizing(encoding: Partial<Encoding>): TokenizerOptions;
  /** The sequences of each cleaned input. Throws a StepError for an invalid input. Only `openEncoder` calls it. */
  encode(inputs: Input[], reading: Reading): Promise<Sequence[][]>;
  /** The fields of which only as much is read as `max_length` tokens need, in the order of the texts, if they are used for nothing else. */
  cut?: readonly string[];
  /** Inputs must contain the tokenizer's mask token. */
  masks?: true;
  /** The inputs of the loss, made from the sequences of a batch. Default: the columns of the tokens as they are. */
  lossInputs?(inputs: HostTensors, sequences: Int32Array, info: TokensInfo, masking: Masking): HostTensors;
  /** Extracts row `row` from the outputs of a batch. */
  read(outputs: Outputs, row: number, sequence: Sequence, answering: Answering): R;
  /** What predict prints for an input: one JSON object. */
  answer(input: Input, sequences: Sequence[], results: R[], answering: Answering): Promise<Json> | Json;
  measure(measuring: Measuring): Measurement<any>;
  /** Evaluates simple methods that a model must beat. */
  baseline?(request: BaselineRequest): Promise<BaselineResult>;
  /** What `show` prints about a sequence of the tokens, unless it is the decoded sequence and the `target` of its example. */
  show?(sequence: StoredSequence): Promise<{ text?: string; target?: string }>;
  card: TaskCard;
  /** What the web page shows. */
  page: { button: string; title(subject: PageSubject): string };
  /** The JSON Schema of an answer. Tasks that generate have none. */
  answerSchema?(labelling: Labelling): object;
}

/** A sequence of the tokens, for `show`. */
export interface StoredSequence {
  ids: number[];
  info: TokensInfo;
  tokenizer: Tokenizer;
  /** Its values of a column; empty if there is no such column. */
  values(column: string): number[];
  /** Decodes ids, and keeps the special tokens, which separate texts. */
  decode(ids: number[]): Promise<string>;
}

/** How masked-lm masks a batch. */
export interface Masking {
  /** The share of masked tokens. */
  probability: number;
  /** The size of the vocabulary. */
  vocabulary: number;
  /** The tokens that continue a word, to mask whole words. Without them each token is chosen for itself. */
  continuations?: ReadonlySet<number> | undefined;
  seed: number;
  epoch: number;
}

export interface Measuring {
  labels: string[];
  problem: ProblemType;
  /** Names of the metrics. */
  metrics: readonly string[];
  /** The positive class of two labels, for precision, recall, f1 and roc_auc. */
  positive?: number | undefined;
  split: Split;
  /** Maps the tokens' labels to those of the model. */
  labelIds: Int32Array;
  calibration?: ModelCalibration | undefined;
  /** If the calibration has thresholds for the values of a column: its value of an example, by the example's index. */
  group?: ((example: number) => string | undefined) | undefined;
}

/** Receives the examples of a split in their order. */
export interface Measurement<R = unknown> {
  /** The SQL type of each field that `add` returns. */
  columns: Record<string, string>;
  /** Extracts from a batch's outputs what belongs to row `row`, a sequence of `length` tokens. */
  read(outputs: Outputs, row: number, length: number, inputs: HostTensors): R;
  /** `first`: the example's first sequence in the split. Returns the fields of its prediction, by column. */
  add(example: Example, first: number, results: R[]): Record<string, Json>;
  /**
   * The requested metrics, and `loss`, of some examples: their positions in the order of `add`, which may repeat. Default:
   * all examples. NaN means that a metric is undefined.
   */
  metrics(rows?: Int32Array): Record<string, number>;
  /** Why a metric is NaN on these examples; default: on all. Undefined if there is only one possible reason. */
  why?(metric: string, rows?: Int32Array): string | undefined;
  /** The class of each example, for samples with as many examples of each class. */
  strata?(): ArrayLike<number>;
  /** Further results of a report, e.g. a confusion matrix. */
  report(): Record<string, Json>;
  /** Warnings, e.g. that every row got the same label. */
  warnings?(): string[];
}

/** Row `row` of an output [batch, width]. */
export function rowOf({ data, shape }: Outputs[string], row: number): Float32Array {
  const width = shape.slice(1).reduce((product, n) => product * n, 1);
  return Float32Array.from({ length: width }, (_, i) => data[row * width + i]!);
}

/** The values of the first `length` tokens of row `row` of an output [batch, tokens, …]. */
export function tokensOf({ data, shape }: Outputs[string], row: number, length: number): Float32Array {
  const width = shape.slice(2).reduce((product, n) => product * n, 1);
  const begin = row * shape[1]! * width;
  return Float32Array.from({ length: length * width }, (_, i) => data[begin + i]!);
}

/** In float64: logits have seven digits, which their sums should keep. */
export function logSoftmax(logits: ArrayLike<number>): Float64Array {
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > highest) highest = logits[i]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - highest);
  const log = highest + Math.log(sum);
  return Float64Array.from({ length: logits.length }, (_, i) => logits[i]! - log);
}

/** Logits have seven digits, so further digits of a probability would be noise. */
export const rounded = (value: number): number => Number(value.toPrecision(8));

/** The index of the highest score or logit; the first of equals. */
export function best(scores: ArrayLike<number>): number {
  let place = 0;
  for (let i = 0; i < scores.length; i++) {
    refuseNaN(scores[i]!);
    if (scores[i]! > scores[place]!) place = i;
  }
  return place;
}

/** For an output of a model, or what is computed from it. */
export function refuseNaN(score: number): void {
  if (Number.isNaN(score))
    throw new StepError(
      'the model outputs scores that are not numbers',
      'Its training diverged: train it again with a lower learning_rate.',
    );
}

/** The windows of each text; nothing is truncated. */
export async function encodeWindows(inputs: Input[], { tokenizer, encoding }: Reading): Promise<Sequence[][]> {
  const whole = await tokenizer.encode(inputs.map(({ text }) => text!));
  return whole.map((sequence) => windowsOf(sequence, { maxLength: encoding.max_length!, truncationSide: tokenizer.truncationSide }));
}

/* How a task makes sequences of the rows of a table. */

/** The options of `tokenize`, as its schema types them. */
interface TokenizeOptions {
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
export interface PreparationContext {
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
  columns: Record<string, TokenColumn>;
  /** The columns to read besides `id`: SQL expressions by name. */
  select: { [name in keyof Omit<R, 'id'>]: string };
  /** `read` holds the sequences of each row's input; `tokenizer` encodes everything else. */
  encode(rows: R[], read: (inputs: Input[]) => Promise<Sequence[][]>, tokenizer: Tokenizer): Promise<EncodedRow[]>;
  /** Reports the counts when all rows are encoded. */
  finish?(): void;
}

export interface EncodedRow {
  example: Example;
  sequences: { sequence: Pick<Sequence, 'ids'> & Partial<Sequence>; values: Values }[];
  truncated: boolean;
}

/* Simple methods that a model must beat. */

/** The options of `baseline`, as its schema types them: columns as in `tokenize`, and its own. */
type BaselineOptions = Pick<
  TokenizeOptions,
  'task' | 'text' | 'text_pair' | 'missing' | 'words' | 'tags' | 'question' | 'context' | 'answers' | 'target'
> & { label?: string; methods?: string[]; split: string; metrics?: string[]; positive?: string };

/** Rows of a split. `columns`: the column of each field; `as` makes SQL of a column's name, otherwise it is read as text. */
export type ReadColumns = <R extends Row>(
  split: string,
  columns: Record<keyof R & string, string>,
  as?: Partial<Record<keyof R & string, (column: string) => string>>,
) => Promise<R[]>;

export interface BaselineResult {
  /** The number of examples. */
  rows: number;
  /** The ids of the examples, if they are rows of the table. */
  ids?: string[];
  /** The class of each example, for samples with as many examples of each class. */
  strata?: ArrayLike<number>;
  /** Further results that apply to all methods, such as the labels. */
  about: Record<string, Json>;
  methods: Record<string, BaselineMethod>;
}

export interface BaselineMethod {
  /** Of some examples, as in a measurement. */
  metrics(rows?: Int32Array): Record<string, number>;
  /** Further results, such as a confusion matrix. */
  report?: Record<string, Json>;
}

/** What to evaluate, on rows of the table or on the folder of the tokens. Requesting an input that was not given is an error. */
export interface BaselineRequest {
  options: BaselineOptions;
  /** The names of the methods. */
  methods: readonly string[];
  read: ReadColumns;
  readonly tokens: string;
}

/* What is said about a task: on model cards, on the web page, and in the description of the API. */

export interface TaskCard {
  /** The name of the task on the Hugging Face hub, and of transformers' pipeline. */
  hubTask: string;
  /** The class of transformers that loads a model, for tasks without a pipeline. */
  loader?: string;
  /** What a model does: "A bert model that …". */
  purpose(subject: CardSubject): string;
  /** What happens to an input of more than `max_length` tokens. */
  longInput(encoding: Partial<Encoding>, truncationSide: Side): string;
  /** An input and its answer. Tasks that generate have none. */
  example?(labelling: Labelling, mask: string): InputAndAnswer;
  /** Pipelines answer with the best label alone unless `top_k` asks for all. */
  topK?: true;
  /** Further arguments of the call in Python. */
  pythonArguments?(encoding: Partial<Encoding>): string;
}

/** The answers that a model can give. */
export interface Labelling {
  problem: ProblemType;
  labels: string[];
  calibration?: ModelCalibration | undefined;
}

/** `labels` and `oneLabel`: the labels as a list, and as alternatives. */
export interface CardSubject {
  problem: ProblemType;
  texts: 'a text' | 'a pair of texts';
  labels: string;
  oneLabel: string;
}

/** `names` makes HTML of labels. */
export interface PageSubject extends Labelling {
  texts: 'a text' | 'a pair of texts';
  names(labels: string[], conjunction: 'and' | 'or'): string;
}

export interface InputAndAnswer {
  input: string | Record<string, string>;
  answer: object;
}

export const longTextIsTruncated = ({ max_length }: Partial<Encoding>, side: Side): string =>
  `a text of more than ${max_length} tokens is truncated ${side === 'left' ? 'at its beginning' : 'at its end'}`;

export const longTextIsSplit = ({ max_length }: Partial<Encoding>): string =>
  `a text of more than ${max_length} tokens is split into windows that do not overlap`;

export const objectSchema = (properties: Record<string, object>) => ({ type: 'object', required: Object.keys(properties), properties });

export const shareSchema = { type: 'number', minimum: 0, maximum: 1 };

export const placeSchema = { type: 'integer', minimum: 0, description: 'In UTF-16 code units.' };
