/** Evaluates simple methods on a split. The tasks in steps/ml/tasks define them. */
import { writeFile } from 'node:fs/promises';
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { Database, type Row } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { namesOf, requireColumn, tableOf } from '../ml/data/table.ts';
import { taskFacts } from '../ml/models/config.ts';
import { betterOf } from '../ml/tasks/metrics.ts';
import { taskKind } from '../ml/tasks/registry.ts';
import type { ReadColumns } from '../ml/tasks/task.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

export async function baseline({ options, inputs, outputs, log, metric }: Context): Promise<void> {
  const { task } = options;
  const refuse = (input: string, why: string): never => {
    throw new StepError(`the baselines of ${task} are evaluated on ${why}, but the step has no \`${input}\``);
  };
  const database = inputs.data === undefined ? undefined : await Database.open();
  try {
    const text = inputs.data === undefined ? undefined : (await namesOf(inputs.data)).text;
    const { rows, about, methods } = await taskKind(task).baseline!({
      options: { ...(text !== undefined && { text }), ...options },
      methods: options.methods ?? taskFacts(task).baselines,
      read: database ? await reader(database, inputs.data!) : async () => refuse('data', 'the `data` of a split step'),
      get tokens() {
        return inputs.tokens ?? refuse('tokens', 'the `tokens` of a tokenize step');
      },
    });
    for (const [name, { metrics }] of Object.entries(methods)) {
      for (const [key, value] of Object.entries(metrics)) metric(`${name}.${key}`, value, { better: betterOf(key) });
      const values = Object.entries(metrics).map(([key, value]) => `${key} ${value.toFixed(4)}`);
      log(`${name}: ${values.join(', ')}`);
    }
    await writeFile(outputs.metrics!, `${JSON.stringify({ split: options.split, rows, ...about, methods }, null, 2)}\n`);
  } finally {
    database?.close();
  }
}

async function reader(database: Database, data: string): Promise<ReadColumns> {
  const table = tableOf(data);
  const available = await database.columns(table);
  requireColumn(available, 'split');
  return async <R extends Row>(split: string, columns: Record<keyof R & string, string>, as: Parameters<ReadColumns>[2] = {}) => {
    const fields = Object.entries<string>(columns).map(([field, column]) => {
      requireColumn(available, column, field);
      const sql = as[field as keyof typeof as]?.(column) ?? `coalesce(${quote(column)}::VARCHAR, '')`;
      return `${sql} AS ${quote(field)}`;
    });
    const rows = await database.rows<R>(`SELECT ${fields.join(', ')} FROM ${table} WHERE split = ${literal(split)} ORDER BY id`);
    if (rows.length === 0) throw new StepError(`the split "${split}" is empty`, 'Give the `data` of a split step that has rows in it.');
    return rows;
  };
}
