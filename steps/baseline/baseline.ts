/** Evaluates simple methods on a split. The tasks in steps/ml/tasks define them. */
import { writeFile } from 'node:fs/promises';
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { Database, type Row } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { namesOf, requireColumn, tableOf } from '../ml/data/table.ts';
import type { Units } from '../ml/metrics/bootstrap.ts';
import { endsOf, noteOnNarrow, notesOnIntervals, within } from '../ml/metrics/intervals.ts';
import { whyUndefined } from '../ml/metrics/undefined-metrics.ts';
import { taskFacts } from '../ml/models/config.ts';
import type { Example } from '../ml/models/token-dataset.ts';
import { betterOf } from '../ml/tasks/metrics.ts';
import { taskKind } from '../ml/tasks/registry.ts';
import { allRows, intervalsOf, readUnits, unitsIn } from '../ml/tasks/resampling.ts';
import type { BaselineMethod, ReadColumns } from '../ml/tasks/task.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

export async function baseline(context: Context): Promise<void> {
  const { options, inputs, outputs } = context;
  const { task } = options;
  const refuse = (input: string, why: string): never => {
    throw new StepError(`the baselines of ${task} are evaluated on ${why}, but the step has no \`${input}\``);
  };
  const database = inputs.data === undefined ? undefined : await Database.open();
  try {
    const text = inputs.data === undefined ? undefined : (await namesOf(inputs.data)).text;
    const { rows, ids, strata, about, methods } = await taskKind(task).baseline!({
      options: { ...(text !== undefined && { text }), ...options },
      methods: options.methods ?? taskFacts(task).baselines,
      read: database ? await reader(database, inputs.data!) : async () => refuse('data', 'the `data` of a split step'),
      get tokens() {
        return inputs.tokens ?? refuse('tokens', 'the `tokens` of a tokenize step');
      },
    });
    const groups = await readUnits({ rows, examples: () => examplesOf(ids!) }, inputs.data, options.intervals);
    const units = unitsIn(options.intervals, groups, strata)(allRows({ rows }));
    const measured = Object.entries(methods).map(([name, method]) => measure(name, method, units, context));
    const reasons = Object.assign({}, ...measured.map((one) => one.undefined));
    const narrow = noteOnNarrow(Object.assign({}, ...measured.map((one) => one.intervals)));
    if (narrow) context.warn(narrow);
    const all = {
      split: options.split,
      rows,
      ...about,
      ...(measured[0]?.interval && { interval: measured[0].interval }),
      ...(Object.keys(reasons).length > 0 && { undefined: reasons }),
      methods: Object.fromEntries(measured.map(({ name, result }) => [name, result])),
    };
    await writeFile(outputs.metrics!, `${JSON.stringify(all, null, 2)}\n`);
  } finally {
    database?.close();
  }
}

async function* examplesOf(ids: string[]): AsyncGenerator<Example> {
  for (const id of ids) yield { id };
}

/** Reports the metrics of a method with their intervals, and returns what the metrics file says about it. */
function measure(name: string, { metrics, report }: BaselineMethod, units: Units, { options, log, warn, metric }: Context) {
  const values = metrics();
  const drawn = intervalsOf(options.intervals, metrics, units);
  const intervals = drawn?.report.intervals;
  const reasons: Record<string, string> = {};
  for (const [key, value] of Object.entries(values)) {
    metric(`${name}.${key}`, value, { better: betterOf(key), ...endsOf(intervals, key) });
    if (Number.isFinite(value)) continue;
    reasons[key] = whyUndefined(key, value, options.task);
    warn(`${name}.${key} is undefined: ${reasons[key]}`);
  }
  const texts = Object.entries(values).map(([key, value]) => `${key} ${within(value, intervals?.[key])}`);
  log(`${name}: ${texts.join(', ')}`);
  for (const line of notesOnIntervals(intervals ?? {}, drawn?.undefined ?? {})) log(`${name}: ${line}`);
  return {
    name,
    result: { metrics: values, ...(intervals && { intervals }), ...report },
    interval: drawn?.report.interval,
    intervals: Object.fromEntries(Object.entries(intervals ?? {}).map(([key, ends]) => [`${name}.${key}`, ends])),
    undefined: Object.fromEntries(Object.entries({ ...reasons, ...drawn?.undefined }).map(([key, why]) => [`${name}.${key}`, why])),
  };
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
