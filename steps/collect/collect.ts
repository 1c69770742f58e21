/** Collects: files → raw rows in DuckDB → decoded mails → SQL → ids → the table. Bad rows are rejected on the way, with the reason. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { BIGINT, Database, QueryError, type TableColumn, VARCHAR } from '../ml/data/database.ts';
import type { SourceFile } from '../ml/data/encodings.ts';
import { decodeMail } from '../ml/data/mail.ts';
import { type Preprocessing, readPreprocessing, writePreprocessing } from '../ml/data/preprocessing.ts';
import { asJson, quote, quotingAdvice } from '../ml/data/sql.ts';
import { type Names, requireColumn, writeSources, writeTable } from '../ml/data/table.ts';
import { isDescription, nameClassLabels } from './class-labels.ts';
import { applyTypes, inferTypes, mixedComparison, OURS } from './column-types.ts';
import { type Format, formatOf, listFiles, sourcesOf } from './files.ts';
import { loaders } from './load.ts';
import { Rejected } from './rejected.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;
type Options = Context['options'];

export async function collect(context: Context): Promise<void> {
  const { options } = context;
  const data = context.outputs.data!;
  const listed = await listFiles(inputsOf(context), context.folder, context.addresses, context.leftOut);
  const described = listed.filter(isDescription);
  const files = described.length < listed.length ? listed.filter((file) => !isDescription(file)) : listed;
  const format = context.inputs.sql !== undefined ? 'jsonl' : options.format === 'auto' ? formatOf(files) : options.format;
  refuseMeaningless(options, format, files[0]!);

  await mkdir(data, { recursive: true });
  const database = await Database.open(data, context.threads);
  try {
    const rejected = await Rejected.open(database);
    await load(database, rejected, files, format, context);
    await nameClassLabels(database, described, format === 'parquet' ? files : [], options.types ?? {}, context.log);
    const read = (await count(database, 'raw')) + rejected.count;
    if (read === 0 && !options.allow_empty)
      throw new StepError(`${nameOf(files)}: no rows`, 'An empty file has nothing to learn from: check `files`.');
    for (const column of Object.keys(options.decode ?? {})) await decode(database, column, rejected, context);
    await database.confine(data);
    await select(database, options);
    await keepLetters(database, options.text ?? 'text');
    await refuseNulls(database, options, rejected);
    await rejected.settle(read, options.max_rejected, join(data, 'rejected.jsonl'));
    const kept = await count(database, 'selected');
    const left = read - rejected.count - kept;
    if (kept === 0 && rejected.count > 0 && rejected.count === read) throw await rejected.noneLeft();
    if (kept === 0 && !options.allow_empty)
      throw new StepError(
        `\`where\` keeps none of the ${read} rows: ${options.where}`,
        'If a table without rows is a valid result, set `allow_empty: true`.',
        ['where'],
      );
    const preprocessing = await preprocessingOf(files, inputsOf(context), options, format);
    if (preprocessing.length > 0) await writePreprocessing(data, preprocessing);
    const notes = await identify(database, options, format);
    if (options.text !== undefined) requireColumn(await database.columns('identified'), options.text, 'text');
    const card = await writeTable(database, 'identified', data, {
      dropped: { ...(rejected.count > 0 && { rejected: rejected.count }), ...(left > 0 && { where: left }) },
      names: namesFrom(options, await columnsOf(database, 'raw')),
      counted: { files: files.length, format, read },
    });
    const given = inputsOf(context).filter((path) => !described.some((file) => file.path === path));
    const sources = await sourcesOf(given, context);
    if (sources) await writeSources(data, { rows: card.rows, sources });

    const then = left > 0 ? `, ${number(left)} excluded by \`where\`` : left < 0 ? `, converted to ${number(kept)} by \`select\`` : '';
    const origin = context.inputs.sql !== undefined ? 'the database' : `${say(files.length, 'file')} (${format})`;
    context.log(`${say(read, 'row')} from ${origin}${then}`);
    const label = card.columns.find(({ name }) => name === 'label');
    if (card.labels && label && !/^(FLOAT|DOUBLE|DECIMAL)/.test(label.type))
      context.log(`labels: ${labelsOf(card.labels)}${card.unlabelled ? `; ${say(card.unlabelled, 'row')} without a label` : ''}`);
    for (const note of notes) context.warn(note);
    if (rejected.count > 0) context.warn(`${say(rejected.count, 'bad row')} rejected (rejected.jsonl): ${await rejected.summary()}`);
  } finally {
    database.close();
  }
}

function inputsOf({ inputs: { files, sql } }: Context): string[] {
  if (files === undefined && sql === undefined)
    throw new StepError('there is nothing to read', 'Give `files`, or a query: `sql: { url, query }`.');
  if (files !== undefined && sql !== undefined)
    throw new StepError('`files` and `sql` cannot be combined', 'Collect them in two steps.', ['sql']);
  return sql === undefined ? files! : [sql];
}

/** What later steps need to know: the column of texts, and the names of columns in the files, which predict reads. */
function namesFrom({ text, select = {} }: Options, columns: TableColumn[]): Names {
  const renamed = Object.entries(select).flatMap(([name, sql]) => {
    const source = columns.find((column) => [column.name, quote(column.name)].includes(sql.trim()));
    return source && source.name !== name ? [[name, source.name]] : [];
  });
  return { ...(text !== undefined && { text }), ...(renamed.length > 0 && { renamed: Object.fromEntries(renamed) }) };
}

/** Makes the table `raw`, with its types. */
async function load(database: Database, rejected: Rejected, files: SourceFile[], format: Format, context: Context): Promise<void> {
  const { delimiter, columns, encoding, types = {} } = context.options;
  await loaders[format]({
    database,
    rejected,
    files: inTurn(files, context),
    delimiter,
    columns,
    encoding,
    types,
    ordered: context.inputs.sql === undefined,
    note: context.log,
  });
  await applyTypes(database, types, rejected);
  if (format === 'csv' || format === 'tsv') await inferTypes(database, types, context.log);
}

/** Checks that `check` cannot do while `format` is auto. */
function refuseMeaningless(options: Options, format: Format, first: SourceFile): void {
  const meaningless = format === 'csv' ? [] : format === 'tsv' ? (['delimiter'] as const) : (['delimiter', 'columns'] as const);
  if (options.encoding !== 'utf-8' && (format === 'parquet' || format === 'mail'))
    throw new StepError(`\`encoding\` does not apply to ${first.source}: ${format} declares its own encoding`, 'Remove `encoding`.', [
      'encoding',
    ]);
  for (const option of meaningless)
    if (options[option] !== undefined)
      throw new StepError(`\`${option}\` does not apply to ${first.source}: its format is ${format}`, `Remove \`${option}\`.`);
}

function* inTurn(files: SourceFile[], { signal, progress }: Context): Generator<SourceFile> {
  for (const [i, file] of files.entries()) {
    signal.throwIfAborted();
    if (i % 100 === 0) progress(i, files.length);
    yield file;
  }
  progress(files.length, files.length);
}

/** Replaces the mails in a column with their texts, and rejects rows that contain no mail. */
async function decode(database: Database, column: string, rejected: Rejected, { signal, progress }: Context): Promise<void> {
  const columns = await columnsOf(database, 'raw');
  const { type } = requireColumn(columns, column, 'decode', column);
  if (type !== 'VARCHAR') throw new StepError(`\`decode\`: the column \`${column}\` contains ${type}, not texts`);
  const name = quote(column);
  await database.run('CREATE TABLE decoded (__place BIGINT, __text VARCHAR)');
  const decoded = await database.append('decoded', [BIGINT, VARCHAR]);
  const total = await count(database, 'raw');
  let done = 0;
  const mails = database.stream<{ place: number; source: string; row: number; mail: string | null }>(
    `SELECT rowid AS place, __source AS source, __row AS row, ${name} AS mail FROM raw`,
  );
  for await (const chunk of mails) {
    for (const { place, source, row, mail } of chunk) {
      signal.throwIfAborted();
      if (mail === null) {
        decoded.add(BigInt(place), null);
        continue;
      }
      try {
        decoded.add(BigInt(place), (await decodeMail(mail)).text);
      } catch (error) {
        rejected.add(source, row, `no mail: ${(error as Error).message}`, mail);
      }
    }
    done += chunk.length;
    progress(done, total);
  }
  decoded.close();
  await database.run(
    `CREATE TABLE whole AS SELECT raw.* REPLACE (__text AS ${name}) FROM raw JOIN decoded ON raw.rowid = __place ORDER BY __place`,
  );
  await database.run('DROP TABLE raw; DROP TABLE decoded; ALTER TABLE whole RENAME TO raw');
}

/** What was done to the texts: earlier, if the files are tables of another step, and here, if mails are decoded. */
async function preprocessingOf(files: SourceFile[], given: string[], { decode, select }: Options, format: Format): Promise<Preprocessing> {
  const tables = files.filter(({ path }) => existsSync(join(dirname(path), 'preprocessing.json')));
  const alone = tables.find(({ path }) => given.includes(path));
  if (alone)
    throw new StepError(
      `${alone.source} belongs to a table whose texts were decoded or cleaned, but does not record it`,
      'Give the folder of the table, such as ${{ steps.clean.data }}, so that inference can repeat the preprocessing.',
    );
  const folders = [...new Set(tables.map(({ path }) => dirname(path)))];
  const [before = [], ...others] = await Promise.all(folders.map(readPreprocessing));
  if (others.some((other) => !isDeepStrictEqual(other, before)))
    throw new StepError(
      'the tables were cleaned in different ways',
      'Clean all of them with the same options, because inference repeats the preprocessing.',
    );
  const decoded = [...Object.keys(decode ?? {}), ...(format === 'mail' ? ['text'] : [])];
  const steps: Preprocessing = [...before, ...(decoded.length > 0 ? [{ decode: 'mail', columns: decoded } as const] : [])];
  if (!select) return steps;
  const mentions = (sql: string, name: string) => {
    const words = sql.toLowerCase().match(/"(?:[^"]|"")*"|[\p{L}_][\p{L}\p{N}_$]*/gu) ?? [];
    return words.some((word) => word === name.toLowerCase() || word === quote(name).toLowerCase());
  };
  const renamed = steps.map((step) => ({
    ...step,
    columns: Object.keys(select).filter((column) => !step.columns || step.columns.some((name) => mentions(select[column]!, name))),
  }));
  return renamed.filter(({ columns }) => columns.length > 0);
}

/** Makes the table `selected`: `__source`, `__row` and the user's columns. */
async function select(database: Database, options: Options): Promise<void> {
  const columns = await columnsOf(database, 'raw');
  const own = columns.some(({ name }) => name.toLowerCase() === 'source');
  const data = own ? 'raw AS data' : '(SELECT *, __source AS source FROM raw) AS data';
  // Sorted by name, because the order in the file must not matter.
  const expressions = options.select
    ? Object.entries(options.select).sort(([a], [b]) => (a < b ? -1 : 1))
    : columns.map(({ name }) => [name, quote(name)] as const);
  const list = expressions.map(([name, expression]) => `(\n${expression}\n) AS ${quote(name)}`);
  await refuseMixedComparisons(database, options, columns, data);
  // On one thread, SQL that depends on the order of rows, or on random(), gives the same result on every machine.
  await database.run('SET threads = 1; SELECT setseed(0)');
  try {
    await database.run(
      `CREATE TABLE selected AS SELECT __source, __row, ${list.join(', ')} FROM ${data} WHERE (\n${options.where ?? 'true'}\n)`,
    );
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    const hint = `The columns are ${[...columns.map(({ name }) => name), ...(own ? [] : ['source'])].map((name) => `\`${name}\``).join(', ')}.`;
    const parts = [
      ...expressions.map(([name, sql]) => ({ option: ['select', name], sql })),
      ...(options.where ? [{ option: ['where'], sql: options.where }] : []),
    ];
    for (const { option, sql } of parts) {
      const message = await failureOf(database, `SELECT count(value) FROM (SELECT (\n${sql}\n) AS value FROM ${data})`);
      if (message)
        throw new StepError(
          `${option.join('.')}: ${sql}: ${message}`,
          hint + quotingAdvice(columns, sql, message) + typing(columns, sql, message),
          option,
        );
    }
    const aggregate = /GROUP BY/.test(error.message)
      ? 'an expression is evaluated for each row, so it cannot aggregate rows as count(*) does'
      : error.message;
    throw new StepError(`${options.select ? 'select' : 'where'}: ${aggregate}`, hint);
  }
}

/** Rejects comparisons of texts with numbers: DuckDB would convert the texts, and change what the file says. */
async function refuseMixedComparisons(
  database: Database,
  { select = {}, where }: Options,
  columns: TableColumn[],
  data: string,
): Promise<void> {
  const parts = [
    ...Object.entries(select).map(([name, sql]) => ({ option: ['select', name], sql })),
    ...(where === undefined ? [] : [{ option: ['where'], sql: where }]),
  ];
  for (const { option, sql } of parts) {
    const mixed = await mixedComparison(database, sql, data);
    if (!mixed) continue;
    const column = columns.find(({ name }) => [name, quote(name)].includes(mixed.text));
    throw new StepError(
      `${option.join('.')}: ${sql}: compares ${column ? `the column \`${column.name}\`, which contains texts,` : `the text ${mixed.text}`} with the number ${mixed.number}`,
      column
        ? `Convert it to numbers with \`types: { ${JSON.stringify(column.name).slice(1, -1)}: number }\`, or compare with a text${/^[-\d.]+$/.test(mixed.number) ? `: '${mixed.number}'` : ''}.`
        : `Compare with a text, or cast: ${mixed.text}::DOUBLE.`,
      option,
    );
  }
}

/** Advice for SQL that computes with a column of texts. */
function typing(columns: TableColumn[], sql: string, message: string): string {
  const text = columns.find(({ name, type }) => type === 'VARCHAR' && sql.includes(name));
  return text && /\bVARCHAR\b/.test(message) && /Binder Error/.test(message)
    ? ` \`${text.name}\` contains texts: \`types: { ${text.name}: number }\` converts them to numbers.`
    : '';
}

async function failureOf(database: Database, sql: string): Promise<string | undefined> {
  try {
    await database.run(sql);
  } catch (error) {
    if (error instanceof QueryError) return error.message;
    throw error;
  }
}

/** The column of texts and types that Parquet does not have become texts; bytes are an error. */
async function keepLetters(database: Database, text: string): Promise<void> {
  for (const { name, type } of await columnsOf(database, 'selected')) {
    if (/\bBLOB\b/.test(type))
      throw new StepError(
        `the column \`${name}\` contains bytes that are not UTF-8${type === 'BLOB' ? '' : `, in ${type}`}`,
        'Leave it out with `select`, or convert it to a text there: `decode(…)`, `to_base64(…)`.',
      );
    if ((name === text && type !== 'VARCHAR') || /^U?HUGEINT$|^BIGNUM$/.test(type))
      await database.run(`ALTER TABLE selected ALTER COLUMN ${quote(name)} TYPE VARCHAR USING ${quote(name)}::VARCHAR`);
  }
}

async function refuseNulls(database: Database, options: Options, rejected: Rejected): Promise<void> {
  const columns = await columnsOf(database, 'selected');
  const names = columns.map(({ name }) => name);
  for (const name of options.required ?? []) requireColumn(columns, name, 'required');
  for (const name of options.required ?? [options.text ?? 'text', 'label'].filter((usual) => names.includes(usual))) {
    const bad = database.stream<{ source: string; row: number; value: string }>(
      `SELECT __source AS source, __row AS row, ${asJson(names)} AS value FROM selected WHERE ${quote(name)} IS NULL`,
    );
    for await (const rows of bad) for (const { source, row, value } of rows) rejected.add(source, row, `\`${name}\` is null`, value);
    await database.run(`DELETE FROM selected WHERE ${quote(name)} IS NULL`);
  }
}

/** Makes the table `identified`: the user's columns and `id`. Returns warnings. */
async function identify(database: Database, options: Options, format: Format): Promise<string[]> {
  const columns = (await columnsOf(database, 'selected')).map(({ name }) => name);
  const others = columns.filter((name) => name !== 'id').map(quote);
  const from = options.id ?? 'id';
  if (options.id !== undefined) requireColumn(await database.columns('selected'), options.id, 'id');
  const clash = columns.includes(from) ? await clashOf(database, from) : undefined;
  if (columns.includes(from) && !clash) {
    const displaced = from !== 'id' && columns.includes('id') ? ['id AS original_id'] : [];
    await database.run(
      `CREATE TABLE identified AS SELECT ${quote(from)}::VARCHAR AS id, ${[...displaced, ...others].join(', ')} FROM selected`,
    );
    return displaced.length > 0 ? [`\`id\` is now \`${from}\`; the column with that name is \`original_id\``] : [];
  }
  if (clash && options.id !== undefined)
    throw new StepError(`\`${options.id}\` cannot identify rows: ${clash}`, 'Set `id` to a column with unique values, or remove `id`.');

  // The location of a row is not part of its content.
  const place = (name: string) =>
    (options.select?.[name] ?? name) === 'path' ? ['text', 'mail'].includes(format) : options.select?.[name]?.trim() === 'source';
  const content = columns.filter((name) => !place(name)).sort();
  const places = columns.filter(place);
  await database.run(
    `CREATE TABLE identified AS
     SELECT CASE WHEN __n = 1 THEN __hash ELSE __hash || '-' || __n END AS id${clash ? ', id AS original_id' : ''}, ${others.join(', ')}
     FROM (SELECT *, row_number() OVER (PARTITION BY __hash ORDER BY ${places.length > 0 ? asJson(places) : '1'}) AS __n
       FROM (SELECT *, substr(sha256(${content.length > 0 ? asJson(content) : "''"}), 1, 16) AS __hash FROM selected))`,
  );
  return clash ? [`\`id\` cannot identify rows (${clash}): ids were made from the content, and your column is now \`original_id\``] : [];
}

/** The reason why a column's values cannot be ids. */
async function clashOf(database: Database, column: string): Promise<string | undefined> {
  const worst = await database.rows<{ id: string | null; n: number }>(
    `SELECT ${quote(column)}::VARCHAR AS id, count(*) AS n FROM selected GROUP BY ALL HAVING n > 1 OR coalesce(id, '') = '' ORDER BY n DESC, id LIMIT 1`,
  );
  if (worst.length === 0) return undefined;
  const { id, n } = worst[0]!;
  return id === null ? `it is null ${n === 1 ? 'once' : `${n} times`}` : `${JSON.stringify(id)} occurs ${n === 1 ? 'once' : `${n} times`}`;
}

async function columnsOf(database: Database, table: string): Promise<TableColumn[]> {
  return (await database.columns(table)).filter(({ name }) => !OURS.includes(name));
}

async function count(database: Database, table: string): Promise<number> {
  return (await database.row<{ n: number }>(`SELECT count(*) AS n FROM ${table}`)).n;
}

const number = (value: number) => value.toLocaleString('en-US');

const say = (value: number, noun: string) => `${number(value)} ${noun}${value === 1 ? '' : 's'}`;

const nameOf = (files: SourceFile[]) =>
  files.length === 1 ? files[0]!.source : `${files[0]!.source} and ${say(files.length - 1, 'other file')}`;

const labelsOf = (labels: Record<string, number>) =>
  Object.entries(labels)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 10)
    .map(([name, rows]) => `${plainOrQuoted(name)} ${number(rows)}`)
    .join(', ') + (Object.keys(labels).length > 10 ? ', …' : '');

/** Quotes a label that a reader could not distinguish from the text around it. */
function plainOrQuoted(label: string): string {
  const plain = label.trim() === label && label !== '' && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}",;]|\s[\d.]+$/u.test(label);
  const escaped = (character: string) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, '0')}`;
  return plain ? label : JSON.stringify(label).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escaped);
}
