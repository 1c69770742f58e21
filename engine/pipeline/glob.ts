/**
 * Globs: `*`, `?`, `[a-z]`, `{a,b}` and `**` match files, or folders where the glob ends in `/`. Nothing whose name begins
 * with a dot and no node_modules is matched, unless the glob spells it out before its first wildcard.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { compareBytes } from './cell-name.ts';

/** Absolute paths, sorted by bytes. Relative globs begin at `folder`. */
export function matches(pattern: string, folder: string): string[] {
  const { base, rest } = split(pattern);
  const cwd = resolve(folder, base);
  if (!existsSync(cwd)) return [];
  // Loaded where there is a glob: a pipeline without one need not wait for it.
  const { globSync } = createRequire(import.meta.url)('tinyglobby') as typeof import('tinyglobby');
  const found = globSync(rest, {
    cwd,
    ignore: '**/node_modules/**',
    expandDirectories: false,
    ...(pattern.endsWith('/') ? { onlyDirectories: true } : { onlyFiles: true }),
  });
  return found.map((path) => join(cwd, path).replace(/\/$/, '')).sort(compareBytes);
}

/** The folder that a glob searches: what stands before its first wildcard. */
export function staticFolder(pattern: string): string {
  return split(pattern).base;
}

export function isGlob(text: string): boolean {
  return /(?<!\\)(?:\\\\)*([*?[{]|[@!+]\()/.test(text);
}

/** Text that a glob takes as it is. */
export function escapeGlob(text: string): string {
  return text.replace(/[*?[\]{}()!@+\\]/g, '\\$&');
}

/** Tells of paths (absolute) whether a glob may match them, or something inside of them where they are folders. */
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

/** Whether `path` is `folder` or lies in it. */
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
    // Of an extended glob such as @(a|b) it is enough that it may match.
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

/** `{a,b}` and `{1..3}` written out: a brace may hold slashes. */
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
