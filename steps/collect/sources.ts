/**
 * The names of the collected data on the model card. They are the same on every machine: none contains an absolute
 * path, and URLs appear without user, password and query.
 */
import { existsSync } from 'node:fs';
import { basename, extname, join, sep } from 'node:path';
import type { StepContext } from '../../engine/step.ts';
import { readSources, type Source } from '../data/sources.ts';

type Context = Pick<StepContext, 'addresses' | 'names' | 'repositories' | 'origins'>;

/** Undefined if another step made everything that was read, and does not record its sources. */
export async function sourcesOf(given: string[], context: Context): Promise<Source[] | undefined> {
  const groups = new Map<string, string[]>();
  const named: Source[] = [];
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

/**
 * The npm package that a path lies in. Its version is left out: it is in a file that is not an input of the step, and
 * so must not affect the output.
 */
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
  return origins.files?.length === given.length || path.split(sep).includes('.tunesmith');
}

/** Local files, by their names in the fingerprint. Many of them share one line. */
function namesOf(written: string[]): Source[] {
  const names = written.map((name) => name.split(sep).join('/'));
  if (names.length <= most) return names.map((name) => ({ name, files: 1 }));
  return names.map((name) => {
    const [top, ...rest] = name.replace(/^(\.\.\/)+/, '').split('/');
    return { name: rest.length > 0 ? `${top}/` : `*${extname(name)}`, files: 1 };
  });
}

/** The limit above which files are not listed one by one. */
const most = 10;

/** Each name once. */
function added(sources: Source[]): Source[] {
  const counts = new Map<string, number>();
  for (const { name, files } of sources) counts.set(name, (counts.get(name) ?? 0) + files);
  return [...counts].map(([name, files]) => ({ name, files }));
}
