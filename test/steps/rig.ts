/** Runs one step as its child process would, on artifacts made here. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { CellOrigin, MetricNotes, StepContext, StepDeclaration } from '../../engine/contract/step.ts';
import { optionsSchema, outputsOf } from '../../engine/pipeline/schema.ts';
import { Database } from '../../steps/ml/data/database.ts';
import { literal } from '../../steps/ml/data/sql.ts';
import { writeTable } from '../../steps/ml/data/table.ts';
import { builtin } from '../../steps/registry.ts';

export interface Ran {
  /** The folder that contains the outputs, by name. */
  outputs: Record<string, string>;
  log: string[];
  warnings: string[];
  /** The result that the step reported. */
  result?: string;
  /** Final figures. */
  metrics: Record<string, number>;
  /** What was recorded with each of them. */
  notes: Record<string, MetricNotes>;
}

/**
 * `origins`: the cells that made an input; `more` overrides fields of the context. Omitted options have their
 * defaults; options are not validated.
 */
export async function ranStep(
  definition: StepDeclaration<any>,
  options: object,
  inputs: Record<string, string | string[]>,
  origins: Record<string, (CellOrigin | null)[]> = {},
  more: Partial<StepContext<any>> = {},
): Promise<Ran> {
  const folder = temporary();
  const defaults = Object.entries(optionsSchema(definition).properties as Record<string, { default?: unknown }>).filter(
    ([, s]) => 'default' in s,
  );
  const ran: Ran = { outputs: {}, log: [], warnings: [], metrics: {}, notes: {} };
  for (const name of Object.keys(outputsOf(definition))) ran.outputs[name] = join(folder, name);
  const context: StepContext<any> = {
    options: { ...Object.fromEntries(defaults.map(([name, s]) => [name, s.default])), ...options },
    inputs,
    origins,
    addresses: {},
    names: {},
    repositories: {},
    leftOut: [],
    outputs: ran.outputs,
    checkpoints: join(folder, 'checkpoints'),
    folder,
    cell: { cell: definition.name, matrix: {} },
    signal: new AbortController().signal,
    seed: (options as { seed?: number }).seed ?? 0,
    threads: 1,
    log: (message) => void ran.log.push(message),
    warn: (message) => void ran.warnings.push(message),
    result: (message) => {
      ran.result = message;
    },
    progress: () => {},
    metric: (name, value, more) => {
      const notes = typeof more === 'object' ? more : { step: more! };
      if (notes.step !== undefined) return;
      ran.metrics[name] = value;
      ran.notes[name] = notes;
    },
    ...more,
  };
  await (await builtin(definition.name))!.run(context);
  return ran;
}

const none = () => {};

/** For calls of a step's function without the rig: nothing is reported. */
export const silent = { signal: new AbortController().signal, log: none, warn: none, result: none, progress: none };

/** A data artifact with these rows. Columns are those of the first row; all of one type. */
export async function table(rows: object[]): Promise<string> {
  const folder = temporary();
  const database = await Database.open();
  try {
    const columns = Object.keys(rows[0] ?? { id: '', text: '', label: '' });
    const cell = (value: unknown) => (value === null ? 'NULL' : literal(String(value)));
    const values = rows.map((row) => `(${columns.map((name) => cell((row as Record<string, unknown>)[name])).join(', ')})`);
    await database.run(`CREATE TABLE made (${columns.map((name) => `"${name}" VARCHAR`).join(', ')})`);
    if (values.length > 0) await database.run(`INSERT INTO made VALUES ${values.join(', ')}`);
    await writeTable(database, 'made', folder);
  } finally {
    database.close();
  }
  return folder;
}

export function temporary(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'tunesmith-step-')));
  mkdirSync(folder, { recursive: true });
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
