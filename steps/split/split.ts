/**
 * Orders each stratum's rows by a hash of seed and content and cuts it: first come the test rows, then validation, then train.
 * With more data the cuts move a little along the hashes, so a former test row may become validation, but hardly ever train.
 */
import { mkdir } from 'node:fs/promises';
import { VARCHAR } from '@duckdb/node-api';
import { StepError } from '../../engine/step.ts';
import { type Column, Database, quote } from '../data/database.ts';
import { carryPreprocessing, requireColumn, tableOf, writeTable } from '../data/table.ts';
import type step from './step.ts';

type Context = Parameters<typeof step.run>[0];

export async function split(context: Context): Promise<void> {
  const { options, inputs, log } = context;
  const data = context.outputs.data!;
  await mkdir(data, { recursive: true });
  const database = await Database.open(data, context.threads);
  try {
    await database.run(`CREATE VIEW input AS FROM ${tableOf(inputs.data)}`);
    const columns = await database.columns('input');
    if (columns.some(({ name }) => name === 'split'))
      throw new StepError('the data have a column `split` already', 'Leave this step out to use it, or leave the column out of collect’s `select`.');
    const key = options.key ?? defaultKey(columns);
    for (const name of [...key, ...(options.stratify ? [options.stratify] : [])]) requireColumn(columns, name);
    await hashRows(database, key, options);

    const names = options.ratios.length === 2 ? ['train', 'test'] : ['train', 'validation', 'test'];
    const strata = await readStrata(database, options.stratify, names);
    await assign(database, strata, names, options.ratios);
    const counts = countsOf(strata, names);
    await writeTable(database, '(SELECT input.*, split FROM input JOIN hashed USING (id) JOIN assigned USING (hash))', data, {
      label: options.stratify,
      counted: { splits: counts },
    });
    await carryPreprocessing(inputs.data, data);
    …
  } finally {
    database.close();
  }
}
