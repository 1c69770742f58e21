/**
 * What a task is, apart from the model: how an input becomes sequences, and what the model says to them becomes an answer
 * or a measurement. One file a task beside this one; `taskKind` in registry.ts finds it.
 */
import { type Json, StepError } from '../../engine/step.ts';
import type { Encoding } from '../models/encoding.ts';
import type { ProblemType, Task } from '../models/family.ts';
import type { Sequence, Tokenizer, TokenizerOptions } from '../models/tokenizer.ts';
import type { Example, Split } from '../models/tokens.ts';
import type { HostTensors } from '../runtime/runtime.ts';

/** One input of predict and serve, by field. Beside a text that came as a list of words there is `words`, that list as JSON. */
export type Input = Record<string, string>;

/** What an input has. */
export interface Field {
  name: string;
  optional?: boolean;
  /** A list of words may stand for the text, which has a space between them. */
  words?: boolean;
}

/** A field's part of an input; undefined where the value is none. */
export function partOfInput({ name, words }: Field, value: unknown): Input | undefined {
  if (typeof value === 'string') return { [name]: value };
  if (!words || !Array.isArray(value) || value.some((word) => typeof word !== 'string')) return undefined;
  return { [name]: value.join(' '), words: JSON.stringify(value) };
}

/** Which item of a list keeps it from being words, counted from 1; undefined where none does, or the field takes no words. */
export function itemThatIsNoWord({ words }: Field, value: unknown): number | undefined {
  const place = words && Array.isArray(value) ? value.findIndex((word) => typeof word !== 'string') : -1;
  return place < 0 ? undefined : place + 1;
}

/** Outputs of a program over a batch, by name: [batch, …]. */
export type Outputs = Record<string, { data: ArrayLike<number>; shape: readonly number[] }>;

/** What answers depend on beside the outputs: of the model, and of who asks. */
export interface Answering {
  labels: string[];
  problem: ProblemType;
  tokenizer: Tokenizer;
  /** Of masked-lm. */
  mask?: { token: string; id: number };
}

/** `R` is what is kept of the outputs for one sequence. */
export interface TaskKind<R = unknown> {
  task: Task;
  fields: readonly Field[];
  /** How the tokenizer is opened for inputs; without a length texts stay whole, and `encode` makes windows. */
  tokenizing(encoding: Partial<Encoding>): TokenizerOptions;
  /** The sequences of each input, which is cleaned. Throws a StepError for an input that cannot be one. For `openEncoder` alone. */
  encode(inputs: Input[], reading: { tokenizer: Tokenizer; encoding: Partial<Encoding> }): Promise<Sequence[][]>;
  /** The fields of which it reads so much as `max_length` tokens need, in the order of the texts, where it uses them for nothing else. */
  cut?: readonly string[];
  /** Takes from a batch's outputs what the model says to its row `row`. */
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
  /** Of two labels the one that precision, recall and f1 are about. */
  positive?: number | undefined;
  split: Split;
  /** The tokens' labels as the model numbers them. */
  labelIds: Int32Array;
}

/** Takes the examples of a split in their order. */
export interface Measurement<R = unknown> {
  /** Takes from a batch's outputs what belongs to its row `row`, a sequence of `length` tokens. */
  read(outputs: Outputs, row: number, length: number, inputs: HostTensors): R;
  /** `first`: the example's first sequence in the split. Returns what is written down of it beside its id. */
  add(example: Example, first: number, results: R[]): Record<string, Json>;
  /** The metrics that were asked for, and `loss`. */
  metrics(): Record<string, number>;
  /** What else a report shows, e.g. a confusion matrix. */
  report(): Record<string, Json>;
  /** What the user should not miss, e.g. that every row got one label. */
  warnings?(): string[];
}

/** Row `row` of an output [batch, width]. */
export function rowOf({ data, shape }: Outputs[string], row: number): Float32Array {
  const width = shape.slice(1).reduce((product, n) => product * n, 1);
  return Float32Array.from({ length: width }, (_, i) => data[row * width + i]!);
}

/** The first `length` tokens' values of row `row` of an output [batch, tokens, …]. */
export function tokensOf({ data, shape }: Outputs[string], row: number, length: number): Float32Array {
  const width = shape.slice(2).reduce((product, n) => product * n, 1);
  const begin = row * shape[1]! * width;
  return Float32Array.from({ length: length * width }, (_, i) => data[begin + i]!);
}

/** In float64: logits have seven digits, and their sums should keep them. */
export function logSoftmax(logits: ArrayLike<number>): Float64Array {
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > highest) highest = logits[i]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - highest);
  const log = highest + Math.log(sum);
  return Float64Array.from({ length: logits.length }, (_, i) => logits[i]! - log);
}

/** A logit has seven digits: more of a probability would be noise. */
export const rounded = (value: number): number => Number(value.toPrecision(8));

/** Of scores or logits the place of the highest; the first of equals. */
export function best(scores: ArrayLike<number>): number {
  let place = 0;
  for (let i = 0; i < scores.length; i++) {
    if (Number.isNaN(scores[i]!))
      throw new StepError(
        'the model gives scores that are not numbers',
        'Its training diverged: train it again with a lower learning_rate.',
      );
    if (scores[i]! > scores[place]!) place = i;
  }
  return place;
}
