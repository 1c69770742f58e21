/** Texts, or pairs of texts, with a label each, any number of labels, or a number. */
import { StepError } from '../../engine/step.ts';
import { quote, type Row } from '../data/database.ts';
import { requireColumn } from '../data/table.ts';
import { listed } from '../models/checkpoint.ts';
import type { Column } from '../models/tokens.ts';
import { labelsInOrder, refuseUnlabelled, requireTwo, warnEmpty } from './labels.ts';
import type { Prepare, Source } from './tokenize.ts';

interface Labelled extends Row {
  id: string;
  text: string;
  text_pair: string | null;
  /** A text, a JSON list of texts, or a number. */
  label: string | number;
}

export const textClassification: Prepare<Labelled> = async (source) => {
  const { columns, options } = source;
  const [text, pair] = [options.text ?? 'text', options.text_pair];
  requireColumn(columns, text, 'text');
  if (pair !== undefined) requireColumn(columns, pair, 'text_pair');
  await warnEmpty(source, [text, ...(pair === undefined ? [] : [pair])]);
  const problem = options.problem_type ?? 'single_label_classification';
  const { labels, sql, values, column } = await LABELS[problem](source);
  return {
    labels,
    problem,
    fields: { text, ...(pair === undefined ? {} : { text_pair: pair }) },
    tokenizing: { maxLength: source.maxLength, ...(options.truncation ? { truncation: options.truncation } : {}) },
    paired: pair !== undefined,
    columns: { labels: column },
    select: {
      text: `coalesce(${quote(text)}::VARCHAR, '')`,
      text_pair: pair === undefined ? 'NULL' : `coalesce(${quote(pair)}::VARCHAR, '')`,
      label: sql,
    },
    async encode(rows, tokenizer) {
      const sequences = await (pair === undefined
        ? tokenizer.encode(rows.map((row) => row.text))
        : tokenizer.encodePairs(rows.map((row) => [row.text, row.text_pair!])));
      return rows.map(({ id, label }, i) => ({
        example: { id },
        sequences: [{ sequence: sequences[i]!, values: { labels: values(label) } }],
        truncated: sequences[i]!.truncated,
      }));
    },
  };
};

interface Labels {
  labels: string[];
  /** The label of a row. */
  sql: string;
  values(label: string | number): number[];
  column: Column;
}

const LABELS = { single_label_classification: single, multi_label_classification: multiple, regression: number };

async function single({ database, table, columns, options, warn }: Source): Promise<Labels> {
  const label = (options.label ?? 'label') as string;
  const { type } = requireColumn(columns, label, 'label');
  if (type.endsWith('[]'))
    throw new StepError(
      `the column \`${label}\` holds lists`,
      'Texts with any number of labels: `problem_type: multi_label_classification`.',
      ['label'],
    );
  const counts = await database.rows<{ split: string; label: string | null; rows: number }>(
    `SELECT split::VARCHAR AS split, ${quote(label)}::VARCHAR AS label, count(*) AS rows FROM ${table} GROUP BY ALL ORDER BY ALL`,
  );
  refuseUnlabelled(counts, label);
  const labels = labelsInOrder(
    counts.map((count) => count.label!),
    type,
  );
  requireTwo(
    labels,
    counts.filter(({ split }) => split === 'train').map((count) => count.label!),
    warn,
  );
  const ids = new Map(labels.map((name, i) => [name, i]));
  return {
    labels,
    sql: `${quote(label)}::VARCHAR`,
    values: (name) => [ids.get(name as string)!],
    column: { per: 'sequence', dtype: 'int32', width: 1 },
  };
}

/** A column of lists, or a column of 0 and 1 for each label. */
async function multiple(source: Source): Promise<Labels> {
  const { database, table, columns, options } = source;
  const given = options.label ?? 'label';
  const sql = Array.isArray(given) ? flags(source, given) : `to_json(${quote(given)})::VARCHAR`;
  if (!Array.isArray(given)) {
    const { type } = requireColumn(columns, given, 'label');
    if (!type.endsWith('[]'))
      throw new StepError(
        `the column \`${given}\` holds ${type}, not lists`,
        'multi_label_classification takes a column of lists, or several columns of 0 and 1: `label: [toxic, insult]`.',
        ['label'],
      );
  }
  const list = Array.isArray(given) ? `from_json(${sql}, '["VARCHAR"]')` : `${quote(given)}::VARCHAR[]`;
  const found = await database.rows<{ label: string | null; trained: boolean }>(
    `SELECT label, bool_or(split = 'train') AS trained FROM (SELECT split, unnest(${list}) AS label FROM ${table}) GROUP BY label ORDER BY label`,
  );
  if (found.some(({ label }) => label === null))
    throw new StepError('a list of labels holds null', 'Clean it in collect with `select`.', ['label']);
  const labels = Array.isArray(given)
    ? given
    : labelsInOrder(
        found.map(({ label }) => label!),
        'VARCHAR',
      );
  if (labels.length === 0) throw new StepError('no row has a label', 'Every list of labels is empty.', ['label']);
  const unseen = labels.filter((label) => !found.some((one) => one.label === label && one.trained));
  if (unseen.length > 0) source.warn(`no training text has the label ${listed(unseen)}: it cannot be learned`);
  return {
    labels,
    sql: `coalesce(${sql}, '[]')`,
    values(names) {
      const own = new Set(JSON.parse(names as string).map(String));
      return labels.map((label) => (own.has(label) ? 1 : 0));
    },
    column: { per: 'sequence', dtype: 'float32', width: labels.length },
  };
}

/** The names of the columns that hold 1 or true, as a JSON list. */
function flags({ columns }: Source, names: string[]): string {
  for (const name of names) {
    const { type } = requireColumn(columns, name, 'label');
    if (!/^(BOOLEAN|U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*)$/.test(type))
      throw new StepError(`the column \`${name}\` holds ${type}, not 0 and 1`, 'Columns of labels hold 0 and 1, or false and true.', [
        'label',
      ]);
  }
  const each = names.map((name) => `CASE WHEN ${quote(name)}::DOUBLE = 1 THEN '${name.replaceAll("'", "''")}' END`);
  return `to_json(list_filter([${each.join(', ')}], lambda x: x IS NOT NULL))::VARCHAR`;
}

async function number({ database, table, columns, options }: Source): Promise<Labels> {
  const label = (options.label ?? 'label') as string;
  requireColumn(columns, label, 'label');
  const sql = `TRY_CAST(${quote(label)}::VARCHAR AS DOUBLE)`;
  const wrong = await database.rows<{ id: string; label: string | null }>(
    `SELECT id, ${quote(label)}::VARCHAR AS label FROM ${table} WHERE ${sql} IS NULL OR NOT isfinite(${sql}) ORDER BY id LIMIT 1`,
  );
  if (wrong.length > 0)
    throw new StepError(
      `row ${wrong[0]!.id}: \`${label}\` is ${JSON.stringify(wrong[0]!.label)}, not a number`,
      'regression learns numbers. Leave such rows out in collect: `where`.',
      ['label'],
    );
  return {
    labels: ['score'],
    sql,
    values: (value) => [value as number],
    column: { per: 'sequence', dtype: 'float32', width: 1 },
  };
}
