/**
 * Paths as users write and read them. `~` is expanded as a shell does, in every path: a shell itself does not expand it inside
 * quotes, after `=` and in files.
 */

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { namesIn } from '../../cache/atomic-move.ts';
import { nearest } from '../format/did-you-mean.ts';

/** Expands `~` and `~/x` to the user's home folder. Other paths stay unchanged. */
export function atHome(path: string, home = homedir()): string {
  return path === '~' || path.startsWith('~/') ? join(home, path.slice(1)) : path;
}

/** Makes environment variables that hold folders absolute, because steps run in other working folders. */
export function makeFoldersAbsolute(env: NodeJS.ProcessEnv): void {
  // An empty or relative HOME would put caches into the working folder. Without HOME, Node asks the system's list of users.
  if (env.HOME !== undefined && !isAbsolute(env.HOME)) delete env.HOME;
  try {
    homedir();
  } catch {
    env.HOME = HOMELESS; // The user is not in the list, as in a container with an arbitrary user id.
  }
  for (const name of OWN_FOLDERS) {
    const path = env[name];
    if (path && otherHome(path) === undefined) env[name] = resolve(atHome(path));
  }
  for (const name of OTHER_FOLDERS) {
    const path = env[name];
    if (path) env[name] = atHome(path);
  }
}

const OWN_FOLDERS = ['TUNESMITH_CACHE', 'TUNESMITH_HOME', 'KAGGLE_CONFIG_DIR'];
const OTHER_FOLDERS = ['XDG_DATA_HOME', 'XDG_CACHE_HOME', 'HF_HOME', 'HF_HUB_CACHE'];

/** The `~name` at the beginning of a path, which a shell replaces by the home folder of another user. */
export function otherHome(path: string): string | undefined {
  return /^(~[^/]+)\//.exec(path)?.[1];
}

/** The error about such a path. `what`: the variable, flag or output that has it. */
export function unexpanded(path: string, what: string): [message: string, hint: string] {
  return [
    `${what} begins with ${otherHome(path)}, which tunesmith does not expand`,
    `Write the full path, or ./${path} for a folder of that name.`,
  ];
}

/** The environment variables that hold folders, with their values. */
export function folderVariables(env: NodeJS.ProcessEnv): [name: string, path: string][] {
  return [...OWN_FOLDERS, ...OTHER_FOLDERS].map((name) => [name, env[name] ?? '']);
}

/** Debian's home folder for users without one. It does not exist and cannot be created. */
const HOMELESS = '/nonexistent';

/** Applies `expand` to the paths in the arguments and options of a command. `texts`: index of an argument that holds texts. */
export function expandPaths(args: unknown[], texts: number, expand: (path: string) => string): unknown[] {
  return args.map((arg, i) => {
    if (typeof arg === 'string') return expand(arg);
    if (Array.isArray(arg)) return i === texts ? arg : arg.map((one) => (typeof one === 'string' ? expand(one) : one));
    if (arg === null || typeof arg !== 'object') return arg;
    const options = Object.entries(arg).map(([name, value]) => [
      name,
      PATHS.has(name) && typeof value === 'string' ? expand(value) : value,
    ]);
    return Object.fromEntries(options);
  });
}

const PATHS = new Set(['file', 'params', 'output', 'out', 'tensorboard']);

/**
 * Suggests an existing path for a missing one: with another case, another Unicode form, or without a typo. Undefined if there is no
 * similar path. `folder`: where relative paths begin.
 */
export function similarPath(path: string, folder: string): string | undefined {
  let at = isAbsolute(path) ? sep : folder;
  const found: string[] = [];
  const differences = new Set<string>();
  for (const part of path.split(/[/\\]/).filter((part) => part !== '' && part !== '.')) {
    const names = part === '..' ? [part] : namesIn(at);
    const name = names.find((one) => one === part) ?? similarName(part, names);
    if (name === undefined || !existsSync(join(at, name))) return undefined;
    if (name !== part) differences.add(difference(part, name));
    found.push(name);
    at = join(at, name);
  }
  const meant = `${isAbsolute(path) ? sep : ''}${found.join('/')}`;
  return differences.size > 0 ? `did you mean ${meant}?${[...differences].join('')}` : undefined;
}

function similarName(part: string, names: string[]): string | undefined {
  return (
    names.find((name) => composed(name) === composed(part)) ?? names.find((name) => folded(name) === folded(part)) ?? nearest(part, names)
  );
}

function difference(part: string, name: string): string {
  if (composed(part) === composed(name))
    return ' The names look the same but differ in their Unicode form. Copy the name from the output of `ls`, or rename the file.';
  return folded(part) === folded(name) ? ' Upper and lower case differ.' : '';
}

const composed = (text: string): string => text.normalize('NFC');

const folded = (text: string): string => composed(text).toLowerCase();

/** A path for display: relative to the working folder if it is below it. */
export function displayPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith('..') || short === '' ? path : short;
}
