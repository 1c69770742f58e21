/** Finds the files that a collect step reads, their format, and their names on the model card, which are the same on every machine. */

import { type Dirent, existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join, relative, sep } from 'node:path';
import { type StepContext, StepError } from '../../engine/contract/step.ts';
import { type SourceFile, unreadable } from '../ml/data/encodings.ts';
import { type DataSource, readSources } from '../ml/data/table.ts';

export type Format = 'csv' | 'tsv' | 'json' | 'jsonl' | 'parquet' | 'text' | 'mail';

/**
 * A folder stands for the files in it, at any depth, except dotfiles and node_modules. The folder of a table from
 * another step stands for its rows. `addresses`: of fetched files, by path. `leftOut`: the patterns that exclude
 * files in the folders.
 */
export async function listFiles(
  paths: string[],
  folder: string,
  addresses: Record<string, string>,
  leftOut: readonly string[] = [],
): Promise<SourceFile[]> {
  const passedOver = new Set(leftOut);
  const files = new Map<string, SourceFile>();
  const add = async (path: string, source: string) => {
    let size = 0;
    try {
      const found = await stat(path);
      size = found.size;
      if (found.isDirectory()) {
        const entries = (await readdir(path, { withFileTypes: true })).filter(visible).sort(byBytes);
        const isTable = ['card.json', 'data.parquet'].every((name) => entries.some((entry) => entry.name === name));
        for (const { name } of entries.filter(({ name }) => (!isTable || name === 'data.parquet') && !passedOver.has(join(path, name))))
          await add(join(path, name), source === '' ? name : `${source}/${name}`);
        return;
      }
    } catch (error) {
      throw unreadable(source, error);
    }
    files.set(path, { path, source, size });
  };
  for (const path of paths) await add(path, addresses[path] ?? relative(folder, path).split(sep).join('/'));
  if (files.size === 0) throw new StepError('there are no files to read', 'The folders of `files` are empty.');
  return [...files.values()];
}

const visible = (entry: Dirent) => !entry.name.startsWith('.') && entry.name !== 'node_modules';

const byBytes = (a: Dirent, b: Dirent) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));

const extensions: Record<string, Format> = {
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.tab': 'tsv',
  '.json': 'json',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.parquet': 'parquet',
  '.pq': 'parquet',
  '.txt': 'text',
  '.text': 'text',
  '.md': 'text',
  '.eml': 'mail',
  '.mbox': 'mail',
};

/** All files of a step have one format. */
export function formatOf(files: SourceFile[]): Format {
  const formats = new Map<Format, string>();
  for (const { source } of files) {
    const extension = extname(source.replace(/\.gz$/i, '')).toLowerCase();
    const format = extensions[extension];
    if (!format)
      throw new StepError(
        `${source}: cannot derive the format from ${extension ? `the extension ${extension}` : 'a name without extension'}`,
        'Set `format`: csv, tsv, json, jsonl, parquet, text or mail.',
      );
    formats.set(format, formats.get(format) ?? source);
  }
  if (formats.size > 1)
    throw new StepError(
      `the files have different formats: ${[...formats].map(([format, source]) => `${source} is ${format}`).join(', ')}`,
      'Read one format per collect step, or set `format` if all are the same.',
    );
  return [...formats.keys()][0]!;
}

/* Names on the model card: none contains an absolute path, and URLs appear without user, password and query. */

type Context = Pick<StepContext, 'addresses' | 'names' | 'repositories' | 'origins'>;

/** Undefined if another step made everything that was read, and does not record its sources. */
export async function sourcesOf(given: string[], context: Context): Promise<DataSource[] | undefined> {
  const groups = new Map<string, string[]>();
  const named: DataSource[] = [];
  const local: string[] = [];
  let unknown = 0;
  for (const path of given) {
    const before = existsSync(join(path, 'data.parquet')) ? await readSources(path) : undefined;
    const group = context.repositories[path] ?? packageOf(path);
    const address = context.addresses[path];
    if (before) named.push(...before.sources);
    else if (group !== undefined) groups.set(group, [...(groups.get(group) ?? []), path]);
    else if (address !== undefined) named.push({ name: withoutSecrets(address), files: 1 });
    else if (madeByStep(path, given, context)) unknown++;
    else local.push(path);
  }
  for (const [group, paths] of groups)
    named.push({ name: paths.length === 1 ? group + within(paths[0]!, group, context) : group, files: paths.length });
  named.push(...namesOf(local.map((path) => context.names[path] ?? basename(path))));
  if (named.length === 0) return undefined;
  return added([...named, ...(unknown > 0 ? [{ name: 'output of another step', files: unknown }] : [])]);
}

/** The npm package that a path lies in, without its version, which is in a file that is not an input of the step. */
function packageOf(path: string): string | undefined {
  return /^.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(path)?.[1]?.replaceAll('\\', '/');
}

/** The path of the file in its data set or package, with a slash before it. */
function within(path: string, group: string, { addresses }: Context): string {
  const name = group.split(/(?<=.)@/)[0]!;
  const address = addresses[path];
  return address === undefined ? path.split(sep).join('/').split(`/node_modules/${name}`).at(-1)! : address.slice(name.length);
}

function withoutSecrets(address: string): string {
  if (/^sqlite:/i.test(address)) return `SQLite file ${address.split(/[\\/:]/).at(-1)}`;
  if (/^postgres(ql)?:/i.test(address)) return 'PostgreSQL query';
  return address.replace(/^(\w+:\/\/)[^/?#]*@/, '$1').replace(/\?[^#]*/, '');
}

/** The path of a step's output does not describe the data. */
function madeByStep(path: string, given: string[], { origins }: Context): boolean {
  return Boolean(origins.files?.[given.indexOf(path)]) || path.split(sep).includes('.tunesmith');
}

/** Local files, by their names in the fingerprint. Many of them share one line. */
function namesOf(written: string[]): DataSource[] {
  const names = written.map((name) => name.split(sep).join('/'));
  if (names.length <= most) return names.map((name) => ({ name, files: 1 }));
  return names.map((name) => {
    const [top, ...rest] = name.replace(/^(\.\.\/)+/, '').split('/');
    return { name: rest.length > 0 ? `${top}/` : `*${extname(name)}`, files: 1 };
  });
}

/** The limit above which files are not listed one by one. */
const most = 10;

function added(sources: DataSource[]): DataSource[] {
  const counts = new Map<string, number>();
  for (const { name, files } of sources) counts.set(name, (counts.get(name) ?? 0) + files);
  return [...counts].map(([name, files]) => ({ name, files }));
}
