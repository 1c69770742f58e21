/** Evaluates simple methods on a split. One file per task beside this one defines them. */
import { writeFile } from 'node:fs/promises';
import { type Json, StepError } from '../../engine/step.ts';
import { Database, literal, quote, type Row } from '../ml/data/database.ts';
import { namesOf, requireColumn, tableOf } from '../ml/data/table.ts';
import { baselineCausalLm } from '../ml/tasks/causal-lm.ts';
import { baselineQuestionAnswering } from '../ml/tasks/question-answering.ts';
import { baselineSeq2seq } from '../ml/tasks/seq2seq.ts';
import { baselineTextClassification } from '../ml/tasks/text-classification.ts';
import { baselineTokenClassification } from '../ml/tasks/token-classification.ts';
import type step from './step.ts';
import { METHODS_OF } from './step.ts';

type Context = Parameters<(typeof step)['run']>[0];

export type Options = Context['options'];

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
export type Measure = (options: Options, methods: readonly string[], given: Given) => Promise<Measured>;

const MEASURE: Record<Options['task'], Measure> = {
  'text-classification': baselineTextClassification,
  'token-classification': baselineTokenClassification,
  'question-answering': baselineQuestionAnswering,
  'causal-lm': baselineCausalLm,
  seq2seq: baselineSeq2seq,
};

export async function baseline({ options, inputs, outputs, log, metric }: Context): Promise<void> {
  const { task } = options;
  const refuse = (input: string, why: string): never => {
    throw new StepError(`the baselines of ${task} are evaluated on ${why}, but the step has no \`${input}\``);
  };
  const database = inputs.data === undefined ? undefined : await Database.open();
  try {
    const given: Given = {
      read: database ? await reader(database, inputs.data!) : async () => refuse('data', 'the `data` of a split step'),
      get tokens() {
        return inputs.tokens ?? refuse('tokens', 'the `tokens` of a tokenize step');
      },
    };
    const text = inputs.data === undefined ? undefined : (await namesOf(inputs.data)).text;
    const { rows, about, methods } = await MEASURE[task](
      { ...(text !== undefined && { text }), ...options },
      options.methods ?? METHODS_OF[task],
      given,
    );
    for (const [name, { metrics }] of Object.entries(methods)) {
      for (const [key, value] of Object.entries(metrics)) metric(`${name}.${key}`, value);
      const told = Object.entries(metrics).map(([key, value]) => `${key} ${value.toFixed(4)}`);
      log(`${name}: ${told.join(', ')}`);
    }
    await writeFile(outputs.metrics!, `${JSON.stringify({ split: options.split, rows, ...about, methods }, null, 2)}\n`);
  } finally {
    database?.close();
  }
}

async function reader(database: Database, data: string): Promise<Read> {
  const table = tableOf(data);
  const available = await database.columns(table);
  requireColumn(available, 'split');
  return async (split, columns, as = {}) => {
    const fields = Object.entries<string>(columns).map(([field, column]) => {
      requireColumn(available, column, field);
      const sql = as[field as keyof typeof as]?.(column) ?? `coalesce(${quote(column)}::VARCHAR, '')`;
      return `${sql} AS ${quote(field)}`;
    });
    const found = await database.rows(`SELECT ${fields.join(', ')} FROM ${table} WHERE split = ${literal(split)} ORDER BY id`);
    if (found.length === 0) throw new StepError(`the split "${split}" is empty`, 'Give the `data` of a split step that has rows in it.');
    return found as any;
  };
}
