/**
 * Which files a path or glob means, and which of them do not count.
 *
 * Globs: `*`, `?`, `[a-z]`, `{a,b}` and `**` match files, or folders if the glob ends in `/`. Names that begin with a dot and
 * node_modules do not match, unless the glob spells them out before its first wildcard.
 *
 * A glob never skips a possible match silently. It reports unreadable folders, names that are not valid UTF-8 and broken
 * links if they may match. It follows links to folders, except a link back into a folder that the search is in.
 */

import { type Dirent, existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import type { Ignore } from 'ignore';
import { UnreadableError } from '../../cache/error.ts';
import { compareBytes } from '../format/scalars.ts';

/** The matches as absolute paths, sorted by bytes. `folder`: where relative globs begin. Throws UnreadableError. */
export function matches(pattern: string, folder: string, leaving: LeavingOut = {}): string[] {
  const { base, rest } = split(pattern);
  const start = resolve(folder, base);
  if (!existsSync(start)) return [];
  // Loaded on demand, because many pipelines have no glob.
  const picomatch = createRequire(import.meta.url)('picomatch') as typeof import('picomatch');
  const wantsFolders = rest.endsWith('/');
  const names = rest.split('/').filter(Boolean);
  const isMatch = picomatch(names.join('/'), { dot: false });
  const mayHold = alternatives(rest).map((one) => one.split('/').filter(Boolean));
  const isLeftOut = leftOutOf(start, leaving);
  // A glob such as `*.pyc` names the ignored files explicitly.
  const spelled = isByProduct(names.at(-1)!.replaceAll('*', 'x'), wantsFolders);
  const found: string[] = [];

  const search = (at: string, prefix: string[], trail: string[]) => {
    for (const entry of entriesOf(at)) {
      const { name } = entry;
      const path = [...prefix, name];
      const inside = mayHold.some((one) => matchesNames(one, path) !== undefined);
      const written = path.join('/');
      const matched = isMatch(written) && !path.some((part) => part === 'node_modules');
      if (!inside && !matched) continue;
      if (name.includes('\ufffd') && !isUtf8(at, name)) {
        throw new UnreadableError(at, `the name ${name} in it is not valid UTF-8, and ${pattern} may match it`, 'Rename the file.');
      }
      const whole = join(at, name);
      const kind = kindOf(whole, entry);
      if (isLeftOut(written, kind === 'folder') && !spelled) continue;
      if (matched && kind === (wantsFolders ? 'folder' : 'file')) found.push(whole);
      if (matched && kind === 'nothing')
        throw new UnreadableError(whole, `it is a broken link, and ${pattern} matches it`, 'Repair or remove the link.');
      if (kind !== 'folder' || !inside || name === 'node_modules') continue;
      const real = entry.isSymbolicLink() ? realpathSync(whole) : join(trail.at(-1)!, name);
      if (!trail.some((folder) => within(folder, real))) search(whole, path, [...trail, real]);
    }
  };
  search(start, [], [realpathSync(start)]);
  return found.sort(compareBytes);
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return []; // removed in the meantime, or the base is a file
    if (code === 'EACCES' || code === 'EPERM')
      throw new UnreadableError(folder, 'permission denied while a glob searches it', 'Check its permissions and its owner.');
    throw error;
  }
}

function kindOf(path: string, entry: Dirent): 'file' | 'folder' | 'nothing' | 'other' {
  if (entry.isDirectory()) return 'folder';
  if (entry.isFile()) return 'file';
  if (!entry.isSymbolicLink()) return 'other';
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat) return 'nothing';
    return stat.isDirectory() ? 'folder' : stat.isFile() ? 'file' : 'other';
  } catch {
    return 'nothing'; // a cycle of links, or a target without permission
  }
}

/** Whether the file name is valid UTF-8. A valid name may contain U+FFFD itself. */
function isUtf8(folder: string, name: string): boolean {
  return readdirSync(folder, 'buffer').some((bytes) => bytes.equals(Buffer.from(name)));
}

/** The folder that a glob searches: the part before its first wildcard. */
export function staticFolder(pattern: string): string {
  return split(pattern).base;
}

export function isGlob(text: string): boolean {
  return /(?<!\\)(?:\\\\)*([*?[{]|[@!+]\()/.test(text);
}

export function escapeGlob(text: string): string {
  return text.replace(/[*?[\]{}()!@+\\]/g, '\\$&');
}

/** A test for absolute paths: whether the glob may match the path itself, or something inside of it if it is a folder. */
export function matcher(pattern: string, folder: string): (path: string) => 'itself' | 'inside' | undefined {
  const searches = alternatives(pattern).map((one) => {
    const { base, rest } = split(one);
    return { start: resolve(folder, base), names: rest.split('/').filter(Boolean) };
  });
  return (path) => {
    const found = searches.map(({ start, names }) => {
      if (within(start, path)) return 'inside';
      return within(path, start) ? matchesNames(names, path.slice(start.length).split('/').filter(Boolean)) : undefined;
    });
    return found.includes('itself') ? 'itself' : found.find(Boolean);
  };
}

/** Whether `path` is `folder` or inside of it. */
export function within(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
}

function split(pattern: string): { base: string; rest: string } {
  const names = pattern.split('/');
  const wild = names.findIndex(isGlob);
  const first = wild < 0 ? names.length - 1 : wild;
  const base = names.slice(0, first).join('/').replace(/\\(.)/g, '$1');
  return { base: base === '' ? (pattern.startsWith('/') ? '/' : '.') : base, rest: names.slice(first).join('/') };
}

function matchesNames(patterns: string[], names: string[]): 'itself' | 'inside' | undefined {
  const [pattern, ...rest] = patterns;
  const [name, ...deeper] = names;
  if (name === undefined) return pattern === undefined ? 'itself' : 'inside';
  if (pattern === undefined) return undefined;
  const hidden = isHidden(name);
  if (pattern === '**') {
    if (rest.length === 0) return names.some(isHidden) ? undefined : 'itself';
    const found = [matchesNames(rest, names), hidden ? undefined : matchesNames(patterns, deeper)];
    return found.includes('itself') ? 'itself' : found.find(Boolean);
  }
  if (hidden && !pattern.startsWith('.') && name !== pattern) return undefined;
  return asRegExp(pattern).test(name) ? matchesNames(rest, deeper) : undefined;
}

function isHidden(name: string): boolean {
  return name.startsWith('.') || name === 'node_modules';
}

const expressions = new Map<string, RegExp>();

function asRegExp(pattern: string): RegExp {
  let made = expressions.get(pattern);
  if (!made) {
    // An extended glob such as @(a|b) counts as a possible match.
    const source = pattern.replace(/[@!+?*]\([^)]*\)|\\.|\[[!^]?\]?[^\]]*\]|[\s\S]/g, (part) => {
      if (part === '*' || (part.length > 2 && part.endsWith(')'))) return '.*';
      if (part === '?') return '.';
      if (part.startsWith('[') && part.length > 2) return part.replace(/^\[[!^]/, '[^').replaceAll('\\', '\\\\');
      return (part.startsWith('\\') ? part.slice(1) : part).replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
    });
    made = new RegExp(`^${source}$`, 's');
    expressions.set(pattern, made);
  }
  return made;
}

/** Expands `{a,b}` and `{1..3}`, because braces may contain slashes. */
function alternatives(pattern: string): string[] {
  const open = pattern.search(/(?<!\\)\{/);
  if (open < 0) return [pattern];
  let depth = 0;
  const cuts = [open];
  for (let i = open; i < pattern.length; i++) {
    if (pattern[i] === '\\') i++;
    else if (pattern[i] === '{') depth++;
    else if (pattern[i] === ',' && depth === 1) cuts.push(i);
    else if (pattern[i] === '}' && --depth === 0) {
      const [before, after] = [pattern.slice(0, open), pattern.slice(i + 1)];
      const range = /^(-?\d+)\.\.(-?\d+)$/.exec(pattern.slice(open + 1, i));
      const parts = range ? ['*'] : [...cuts.map((cut, n) => pattern.slice(cut + 1, cuts[n + 1] ?? i))];
      return parts.flatMap((part) => alternatives(before + part + after));
    }
  }
  return [pattern.replace(/(?<!\\)\{/, '\\{')];
}

/**
 * The files that do not count in a folder that is an input, besides by-products: files that `exclude` matches and, with
 * `gitignore: true`, files that git ignores. The patterns have the syntax of .gitignore.
 */
export interface LeavingOut {
  exclude?: string[];
  gitignore?: boolean;
}

const FOLDERS = new Set([
  '.git',
  '.hg',
  '.svn',
  '.tunesmith',
  '__pycache__',
  '.ipynb_checkpoints',
  '.pytest_cache',
  '.mypy_cache',
  '.ruff_cache',
]);
const FILES = new Set(['.DS_Store', 'Thumbs.db', 'desktop.ini']);
/** Byte code; swap files of Vim; backups, autosaves and locks of Emacs; locks of LibreOffice and Office; deleted files on NFS and FUSE. */
const FILE_NAMES = /\.py[co]$|^\..*\.sw[a-p]$|~$|^#.*#$|^\.#|^\.~lock\..*#$|^~\$|^\.nfs[\da-f]{16,}$|^\.fuse_hidden/;

/**
 * By-products are byte code, notebook checkpoints, and files of editors and version control. If they counted, a step that imports
 * Python code from its input would change the input by running, and its result could not be stored. Decides by the name alone.
 */
export function isByProduct(name: string, isFolder: boolean): boolean {
  return isFolder ? FOLDERS.has(name) : FILES.has(name) || FILE_NAMES.test(name);
}

/** A test for paths relative to a folder: whether they are left out. Callers do not test the content of a folder that is left out. */
export function leftOutOf(folder: string, { exclude = [], gitignore = false }: LeavingOut): (path: string, isFolder: boolean) => boolean {
  const own = exclude.length > 0 ? ignoring(exclude) : undefined;
  const ofGit = gitignore ? new GitIgnored(folder) : undefined;
  return (path, isFolder) => {
    if (isByProduct(path.slice(path.lastIndexOf('/') + 1), isFolder)) return true;
    return (own?.ignores(isFolder ? `${path}/` : path) ?? false) || (ofGit?.ignores(path, isFolder) ?? false);
  };
}

/** The .gitignore files from the top of the repository down. The nearest one that matches a path decides. */
class GitIgnored {
  readonly #top: string;
  readonly #known = new Map<string, Ignore | undefined>();

  constructor(private readonly folder: string) {
    this.#top = folder;
    for (let at = folder; dirname(at) !== at; at = dirname(at)) {
      if (!existsSync(join(at, '.git'))) continue;
      this.#top = at;
      break;
    }
  }

  ignores(path: string, isFolder: boolean): boolean {
    const whole = join(this.folder, path);
    for (let at = dirname(whole); at.length >= this.#top.length; at = dirname(at)) {
      const found = this.#patterns(at)?.test(`${relative(at, whole).split(sep).join('/')}${isFolder ? '/' : ''}`);
      if (found?.ignored) return true;
      if (found?.unignored) return false;
      if (dirname(at) === at) break;
    }
    return false;
  }

  #patterns(folder: string): Ignore | undefined {
    if (!this.#known.has(folder)) {
      const file = join(folder, '.gitignore');
      this.#known.set(folder, existsSync(file) ? ignoring(readFileSync(file, 'utf8')) : undefined);
    }
    return this.#known.get(folder);
  }
}

/** Loaded on demand, because many pipelines have no patterns. */
function ignoring(patterns: string | string[]): Ignore {
  const ignore = createRequire(import.meta.url)('ignore') as typeof import('ignore');
  return ignore({ ignorecase: false }).add(patterns);
}
