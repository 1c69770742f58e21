/**
 * The predictions of an evaluation as data: a table with one row per example, in the order of the tokens, which other steps,
 * SQL and `show` can read. Row i belongs to the i-th example of the measurement.
 */

import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Json, StepError } from '../../engine/contract/step.ts';
import { Database, type TableColumn } from '../ml/data/database.ts';
import { carryPreprocessing } from '../ml/data/preprocessing.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { carrySources, namesOf, tableOf, writeTable } from '../ml/data/table.ts';

/** Receives the predictions one by one. Only a few of them are in memory at a time. */
export class Predictions {
  #lines: string[] = [];
  #rows = 0;
  /** In bytes. */
  #longest = 1 << 20;
  readonly #ids = createHash('sha256');

  private constructor(
    private readonly folder: string,
    private readonly file: FileHandle,
  ) {}

  static async open(folder: string): Promise<Predictions> {
    await mkdir(folder, { recursive: true });
    return new Predictions(folder, await open(linesIn(folder), 'w'));
  }

  async add(id: string, prediction: Record<string, Json>): Promise<void> {
    const line = `${JSON.stringify({ [ROW]: this.#rows++, id, ...prediction })}\n`;
    this.#longest = Math.max(this.#longest, Buffer.byteLength(line));
    this.#ids.update(`${id}\n`);
    this.#lines.push(line);
    if (this.#lines.length === 1000) await this.#flush();
  }

  async #flush(): Promise<void> {
    await this.file.appendFile(this.#lines.join(''));
    this.#lines = [];
  }

  close(): Promise<void> {
    return this.file.close();
  }

  /** Writes the table. `columns`: the SQL types of the predictions. `data`: the folder whose columns each row gets by its id. */
  async finish({ columns, split, data }: { columns: Record<string, string>; split: string; data: string | undefined }): Promise<void> {
    await this.#flush();
    const lines = linesIn(this.folder);
    const database = await Database.open(this.folder);
    try {
      const types = Object.entries({ [ROW]: 'BIGINT', id: 'VARCHAR', ...columns }).map(
        ([name, type]) => `${literal(name)}: ${literal(type)}`,
      );
      await database.run(
        `CREATE VIEW predicted AS SELECT * FROM read_json(${literal(lines)}, format = 'newline_delimited',
           maximum_object_size = ${this.#longest}, columns = {${types.join(', ')}})`,
      );
      const others = data === undefined ? [] : await columnsOf(database, data, Object.keys(columns));
      const own = Object.keys(columns).map((name) => `predicted.${quote(name)}`);
      const selected = `SELECT ${['predicted.id', `${literal(split)} AS split`, ...others, ...own].join(', ')}`;
      if (data === undefined) await writeTable(database, `(${selected} FROM predicted)`, this.folder, { sorted: true });
      else await this.#join(database, selected, data);
    } finally {
      database.close();
    }
    await rm(lines);
    if (data === undefined) return;
    await carryPreprocessing(data, this.folder);
    await carrySources(data, this.folder);
  }

  /**
   * Data and predictions are in the same order, that of the ids. So only the predictions need to be in memory, and the rows of the
   * data pass by them. Data in another order have to be sorted.
   */
  async #join(database: Database, selected: string, data: string): Promise<void> {
    const options = { sorted: true, names: await namesOf(data) } as const;
    await database.run("SET disabled_optimizers = 'join_order,build_side_probe_side'");
    await database.run('SET threads = 1');
    const joined = `${selected} FROM data JOIN predicted ON data.id::VARCHAR = predicted.id`;
    await writeTable(database, `(${joined})`, this.folder, options);
    const ids = createHash('sha256');
    for await (const rows of database.stream<{ id: string }>(`SELECT id FROM ${tableOf(this.folder)}`))
      for (const { id } of rows) ids.update(`${id}\n`);
    if (ids.digest('hex') === this.#ids.digest('hex')) return;
    await writeTable(database, `(${joined} ORDER BY predicted.${quote(ROW)})`, this.folder, options);
  }
}

const linesIn = (folder: string): string => join(folder, 'lines.jsonl');

/** The number of an example, while its row is written. */
const ROW = '__row';

/** Makes the view `data`, checks that it has every row once, and returns its columns besides those that evaluate writes. */
async function columnsOf(database: Database, folder: string, written: string[]): Promise<string[]> {
  await database.run(`CREATE VIEW data AS FROM ${tableOf(folder)}`);
  const columns = await database.columns('data');
  refuseColumns(columns, written);
  for (const column of columns.filter((column) => written.includes('label') && isOneOf(column, ['label'])))
    if (!(await isLabel(database, column))) refuse(column.name);
  const { lacking, first } = await database.row<{ lacking: number; first: string | null }>(
    'SELECT count(*) AS lacking, min(id) AS first FROM predicted WHERE id NOT IN (SELECT id::VARCHAR FROM data WHERE id IS NOT NULL)',
  );
  if (lacking > 0)
    throw new StepError(
      `the data have no row ${first}, which the tokens have${lacking > 1 ? ` (${lacking} rows are missing)` : ''}`,
      'Give the data that the tokens were made of. With `block_size`, examples are no rows: remove `data`.',
      ['data'],
    );
  const twice = await database.rows<{ id: string }>(
    'SELECT id::VARCHAR AS id FROM data WHERE id::VARCHAR IN (SELECT id FROM predicted) GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 1',
  );
  if (twice.length > 0)
    throw new StepError(`the data have the row ${twice[0]!.id} several times`, 'Each row needs an `id` of its own.', ['data']);
  return columns.filter((column) => !isOneOf(column, ['id', 'split', ...written])).map(({ name }) => `data.${quote(name)}`);
}

/** SQL ignores the case of names. */
const isOneOf = ({ name }: TableColumn, names: string[]): boolean => names.includes(name.toLowerCase());

/** Refuses columns of the data that evaluate writes itself. A column `label` may contain the label. */
export function refuseColumns(columns: TableColumn[], written: string[]): void {
  const taken = columns.find((column) => isOneOf(column, [ROW, ...written.filter((name) => name !== 'label')]));
  if (taken) refuse(taken.name);
}

function refuse(name: string): never {
  throw new StepError(
    `the data have a column \`${name}\`, and evaluate writes a column of that name`,
    `Rename it in collect: \`select: { my_${name}: ${name} }\`.`,
    ['data'],
  );
}

/** Whether the column contains the labels that the tokens have. */
async function isLabel(database: Database, { type }: TableColumn): Promise<boolean> {
  const [own] = (await database.columns('predicted')).filter(({ name }) => name === 'label');
  const same = sameAsLabel(own!.type, type);
  if (same === undefined) return false;
  const { different } = await database.row<{ different: number }>(
    `SELECT count(*) AS different FROM (SELECT predicted.label AS own, data.label AS given FROM predicted JOIN data ON data.id::VARCHAR = predicted.id)
     WHERE NOT coalesce(${same}, false)`,
  );
  return different === 0;
}

/** SQL that compares a label `own` with a value `given` of a column of a type; undefined if they cannot be compared. */
export const sameAsLabel = (label: string, type: string): string | undefined => SAME[label]?.(type);

/** By the type of the label. */
const SAME: Record<string, (type: string) => string | undefined> = {
  VARCHAR: () => "coalesce(given::VARCHAR, '') = own",
  DOUBLE: () => 'abs(try_cast(given::VARCHAR AS DOUBLE) - own) <= 1e-6 * greatest(1, abs(own))',
  'VARCHAR[]'(type) {
    if (/^STRUCT\(.*\btext VARCHAR\[\]/.test(type)) return `coalesce(list_filter(given.text, lambda x: x <> ''), []) = own`;
    if (type === 'VARCHAR') return "(CASE WHEN coalesce(given, '') = '' THEN [] ELSE [given] END) = own";
    return type.endsWith('[]') ? 'list_sort(list_distinct(given::VARCHAR[])) = list_sort(list_distinct(own))' : undefined;
  },
};
