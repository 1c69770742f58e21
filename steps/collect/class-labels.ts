/**
 * Hugging Face Datasets stores labels as numbers, with their names elsewhere (`ClassLabel`): in the metadata of
 * Parquet files, in dataset_info.json, or in the card, README.md. The names replace the numbers; −1 means that a
 * label is missing.
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { StepError } from '../../engine/contract/step.ts';
import { type Database, QueryError } from '../ml/data/database.ts';
import type { SourceFile } from '../ml/data/encodings.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { type ColumnTypes, OURS } from './column-types.ts';

/** The names at their places in a column's type; undefined if there are none. */
type Feature = { names: string[] } | { list: Feature } | { fields: Features } | undefined;

type Features = Record<string, Feature>;

/** Files that describe a data set and contain no rows. */
export const isDescription = ({ source }: SourceFile): boolean => ['README.md', 'dataset_info.json'].includes(basename(source));

/** Replaces numbers with names in the table `raw`, except in columns that the user gave a type. */
export async function nameClassLabels(
  database: Database,
  described: SourceFile[],
  parquet: SourceFile[],
  types: ColumnTypes,
  note: (message: string) => void,
): Promise<void> {
  const columns = (await database.columns('raw')).filter(({ name }) => !OURS.includes(name));
  const features = await featuresOf(
    database,
    described,
    parquet,
    columns.map(({ name }) => name),
  );
  for (const { name } of columns) {
    const feature = Object.hasOwn(features, name) && !Object.hasOwn(types, name) ? features[name] : undefined;
    const named = await namedValue(database, quote(name), `SELECT ${quote(name)} AS x FROM raw`, feature, 0);
    if (!named) continue;
    try {
      await database.run(`CREATE TABLE named AS SELECT * REPLACE (${named} AS ${quote(name)}) FROM raw`);
    } catch (error) {
      if (!(error instanceof QueryError)) throw error;
      throw new StepError(
        `the label names do not fit the column \`${name}\`: ${error.message.replace(/^.*?Error: /, '')}`,
        'Check whether the description belongs to other data.',
      );
    }
    await database.run('DROP TABLE raw; ALTER TABLE named RENAME TO raw');
    note(
      `the numbers in \`${name}\` are class labels (ClassLabel) and are replaced with their names, such as ${namesIn(feature)
        .slice(0, 3)
        .map((one) => JSON.stringify(one))
        .join(', ')}`,
    );
  }
}

const namesIn = (feature: Feature): string[] => {
  if (!feature) return [];
  if ('names' in feature) return feature.names;
  return 'list' in feature ? namesIn(feature.list) : Object.values(feature.fields).flatMap(namesIn);
};

/** SQL that replaces numbers in `value` with names; undefined if nothing changes. `sample`: a query whose `x` has the type of the value. */
async function namedValue(database: Database, value: string, sample: string, feature: Feature, depth: number): Promise<string | undefined> {
  if (!feature) return undefined;
  const type = (await database.columns(`(${sample})`))[0]!.type;
  if ('names' in feature) return /^U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$/.test(type) ? nameOf(value, feature.names) : undefined;
  if ('list' in feature && type.endsWith('[]')) {
    const element = `x${depth}`;
    const inner = await namedValue(database, element, `SELECT unnest(x) AS x FROM (${sample})`, feature.list, depth + 1);
    return inner && `list_transform(${value}, lambda ${element}: ${inner})`;
  }
  if (!type.startsWith('STRUCT')) return undefined;
  const fields = fieldsOf(feature);
  const parts: string[] = [];
  let changed = false;
  for (const { name } of await database.columns(`(SELECT unnest(x) FROM (${sample}))`)) {
    const own = `${value}[${literal(name)}]`;
    const inner = await namedValue(database, own, `SELECT x[${literal(name)}] AS x FROM (${sample})`, fields[name], depth);
    if (inner) changed = true;
    parts.push(`${quote(name)} := ${inner ?? own}`);
  }
  return changed ? `CASE WHEN ${value} IS NOT NULL THEN struct_pack(${parts.join(', ')}) END` : undefined;
}

/** A sequence of objects is stored as an object of sequences. */
function fieldsOf(feature: { list: Feature } | { fields: Features }): Features {
  if ('fields' in feature) return feature.fields;
  const inner = feature.list;
  if (!inner || !('fields' in inner)) return {};
  return Object.fromEntries(Object.entries(inner.fields).map(([name, field]) => [name, { list: field }]));
}

function nameOf(value: string, names: string[]): string {
  const list = `[${names.map(literal).join(', ')}]`;
  return `CASE WHEN ${value} IS NULL OR ${value} = -1 THEN NULL WHEN ${value} BETWEEN 0 AND ${names.length - 1} THEN ${list}[${value}::INTEGER + 1]
    ELSE error('a label is ' || ${value} || ', and there are ${names.length} names') END`;
}

async function featuresOf(database: Database, described: SourceFile[], parquet: SourceFile[], columns: string[]): Promise<Features> {
  const inParquet = await parquetFeatures(database, parquet);
  if (inParquet) return inParquet;
  const info = described.find(({ source }) => basename(source) === 'dataset_info.json');
  if (info) return objectOf(await parsed(info, JSON.parse));
  const card = described.find(({ source }) => basename(source) === 'README.md');
  return card ? cardFeatures(card, columns) : {};
}

async function parquetFeatures(database: Database, files: SourceFile[]): Promise<Features | undefined> {
  let first: { features: Features; source: string } | undefined;
  for (const { path, source } of files) {
    const [row] = await database.rows<{ json: string }>(
      `SELECT decode(value) AS json FROM parquet_kv_metadata(${literal(path)}) WHERE decode(key) = 'huggingface'`,
    );
    if (!row) continue;
    const features = objectOf((JSON.parse(row.json) as { info?: unknown }).info);
    if (first && !isDeepStrictEqual(first.features, features))
      throw new StepError(
        `${first.source} and ${source} give different names to the same label numbers`,
        'Collect them in two steps, or set `types` of such columns.',
      );
    first ??= { features, source };
  }
  return first?.features;
}

/** The card's YAML may describe several configurations: the one that fits the columns is used. */
async function cardFeatures(card: SourceFile, columns: string[]): Promise<Features> {
  const { parse } = await import('yaml');
  const described = (await parsed(card, (text) => {
    const [, front] = /^\ufeff?---\r?\n([\s\S]*?)\r?\n---/.exec(text) ?? [];
    return front === undefined ? {} : parse(front);
  })) as { dataset_info?: unknown } | null;
  const infos = [described?.dataset_info ?? []].flat() as { features?: unknown }[];
  const fitting = infos
    .map(({ features }) => yamlFields(features))
    .filter((fields) => Object.keys(fields).every((name) => columns.includes(name)));
  const others = fitting.filter((fields) => !isDeepStrictEqual(fields, fitting[0]));
  if (others.length > 0)
    throw new StepError(
      `${card.source} describes several configurations that have these columns but different label names`,
      'Leave the card out of `files`, and set the label names with `select`.',
    );
  return fitting[0] ?? {};
}

async function parsed(file: SourceFile, read: (text: string) => unknown): Promise<unknown> {
  try {
    return read(await readFile(file.path, 'utf8'));
  } catch (error) {
    throw new StepError(
      `${file.source} cannot be read: ${(error as Error).message.split('\n')[0]}`,
      'Correct it, or leave it out of `files`.',
    );
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The features in the JSON that `datasets` writes. */
function objectOf(info: unknown): Features {
  return isObject(info) && isObject(info.features) ? jsonFields(info.features) : {};
}

const jsonFields = (fields: Record<string, unknown>): Features =>
  Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, jsonFeature(field)]));

function jsonFeature(value: unknown): Feature {
  if (Array.isArray(value)) return { list: jsonFeature(value[0]) };
  if (!isObject(value)) return undefined;
  if (value._type === 'ClassLabel') return named(value.names);
  if (typeof value._type === 'string') return 'feature' in value ? { list: jsonFeature(value.feature) } : undefined;
  return { fields: jsonFields(value) };
}

/** As the card lists them: `- name: …` with `dtype`, `list`, `sequence` or `struct`. */
function yamlFields(entries: unknown): Features {
  if (!Array.isArray(entries)) return {};
  return Object.fromEntries(entries.filter(isObject).map((entry) => [String(entry.name), yamlFeature(entry)]));
}

function yamlFeature(value: unknown): Feature {
  if (Array.isArray(value)) return { fields: yamlFields(value) };
  if (!isObject(value)) return undefined;
  if (isObject(value.class_label)) return named(value.class_label.names);
  const list = value.list ?? value.sequence;
  if (list !== undefined) return { list: yamlFeature(list) };
  return yamlFeature(value.struct ?? value.dtype);
}

/** A list, or a map from numbers as texts. */
function named(names: unknown): Feature {
  const list = isObject(names)
    ? Object.entries(names)
        .sort(([a], [b]) => Number(a) - Number(b))
        .map(([, name]) => name)
    : names;
  return Array.isArray(list) && list.length > 0 ? { names: list.map(String) } : undefined;
}
