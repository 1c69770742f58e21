/** Simple methods that a model must beat: what a task is given to measure them, and what it gives back to `baseline`. */

import type { Json } from '../../../engine/step.ts';
import type { Row } from '../data/database.ts';
import type { Task } from '../models/config.ts';

/** The options of `baseline`, as its schema types them. */
export interface BaselineOptions {
  task: Task;
  methods?: string[];
  text?: string;
  text_pair?: string;
  label?: string;
  missing?: 'refuse' | 'drop';
  words?: string;
  tags?: string;
  question?: string;
  context?: string;
  answers?: string;
  target?: string;
  split: string;
  metrics?: string[];
  positive?: string;
}

/**
 * Rows of a split. `columns`: the column of each field; `as` makes SQL of a column's name, otherwise it is read as
 * text.
 */
export type Read = <R extends Row>(
  split: string,
  columns: Record<keyof R & string, string>,
  as?: Partial<Record<keyof R & string, (column: string) => string>>,
) => Promise<R[]>;

export interface Measured {
  /** The number of examples. */
  rows: number;
  /** Further results that apply to all methods, such as the labels. */
  about: Record<string, Json>;
  methods: Record<string, { metrics: Record<string, number>; [detail: string]: Json }>;
}

/**
 * The inputs of the step: rows of the table, or the folder of the tokens. Requesting an input that was not given is
 * an error that says so.
 */
export interface Given {
  read: Read;
  readonly tokens: string;
}

/** `methods`: the names of those to evaluate. */
export type Measure = (options: BaselineOptions, methods: readonly string[], given: Given) => Promise<Measured>;
