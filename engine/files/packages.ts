/** Finds installed npm packages as Node does: in the node_modules of a folder and of all folders above it. */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** The folder of a package, whatever its `exports`; undefined if it is not installed. */
export function packageFolder(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
    if (dirname(folder) === folder) return undefined;
  }
}

/** The folder of this tunesmith, whether it is a checkout, is installed globally or is run by npx. */
export function ownFolder(): string {
  return dirname(createRequire(import.meta.url).resolve('tunesmith/package.json'));
}

export function packageVersion(folder: string): string {
  return String(manifest(folder).version ?? 'unknown');
}

export function installedVersion(name: string, from: string): string {
  const folder = packageFolder(name, from);
  return folder ? packageVersion(folder) : 'not installed';
}

/** The file that `import 'name'` or `import 'name/sub'` loads from a package's folder; undefined if there is none. */
export function packageEntry(folder: string, sub: string): string | undefined {
  const { exports, module, main } = manifest(folder);
  if (exports !== undefined) {
    const target = chosen(subpath(exports, sub));
    return target === undefined ? undefined : join(folder, target);
  }
  if (sub !== '.') return [sub, `${sub}.js`, `${sub}.mjs`].map((file) => join(folder, file)).find(isFile);
  return [main, module, 'index.js']
    .filter((file) => typeof file === 'string')
    .flatMap((file) => [file, `${file}.js`, `${file}/index.js`])
    .map((file) => join(folder, file))
    .find(isFile);
}

function manifest(folder: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function subpath(exports: unknown, sub: string): unknown {
  const map = exports as Record<string, unknown>;
  const bySubpath = typeof exports === 'object' && exports !== null && Object.keys(exports).some((key) => key.startsWith('.'));
  if (!bySubpath) return sub === '.' ? exports : undefined;
  if (Object.hasOwn(map, sub)) return map[sub];
  for (const [key, target] of Object.entries(map)) {
    const [before, after] = key.split('*');
    if (after === undefined || !sub.startsWith(before!) || !sub.endsWith(after)) continue;
    const star = sub.slice(before!.length, sub.length - after.length);
    const found = chosen(target);
    return found?.replaceAll('*', () => star);
  }
  return undefined;
}

/** Selects from conditional exports as Node does for an import. */
function chosen(target: unknown): string | undefined {
  if (typeof target === 'string') return target;
  if (Array.isArray(target)) return target.map(chosen).find((found) => found !== undefined);
  if (typeof target !== 'object' || target === null) return undefined;
  for (const [condition, value] of Object.entries(target)) {
    if (['node', 'import', 'module-sync', 'default'].includes(condition)) {
      const found = chosen(value);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
