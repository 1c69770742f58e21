/**
 * Orders each stratum's rows by a hash of seed and content and cuts there: first come the test rows, then validation, then train.
 * With more data the cuts move a little along the hashes, so a former test row may become validation, but hardly ever train.
 */
import { mkdir } from 'node:fs/promises';
import { BIGINT, VARCHAR } from '@duckdb/node-api';
import { StepError } from '../../engine/step.ts';
import { asJson, Database, literal, quote } from '../data/database.ts';
import { carryPreprocessing } from '../data/preprocessing.ts';
import { requireColumn, tableOf, writeTable } from '../data/table.ts';
import { sizesOf } from './sizes.ts';
import type step from './step.ts';

type Context = Parameters<typeof step.run>[0];
type Options = Context['options'];

export async function split(context: Context): Promise<void> {
  const { options, inputs, log } = context;
  const data = context.outputs.data!;
  await mkdir(data, { recursive: true });
  const database = await Database.open(data, context.threads);
  try {
    await database.run(`CREATE VIEW input AS FROM ${tableOf(inputs.data)}`);
    await hashRows(database, await keyOf(database, options), options);
    const names = options.ratios.length === 2 ? ['train', 'test'] : ['train', 'validation', 'test'];
    await assign(database, names, options);
    const splits = await counted(database, names, options.stratify);
    await writeTable(database, '(SELECT input.*, split FROM input JOIN assigned USING (id))', data, {
      label: options.stratify,
      counted: { splits },
    });
    await carryPreprocessing(inputs.data, data);
    for (const name of names) log(`${name}: ${say(splits[name]!)}`);
  } finally {
    database.close();
  }
}

/** The columns that make a row's content. */
async function keyOf(database: Database, { key, stratify }: Options): Promise<string[]> {
  const columns = await database.columns('input');
  if (columns.some(({ name }) => name.toLowerCase() === 'split'))
    throw new StepError(
      'the data have a column `split` already',
      'Leave this step out and use it as it is, or leave it out of `select` in collect.',
    );
  for (const name of key ?? []) requireColumn(columns, name, 'key');
  if (stratify !== undefined) requireColumn(columns, stratify, 'stratify');
  if (key) return [...key].sort();
  const names = columns.map(({ name }) => name);
  const content = names.includes('text') ? ['text'] : names.filter((name) => !['id', 'label', stratify].includes(name)).sort();
  if (content.length === 0) throw new StepError('the data have no column beside `id` and the label', 'Name columns in `key`.');
  return content;
}

/** Makes the table `hashed`: `id`, `hash` of seed and content, `stratum`. Rows of one content are in the stratum of the first of them. */
async function hashRows(database: Database, key: string[], { seed, stratify }: Options): Promise<void> {
  await database.run(
    `CREATE TABLE hashed AS
     SELECT id, hash, first_value(stratum) OVER (PARTITION BY hash ORDER BY id) AS stratum
     FROM (SELECT id, sha256(${literal(String(seed))} || chr(0) || ${asJson(key)}) AS hash, ${stratify ? `${quote(stratify)}::VARCHAR` : "''"} AS stratum FROM input)`,
  );
}

/** Makes the table `assigned`: `id` and `split`. */
async function assign(database: Database, names: string[], { stratify, ratios }: Options): Promise<void> {
  const strata = await database.rows<{ stratum: string | null; rows: number; contents: number }>(
    'SELECT stratum, count(*) AS rows, count(DISTINCT hash) AS contents FROM hashed GROUP BY stratum ORDER BY stratum',
  );
  refuseStrata(strata, names.length, stratify);
  await database.run('CREATE TABLE cuts (stratum VARCHAR, split VARCHAR, first BIGINT, last BIGINT)');
  const cuts = await database.append('cuts', [VARCHAR, VARCHAR, BIGINT, BIGINT]);
  for (const { stratum, rows } of strata) {
    const sizes = sizesOf(rows, ratios);
    let first = 0;
    for (let i = names.length - 1; i >= 0; i--) {
      cuts.add(stratum, names[i]!, BigInt(first), BigInt(first + sizes[i]! - 1));
      first += sizes[i]!;
    }
  }
  cuts.close();
  await database.run(
    `CREATE TABLE assigned AS
     SELECT id, split FROM hashed JOIN
       (SELECT stratum, hash, sum(count(*)) OVER (PARTITION BY stratum ORDER BY hash) - count(*) AS place FROM hashed GROUP BY stratum, hash) AS contents USING (hash)
     JOIN cuts ON cuts.stratum = contents.stratum AND place BETWEEN first AND last`,
  );
}

function refuseStrata(
  strata: { stratum: string | null; rows: number; contents: number }[],
  splits: number,
  stratify: string | undefined,
): void {
  if (strata.length === 0) throw new StepError('the data are empty');
  const named = ({ stratum, contents }: (typeof strata)[number]) =>
    `${stratify === undefined ? 'the data have' : `${stratify} ${JSON.stringify(stratum)} has`} ${contents} ${contents === 1 ? 'row' : 'rows'}`;
  const unlabelled = strata.find(({ stratum }) => stratum === null);
  if (unlabelled)
    throw new StepError(`\`${stratify}\` is null in ${unlabelled.rows} rows`, 'Leave them out in collect: `where`, or `required`.');
  if (stratify !== undefined && strata.length === 1)
    throw new StepError(
      `every row has the same ${stratify}: ${JSON.stringify(strata[0]!.stratum)}`,
      'There is nothing to tell apart: check the data, or `select` in collect.',
    );
  const [small, ...others] = strata.filter(({ contents }) => contents < splits);
  if (small)
    throw new StepError(
      `${named(small)}, too few for ${splits} splits`,
      strata.length === 1 && small.rows === 1
        ? 'A text file is a row of its own. To make a row of each line, set in collect `select: { text: "unnest(string_split(text, chr(10)))" }`.'
        : `${others.length > 0 ? `Also ${others.slice(0, 5).map(named).join(', ')}${others.length > 5 ? ', …' : ''}. ` : ''}Rows with the same content count once, since they stay together.`,
    );
}

/** Rows by split and label. */
async function counted(database: Database, names: string[], stratify: string | undefined) {
  const label = stratify === undefined ? 'NULL' : `${quote(stratify)}::VARCHAR`;
  const counts = await database.rows<{ split: string; label: string | null; n: number }>(
    `SELECT split, ${label} AS label, count(*) AS n FROM input JOIN assigned USING (id) GROUP BY ALL ORDER BY n DESC, label`,
  );
  const splits: Record<string, { rows: number; labels?: Record<string, number> }> = {};
  for (const name of names) {
    const own = counts.filter(({ split }) => split === name);
    if (own.length === 0)
      throw new StepError(
        `no row is left for ${name}: many rows have the same content, and those stay together`,
        'Drop duplicates first: `deduplicate` in clean.',
      );
    splits[name] = { rows: own.reduce((sum, { n }) => sum + n, 0) };
    if (stratify !== undefined) splits[name].labels = Object.fromEntries(own.map(({ label, n }) => [label!, n]));
  }
  return splits;
}

function say({ rows, labels }: { rows: number; labels?: Record<string, number> }): string {
  const parts = Object.entries(labels ?? {}).map(([name, count]) => `${name} ${number(count)}`);
  return `${number(rows)} rows${parts.length > 0 ? ` (${parts.slice(0, 10).join(', ')}${parts.length > 10 ? ', …' : ''})` : ''}`;
}

const number = (value: number) => value.toLocaleString('en-US');
