/** Files to collect, and the collected rows. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import definition from '../../../steps/collect/step.ts';
import type { Row } from '../../../steps/ml/data/database.ts';
import { describeTable, readRows } from '../../table.ts';
import { ranStep, temporary } from '../rig.ts';

export type Files = Record<string, string | Uint8Array>;

export function written(files: Files): string[] {
  const folder = temporary();
  return Object.entries(files).map(([name, content]) => {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  });
}

export interface Collected {
  rows: Row[];
  /** `name TYPE` of each column. */
  columns: string[];
  /** `source:row reason`. */
  rejected: string[];
  card: any;
  warnings: string[];
  log: string[];
  folder: string;
}

export async function collected(files: Files, options: object = {}, inputs = written(files)): Promise<Collected> {
  const { outputs, warnings, log } = await ranStep(definition, options, { files: inputs });
  const folder = outputs.data!;
  const { columns } = await describeTable(folder);
  const rows: Row[] = [];
  for await (const chunk of readRows(
    folder,
    columns.map(({ name }) => name),
  ))
    rows.push(...chunk);
  const put = join(folder, 'rejected.jsonl');
  const rejected = existsSync(put) ? readFileSync(put, 'utf8').trim().split('\n') : [];
  return {
    rows,
    columns: columns.map(({ name, type }) => `${name} ${type}`),
    rejected: rejected.map((line) => {
      const { source, row, reason } = JSON.parse(line);
      return short(`${source}:${row} ${reason}`);
    }),
    card: JSON.parse(readFileSync(join(folder, 'card.json'), 'utf8')),
    warnings,
    log: log.map(short),
    folder,
  };
}

/** Values of one column, in the order of the table. */
export const values = (table: Collected, column: string) => table.rows.map((row) => row[column]);

/** The message and hint of the error. */
export async function failure(files: Files, options: object = {}): Promise<string> {
  try {
    await collected(files, options);
  } catch (error) {
    expect(error).toHaveProperty('name', 'StepError');
    const { message, hint } = error as { message: string; hint?: string };
    return short([message, ...(hint ? [hint] : [])].join(' → '));
  }
  return 'no failure';
}

/** Paths relative to the files' folder. */
const short = (text: string) => text.replaceAll(/(\.\.\/)*tunesmith-step-\w+\//g, '');
