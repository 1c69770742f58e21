/**
 * Defines a task, independently of the model: how an input becomes sequences, and how the model's outputs become an
 * answer or metrics. One file per task beside this one; `taskKind` in registry.ts finds it.
 */

import { type Json, StepError } from '../../../engine/step.ts';
import type { ProblemType, Task } from '../models/config.ts';
import type { Encoding } from '../models/encoding.ts';
import type { Example, Split } from '../models/token-dataset.ts';
import type { Sequence, Tokenizer, TokenizerOptions } from '../models/tokenizer.ts';
import type { HostTensors } from '../runtime/runtime.ts';
import type { Measure } from './baseline.ts';
import type { Prepare } from './preparation.ts';

/**
 * One input of predict and serve, by field. If a text was given as a list of words, `words` has that list as JSON.
 */
export type Input = Record<string, string>;

/** A field of an input. */
export interface Field {
  name: string;
  optional?: boolean;
  /** A list of words may replace the text; the words are joined by spaces. */
  words?: boolean;
}

/** The field's part of an input; undefined if the value is invalid. */
export function partOfInput({ name, words }: Field, value: unknown): Input | undefined {
  if (typeof value === 'string') return { [name]: value };
  if (!words || !Array.isArray(value) || value.some((word) => typeof word !== 'string')) return undefined;
  return { [name]: value.join(' '), words: JSON.stringify(value) };
}

/**
 * The item, counted from 1, that makes a list an invalid list of words; undefined if all are valid, or the field
 * takes no words.
 */
export function itemThatIsNoWord({ words }: Field, value: unknown): number | undefined {
  const place = words && Array.isArray(value) ? value.findIndex((word) => typeof word !== 'string') : -1;
  return place < 0 ? undefined : place + 1;
}

/** Outputs of a program for a batch, by name: [batch, …]. */
export type Outputs = Record<string, { data: ArrayLike<number>; shape: readonly number[] }>;

/** What answers depend on besides the outputs: properties of the model, and options of the request. */
export interface Answering {
  labels: string[];
  problem: ProblemType;
  tokenizer: Tokenizer;
  /** For masked-lm. */
  mask?: { token: string; id: number };
}

/** `R` is the part of the outputs that is kept for one sequence. */
export interface TaskKind<R = unknown> {
  task: Task;
  /** Reads a table as far as it must be known before anything long begins, and refuses what cannot be learned from: for `tokenize`. */
  prepare: Prepare<any>;
  /** Measures simple methods that a model must beat: for `baseline`. */
  baseline?: Measure;
  fields: readonly Field[];
  /** How the tokenizer is opened for inputs. Without a length texts stay whole, and `encode` makes windows. */
  tokenizing(encoding: Partial<Encoding>): TokenizerOptions;
  /** The sequences of each cleaned input. Throws a StepError for an invalid input. Only `openEncoder` calls it. */
  encode(inputs: Input[], reading: { tokenizer: Tokenizer; encoding: Partial<Encoding> }): Promise<Sequence[][]>;
  /**
   * The fields of which only as much is read as `max_length` tokens need, in the order of the texts, if they are used
   * for nothing else.
   */
  cut?: readonly string[];
  /** Extracts row `row` from the outputs of a batch. */
  read(outputs: Outputs, row: number, sequence: Sequence, answering: Answering): R;
  /** What predict prints for an input: one JSON object. */
  answer(input: Input, sequences: Sequence[], results: R[], answering: Answering): Promise<Json> | Json;
  measure(measuring: Measuring): Measurement<any>;
}

export interface Measuring {
  labels: string[];
  problem: ProblemType;
  /** Names of the metrics. */
  metrics: readonly string[];
  /** The positive class of two labels, for precision, recall and f1. */
  positive?: number | undefined;
  split: Split;
  /** Maps the tokens' labels to those of the model. */
  labelIds: Int32Array;
}

/** Receives the examples of a split in their order. */
export interface Measurement<R = unknown> {
  /** Extracts from a batch's outputs what belongs to row `row`, a sequence of `length` tokens. */
  read(outputs: Outputs, row: number, length: number, inputs: HostTensors): R;
  /** `first`: the example's first sequence in the split. Returns the fields that are written besides its id. */
  add(example: Example, first: number, results: R[]): Record<string, Json>;
  /** The requested metrics, and `loss`. */
  metrics(): Record<string, number>;
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
    if (Number.isNaN(scores[i]!))
      throw new StepError(
        'the model outputs scores that are not numbers',
        'Its training diverged: train it again with a lower learning_rate.',
      );
    if (scores[i]! > scores[place]!) place = i;
  }
  return place;
}
