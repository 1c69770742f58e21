/**
 * Splits rows. Rows that stay together are a unit: those with the same content, or of the same group. `stable`
 * assigns each unit by a hash of seed and unit alone. `balanced` first places units of several rows, and then cuts
 * the single rows of each stratum, in the order of their hashes, so that every split gets its share: first test, then
 * validation, then train.
 */
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { BIGINT, Database, VARCHAR } from '../ml/data/database.ts';
import { carryPreprocessing } from '../ml/data/preprocessing.ts';
import { asJson, literal, quote } from '../ml/data/sql.ts';
import { carrySources, namesOf, requireColumn, tableOf, writeTable } from '../ml/data/table.ts';
import { type Former, type Identity, madeOf, readPrevious, warnOfUnknown } from './previous.ts';
import { placeGroups, roomsOf, type Stratum, sizesOf } from './shares.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;
type Options = Context['options'];

export async function split(context: Context): Promise<void> {
  const { inputs, log, warn } = context;
  const data = context.outputs.data!;
  const carried = await namesOf(inputs.data);
  const options = { ...context.options, key: context.options.key ?? (carried.text === undefined ? undefined : [carried.text]) };
  await mkdir(data, { recursive: true });
  const database = await Database.open(data, context.threads);
  try {
    await database.run(`CREATE VIEW input AS FROM ${tableOf(inputs.data)}`);
    const identity = await identityOf(database, options, warn);
    await hashRows(database, identity, options);
    const names = options.ratios.length === 2 ? ['train', 'test'] : ['train', 'validation', 'test'];
    let former: Former | undefined;
    if (inputs.previous === undefined) await database.run('CREATE TABLE former (unit VARCHAR, split VARCHAR)');
    else {
      former = await readPrevious(database, inputs.previous, names, identity);
      await reportFormer(database, former, identity, context);
    }
    const targets =
      options.assign === 'stable' ? await assignStable(database, names, options) : await assignBalanced(database, names, options);
    const splits = await counted(database, names, options.stratify);
    await writeTable(database, '(SELECT input.*, split FROM input JOIN hashed USING (id) JOIN assigned USING (unit))', data, {
      label: options.stratify,
      names: carried,
      counted: { splits },
    });
    await writeAssignment(database, context.outputs.assignment!, identity, former);
    await carryPreprocessing(inputs.data, data);
    await carrySources(inputs.data, data);
    for (const name of names) log(`${name}: ${say(splits[name]!)}`);
    for (const warning of await missed(database, splits, targets, context)) warn(warning);
    if (options.group) await warnOfTwins(database, identity, warn);
  } finally {
    database.close();
  }
}

/** `json`: SQL for the JSON that is hashed with the seed. */
async function identityOf(database: Database, options: Options, warn: Context['warn']): Promise<Identity & { json: string }> {
  const key = await keyOf(database, options);
  const content = asJson(key);
  if (!options.group) return { unit: digest(content), content, group: [], key, json: content };
  const group = groupOf(options).sort();
  const alone = group.map((name) => `${quote(name)} IS NULL`).join(' OR ');
  const { rows } = await database.row<{ rows: number }>(`SELECT count(*) AS rows FROM input WHERE ${alone}`);
  if (rows > 0) warn(`${rows} rows have no ${group.join(' or no ')}: each of them is assigned by its own content`);
  const json = rows > 0 ? `CASE WHEN ${alone} THEN ${content} ELSE ${asJson(group)} END` : asJson(group);
  return { unit: digest(json), content, group, key: rows > 0 ? key : [], json };
}

const groupOf = ({ group = [] }: Options): string[] => (typeof group === 'string' ? [group] : [...group]);

/** 128 bits, enough to make collisions negligible. */
const digest = (json: string): string => `substr(sha256(${json}), 1, 32)`;

/** The columns that make up a row's content. */
async function keyOf(database: Database, options: Options): Promise<string[]> {
  const { key, stratify } = options;
  const columns = await database.columns('input');
  if (columns.some(({ name }) => name.toLowerCase() === 'split'))
    throw new StepError(
      'the data already have a column `split`',
      'Remove this step and use the column as it is, or leave it out of `select` in collect.',
    );
  for (const name of key ?? []) requireColumn(columns, name, 'key');
  for (const name of groupOf(options)) requireColumn(columns, name, 'group');
  if (stratify !== undefined) requireColumn(columns, stratify, 'stratify');
  if (key) return [...key].sort();
  const names = columns.map(({ name }) => name);
  const content = names.includes('text') ? ['text'] : names.filter((name) => !['id', 'label', stratify].includes(name)).sort();
  if (content.length === 0)
    throw new StepError(
      'the data have no columns besides `id` and the label',
      'Set `key` to the columns that make up the content of a row.',
    );
  return content;
}

/** Makes the table `hashed`: `id`, `unit`, `hash` of seed and unit, `stratum`. */
async function hashRows(database: Database, { unit, json }: Identity & { json: string }, { seed, stratify }: Options): Promise<void> {
  const { rows } = await database.row<{ rows: number }>('SELECT count(*) AS rows FROM input');
  if (rows === 0) throw new StepError('the data are empty');
  await database.run(
    `CREATE TABLE hashed AS
     SELECT id, ${unit} AS unit, sha256(${literal(String(seed))} || chr(0) || ${json}) AS hash, ${stratify ? `${quote(stratify)}::VARCHAR` : "''"} AS stratum FROM input`,
  );
}

async function reportFormer(database: Database, former: Former, identity: Identity, { log, warn }: Context): Promise<void> {
  const kept = await rowsKept(database);
  const { rows } = await database.row<{ rows: number }>('SELECT count(*) AS rows FROM hashed');
  log(`previous: ${number(kept)} of ${number(rows)} rows keep their split`);
  for (const warning of await warnOfUnknown(database, former, identity)) warn(warning);
}

async function rowsKept(database: Database): Promise<number> {
  return (await database.row<{ kept: number }>('SELECT count(*) AS kept FROM hashed WHERE unit IN (SELECT unit FROM former)')).kept;
}

/** Makes the table `assigned`: `unit` and `split`. Returns the target number of rows of each split. */
async function assignStable(database: Database, names: string[], { ratios }: Options): Promise<Targets> {
  // 52 bits of the hash as a number from 0 to 1.
  const place = "(('0x' || substr(hash, 1, 13))::BIGINT / 4503599627370496.0)";
  let upTo = 0;
  const cuts = names
    .map((name, i) => ({ name, ratio: ratios[i]! }))
    .toReversed()
    .slice(0, -1)
    .map(({ name, ratio }) => {
      upTo += ratio;
      return `WHEN ${place} < ${upTo} THEN ${literal(name)}`;
    });
  await database.run(
    `CREATE TABLE assigned AS
     SELECT unit, coalesce(any_value(former.split), CASE ${cuts.join(' ')} ELSE ${literal(names[0]!)} END) AS split
     FROM hashed LEFT JOIN former USING (unit) GROUP BY unit, hash`,
  );
  return new Map();
}

/** The target number of rows of each stratum and split, in the order of the splits. */
type Targets = ReadonlyMap<string, readonly number[]>;

/** Makes the same table, with exact shares. */
async function assignBalanced(database: Database, names: string[], { stratify, ratios, group }: Options): Promise<Targets> {
  await database.run(
    `CREATE TABLE units AS
     SELECT unit, any_value(hash) AS hash, count(*) AS rows, any_value(stratum) AS stratum, any_value(former.split) AS split
     FROM hashed LEFT JOIN former USING (unit) GROUP BY unit`,
  );
  await refuseStrata(database, names.length, stratify, group !== undefined);
  const strata = await strataOf(database, names, ratios);
  const found = await database.rows<{ unit: string; stratum: string; rows: number }>(
    `SELECT unit, hashed.stratum, count(*) AS rows FROM hashed JOIN units USING (unit)
     WHERE units.rows > 1 AND units.split IS NULL GROUP BY ALL ORDER BY any_value(units.hash), hashed.stratum`,
  );
  const groups = new Map<string, Map<string, number>>();
  for (const { unit, stratum, rows } of found) groups.set(unit, (groups.get(unit) ?? new Map<string, number>()).set(stratum, rows));
  const placed = placeGroups([...groups.values()], strata);
  await database.run('CREATE TABLE placed (unit VARCHAR, split VARCHAR)');
  const writing = await database.append('placed', [VARCHAR, VARCHAR]);
  for (const [i, [unit, rowsOf]] of [...groups].entries()) {
    writing.add(unit, names[placed[i]!]!);
    for (const [stratum, rows] of rowsOf) strata.get(stratum)!.taken[placed[i]!]! += rows;
  }
  writing.close();
  await cutSingles(database, names, strata);
  return new Map([...strata].map(([name, { targets }]) => [name, targets]));
}

async function strataOf(database: Database, names: string[], ratios: number[]): Promise<Map<string, Stratum & { taken: number[] }>> {
  const counts = await database.rows<{ stratum: string; rows: number; singles: number }>(
    `SELECT hashed.stratum, count(*) AS rows, count(*) FILTER (WHERE units.rows = 1 AND split IS NULL) AS singles
     FROM hashed JOIN units USING (unit) GROUP BY hashed.stratum ORDER BY hashed.stratum`,
  );
  const strata = new Map(
    counts.map(({ stratum, rows, singles }) => [stratum, { targets: sizesOf(rows, ratios), taken: names.map(() => 0), singles }]),
  );
  const taken = await database.rows<{ stratum: string; split: string; rows: number }>(
    'SELECT hashed.stratum, split, count(*) AS rows FROM hashed JOIN units USING (unit) WHERE split IS NOT NULL GROUP BY ALL',
  );
  for (const { stratum, split, rows } of taken) strata.get(stratum)!.taken[names.indexOf(split)] = rows;
  return strata;
}

/** Makes the table `assigned` from earlier units, placed groups and single rows. */
async function cutSingles(database: Database, names: string[], strata: ReadonlyMap<string, Stratum>): Promise<void> {
  await database.run('CREATE TABLE cuts (stratum VARCHAR, split VARCHAR, first BIGINT, last BIGINT)');
  const cuts = await database.append('cuts', [VARCHAR, VARCHAR, BIGINT, BIGINT]);
  for (const [stratum, { targets, taken, singles }] of strata) {
    const rooms = roomsOf(singles, targets, taken);
    let first = 0;
    for (let i = names.length - 1; i >= 0; i--) {
      cuts.add(stratum, names[i]!, BigInt(first), BigInt(first + rooms[i]! - 1));
      first += rooms[i]!;
    }
  }
  cuts.close();
  await database.run(
    `CREATE TABLE assigned AS
     SELECT unit, split FROM units WHERE split IS NOT NULL
     UNION ALL FROM placed
     UNION ALL
     SELECT unit, cuts.split FROM
       (SELECT unit, stratum, row_number() OVER (PARTITION BY stratum ORDER BY hash) - 1 AS place FROM units WHERE rows = 1 AND split IS NULL) AS singles
     JOIN cuts ON cuts.stratum = singles.stratum AND place BETWEEN first AND last`,
  );
}

async function refuseStrata(database: Database, splits: number, stratify: string | undefined, grouped: boolean): Promise<void> {
  const strata = await database.rows<{ stratum: string | null; rows: number; units: number }>(
    'SELECT stratum, count(*) AS rows, count(DISTINCT unit) AS units FROM hashed GROUP BY stratum ORDER BY stratum',
  );
  const what = (n: number) => (grouped ? (n === 1 ? 'group' : 'groups') : n === 1 ? 'row' : 'rows');
  const named = ({ stratum, units }: (typeof strata)[number]) =>
    `${stratify === undefined ? 'the data have' : `${stratify} ${JSON.stringify(stratum)} has`} ${units} ${what(units)}`;
  const unlabelled = strata.find(({ stratum }) => stratum === null);
  if (unlabelled)
    throw new StepError(`\`${stratify}\` is null in ${unlabelled.rows} rows`, 'Leave them out in collect with `where` or `required`.');
  if (stratify !== undefined && strata.length === 1)
    throw new StepError(
      `every row has the same ${stratify}: ${JSON.stringify(strata[0]!.stratum)}`,
      'A classifier needs at least two: check the data, or `select` in collect.',
    );
  const [small, ...others] = strata.filter(({ units }) => units < splits);
  if (!small) return;
  const more =
    others.length > 0
      ? `Also ${others
          .slice(0, 5)
          .map((one) => `${stratify} ${JSON.stringify(one.stratum)} has ${one.units}`)
          .join(', ')}${others.length > 5 ? ', …' : ''}. `
      : '';
  throw new StepError(
    `${named(small)}, too few for ${splits} splits`,
    strata.length === 1 && small.rows === 1
      ? 'Each text file is one row. To make a row of each line, set in collect `select: { text: "unnest(string_split(text, chr(10)))" }`.'
      : `${more}Rows ${grouped ? 'of one group' : 'with the same content'} count once, because they stay together.${stratify === undefined ? '' : ' Merge rare labels, leave them out (`where` in collect), or remove `stratify`.'}`,
  );
}

type Counted = {
  rows: number;
  labels?: Record<string, number>;
};

/** Rows by split and label. */
async function counted(database: Database, names: string[], stratify: string | undefined): Promise<Record<string, Counted>> {
  const counts = await database.rows<{ split: string; label: string; n: number }>(
    'SELECT split, stratum AS label, count(*) AS n FROM hashed JOIN assigned USING (unit) GROUP BY ALL ORDER BY n DESC, label',
  );
  return Object.fromEntries(
    names.map((name): [string, Counted] => {
      const own = counts.filter(({ split }) => split === name);
      const rows = own.reduce((sum, { n }) => sum + n, 0);
      return [name, stratify === undefined ? { rows } : { rows, labels: Object.fromEntries(own.map(({ label, n }) => [label, n])) }];
    }),
  );
}

/** Warns if the splits differ from the request, and says why. */
async function missed(database: Database, splits: Record<string, Counted>, targets: Targets, context: Context): Promise<string[]> {
  const { options } = context;
  const empty = Object.entries(splits).filter(([, { rows }]) => rows === 0);
  if (options.assign === 'stable')
    return empty.map(([name]) => `no row is in ${name}: \`assign: stable\` gives exact shares only on average, and there are few rows`);
  const kept = await rowsKept(database);
  const why = [
    ...(kept === 0 ? [] : [`${number(kept)} rows keep their split from \`previous\``]),
    ...(await largestUnit(database, options)),
  ].join('; ');
  const sums = [...targets.values()].reduce((sum, one) => sum.map((rows, s) => rows + one[s]!));
  const wrong = Object.entries(splits).flatMap(([name, { rows }], s) =>
    Math.abs(rows - sums[s]!) > NOTABLE * sums[s]! ? [`${name} has ${number(rows)} rows instead of ${number(sums[s]!)}`] : [],
  );
  const without = [...targets.keys()].flatMap((stratum) => {
    const missing = Object.entries(splits).filter(([, { rows, labels }]) => rows > 0 && labels && !labels[stratum]);
    return missing.map(([name]) => `${name} has no row with the ${options.stratify} ${JSON.stringify(stratum)}`);
  });
  return [...(wrong.length > 0 ? [wrong.join(', ')] : []), ...without.slice(0, 10)].map((what) => `${what}: ${why}`);
}

const NOTABLE = 0.05;

async function largestUnit(database: Database, options: Options): Promise<string[]> {
  const { rows } = await database.row<{ rows: number }>('SELECT max(rows) AS rows FROM units');
  if (rows === 1) return [];
  const what = options.group ? `of one ${groupOf(options).join(' and ')}` : 'with the same content';
  return [`rows ${what} stay together, up to ${number(rows)} of them`];
}

/** Warns of the same content in several groups, which may be in different splits. */
async function warnOfTwins(database: Database, { content }: Identity, warn: Context['warn']): Promise<void> {
  const { rows } = await database.row<{ rows: number }>(
    `SELECT coalesce(sum(n), 0)::BIGINT AS rows FROM
       (SELECT count(*) AS n FROM (SELECT id, ${content} AS content FROM input) JOIN hashed USING (id) JOIN assigned USING (unit)
        GROUP BY content HAVING count(DISTINCT split) > 1)`,
  );
  if (rows > 0)
    warn(
      `${number(rows)} rows have content that also occurs in another split, because it is in several groups: use \`deduplicate\` in clean`,
    );
}

/** Includes units of `previous` that are not in the data, because they may come back. Every row records the columns of the units. */
async function writeAssignment(database: Database, file: string, { group, key }: Identity, former: Former | undefined): Promise<void> {
  const made = [madeOf(group), madeOf(key) || (former?.key ?? '')].map((text) =>
    /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text,
  );
  const stream = createWriteStream(file);
  stream.write('unit,split,unit_group,unit_key\n');
  const rows = database.stream<{ unit: string; split: string }>(
    'SELECT unit, split FROM (FROM assigned UNION SELECT unit, split FROM former) ORDER BY unit',
  );
  for await (const chunk of rows) stream.write(chunk.map(({ unit, split }) => `${unit},${split},${made.join(',')}\n`).join(''));
  stream.end();
  await finished(stream);
}

function say({ rows, labels }: Counted): string {
  const parts = Object.entries(labels ?? {}).map(([name, count]) => `${name} ${number(count)}`);
  return `${number(rows)} rows${parts.length > 0 ? ` (${parts.slice(0, 10).join(', ')}${parts.length > 10 ? ', …' : ''})` : ''}`;
}

const number = (value: number) => value.toLocaleString('en-US');
