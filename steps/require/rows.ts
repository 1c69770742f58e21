/** The rows on which models are compared: their true values, and their inputs for a model. */

import { type Json, StepError } from '../../engine/contract/step.ts';
import type { Bundle } from '../ml/answering/bundle.ts';
import type { Database, TableColumn } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { namesOf, requireColumn, tableOf } from '../ml/data/table.ts';
import { listed } from '../ml/models/json.ts';
import { flag, isMissing, refuseOtherFlags } from '../ml/tasks/labels.ts';
import { answersAsJson, answersIn } from '../ml/tasks/question-answering.ts';
import { type Field, type Input, partOfInput } from '../ml/tasks/task.ts';

export interface ComparedRows {
  ids: string[];
  truth: Json[];
  /** Rows without a true value, which are left out. */
  unlabelled: number;
  /** The columns of the data, and a relation for SQL that has only these rows. */
  columns: TableColumn[];
  table: string;
  /** The column of the true values, if the task has one. */
  label: string | undefined;
  /** The column of the texts that a model reads. `model`: its name, for messages. */
  textOf(bundle: Bundle, model: string): string;
  /** The inputs of the rows in their order, for a model. */
  inputs(bundle: Bundle, model: string): AsyncGenerator<Input[]>;
}

interface Request {
  data: string;
  /** False for data without splits. */
  split: string | false;
  /** The option `better_than.label`. */
  label: string | string[] | undefined;
}

/** `bundle`: the model whose task decides how true values are read. */
export async function openRows(database: Database, bundle: Bundle, { data, split, label }: Request): Promise<ComparedRows> {
  const table = tableOf(data);
  const columns = await database.columns(table);
  const truth = truthOf(bundle, columns, label);
  const condition = await conditionOf(database, table, columns, split);
  const usable = `${condition} AND (${truth.present})`;
  const used = `(SELECT * FROM ${table} WHERE ${usable})`;
  await refuseOtherFlags(database, used, truth.flags ?? [], ['limits', 'better_than', 'label']);
  const found = await database.rows<{ id: string; truth: string }>(
    `SELECT id, to_json(${truth.sql})::VARCHAR AS truth FROM ${table} WHERE ${usable} ORDER BY id`,
  );
  const { rows } = await database.row<{ rows: number }>(`SELECT count(*) AS rows FROM ${table} WHERE ${condition}`);
  if (found.length === 0)
    throw new StepError(`no row${split === false ? '' : ` of the split "${split}"`} has a value in ${truth.name}`, undefined, [
      'limits',
      'better_than',
      'label',
    ]);
  const { text } = await namesOf(data);
  const requested = (own: Bundle, model: string) => fieldsOf(own, columns, { text, model });
  return {
    columns,
    table: used,
    label: truth.column,
    textOf: (own, model) => requested(own, model)[0]!.column,
    ids: found.map(({ id }) => id),
    truth: found.map((row) => truth.read(row.id, JSON.parse(row.truth))),
    unlabelled: rows - found.length,
    async *inputs(own, model) {
      const fields = requested(own, model);
      const select = fields.map(({ sql }, i) => `${sql} AS f${i}`).join(', ');
      const chunks = database.stream<Record<string, string | null>>(`SELECT id, ${select} FROM ${table} WHERE ${usable} ORDER BY id`);
      for await (const chunk of chunks) yield chunk.map((row) => Object.assign({}, ...fields.map(({ read }, i) => read(row[`f${i}`]!))));
    },
  };
}

/** SQL that selects the rows to compare. A table without splits may contain the training rows, so its rows must be asked for. */
async function conditionOf(database: Database, table: string, columns: TableColumn[], split: string | false): Promise<string> {
  const hasSplits = columns.some(({ name }) => name === 'split');
  if (split === false) {
    if (!hasSplits) return 'true';
    throw new StepError('`split: false`, but the data have a column `split`', 'Set `split` to the name of a split, such as test.', [
      'split',
    ]);
  }
  if (!hasSplits)
    throw new StepError(
      'the data have no column `split`, so they may contain training rows',
      'Give `data` of a split step. For data that no model has seen in training, such as another test set, write `split: false`.',
      ['data'],
    );
  const counts = await database.rows<{ split: string | null }>(
    `SELECT split::VARCHAR AS split FROM ${table} WHERE split IS NOT NULL GROUP BY ALL ORDER BY ALL`,
  );
  if (!counts.some((one) => one.split === split))
    throw new StepError(
      `the data have no split "${split}"`,
      counts.length === 0 ? 'No row has a split.' : `Set \`split\` to one of these: ${counts.map((one) => one.split).join(', ')}.`,
      ['split'],
    );
  return `split::VARCHAR = ${literal(split)}`;
}

interface Truth {
  /** The columns, for messages. */
  name: string;
  column?: string;
  /** Columns that may only hold 0, 1, false and true. */
  flags?: string[];
  sql: string;
  /** SQL that is false for a row without a value. */
  present: string;
  read(id: string, value: Json): Json;
}

function truthOf({ task, problem }: Bundle, columns: TableColumn[], given: string | string[] | undefined): Truth {
  if (task === 'masked-lm' || (task === 'causal-lm' && given === undefined)) return noTruth(task, given);
  const names = [given ?? DEFAULTS[task] ?? 'label'].flat();
  const all = names.map((name) => requireColumn(columns, name, 'limits', 'better_than', 'label')) as [TableColumn, ...TableColumn[]];
  const [column] = all;
  const name = listed(names.map((one) => `\`${one}\``));
  const sql = quote(column.name);
  const refuse = (message: string, hint: string) => new StepError(message, hint, ['limits', 'better_than', 'label']);
  const isList = column.type.endsWith('[]');
  if (task === 'question-answering') {
    const read = (id: string, json: Json) => answersIn(id, json as string).map(({ text }) => text);
    return { name, sql: `coalesce(${answersAsJson(column.name)}, 'null')`, present: 'true', read };
  }
  if (task === 'seq2seq' || task === 'causal-lm') {
    if (Array.isArray(given) || isList) throw refuse(`${name}: ${task} has one text for each row`, 'Set `label` to one column.');
    const text = `coalesce(${sql}::VARCHAR, '')`;
    return { name, column: column.name, sql: text, present: `${text} <> ''`, read: (_, target) => target };
  }
  if (task === 'token-classification') {
    if (!isList) throw refuse(`${name} contains ${column.type}, not lists of tags`, 'Set `label` to the column of tags.');
    return { name, sql: `${sql}::VARCHAR[]`, present: `${sql} IS NOT NULL`, read: (_, tags) => tags };
  }
  if (problem === 'multi_label_classification') {
    if (isList) return { name, sql: `${sql}::VARCHAR[]`, present: `${sql} IS NOT NULL`, read: (_, labels) => labels };
    if (!Array.isArray(given))
      throw refuse(
        `${name} contains ${column.type}, not lists of labels`,
        'Several columns of 0 and 1 are a list: `label: [toxic, insult]`.',
      );
    const flags = names.map((one) => `${flag(one)} = 1`);
    const read = (_: string, values: Json) => names.filter((_, k) => (values as boolean[])[k]);
    return { name, flags: names, sql: `[${flags.join(', ')}]`, present: all.map(isPresent).join(' AND '), read };
  }
  if (Array.isArray(given) || isList) throw refuse(`${name}: the model predicts one value, not several`, 'Set `label` to one column.');
  if (problem !== 'regression') return { name, sql: `${sql}::VARCHAR`, present: isPresent(column), read: (_, label) => label };
  const number = `TRY_CAST(${sql}::VARCHAR AS DOUBLE)`;
  return { name, sql: number, present: `coalesce(isfinite(${number}), false)`, read: (_, value) => value };
}

const isPresent = (column: TableColumn): string => `NOT ${isMissing(column)}`;

const DEFAULTS: Partial<Record<Bundle['task'], string>> = {
  'token-classification': 'tags',
  'question-answering': 'answers',
  seq2seq: 'target',
};

/** Language models predict the tokens of the texts themselves. */
function noTruth(task: Bundle['task'], given: string | string[] | undefined): Truth {
  if (given !== undefined)
    throw new StepError(`\`label\` does not apply to ${task}, which predicts tokens of the texts`, 'Remove it.', [
      'limits',
      'better_than',
      'label',
    ]);
  return { name: 'the texts', sql: "''", present: 'true', read: (_, nothing) => nothing };
}

interface FieldColumn {
  column: string;
  sql: string;
  /** The field's part of an input. */
  read(value: string | null): Input;
}

/** A model reads the columns of its training; a model from elsewhere reads the columns with the names of its fields. */
function fieldsOf(
  { fields, encoding }: Bundle,
  columns: TableColumn[],
  { text, model }: { text: string | undefined; model: string },
): FieldColumn[] {
  return fields.flatMap((field: Field): FieldColumn[] => {
    const { name, optional, words, group } = field;
    const column = encoding.fields?.[name] ?? (name === 'text' ? (text ?? (words ? 'tokens' : name)) : name);
    const found = columns.find((one) => one.name === column);
    if (!found && optional) return [];
    if (!found)
      throw new StepError(
        `${model} reads the column \`${column}\`, which the data do not have`,
        `The columns are ${columns.map((one) => `\`${one.name}\``).join(', ')}. Make it with \`select\` of collect.`,
        ['data'],
      );
    if (words && found.type.endsWith('[]')) {
      const read = (list: string | null): Input => ({ [name]: (JSON.parse(list!) as string[]).join(' '), words: list! });
      return [{ column, sql: `coalesce(to_json(${quote(column)}::VARCHAR[])::VARCHAR, '[]')`, read }];
    }
    if (group) return [{ column, sql: `${quote(column)}::VARCHAR`, read: (value) => partOfInput(field, value)! }];
    return [{ column, sql: `coalesce(${quote(column)}::VARCHAR, '')`, read: (value) => ({ [name]: value! }) }];
  });
}
