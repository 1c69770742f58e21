/** The source files of the project and what they import, for the tests of the house. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

export const root = resolve(import.meta.dirname, '../..');

export interface Import {
  from: string;
  /** A path from the root for files of ours, otherwise the specifier. */
  to: string;
  /** `import type` and `export type` vanish at compile time. */
  typeOnly: boolean;
  /** `import()`: loaded only when reached. */
  lazy: boolean;
}

export const read = (file: string): string => readFileSync(join(root, file), 'utf8');

export const readJson = (file: string) => JSON.parse(read(file));

export const folderOf = (file: string): string => dirname(file);

/** The TypeScript files below a folder, as paths from the root. */
export function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.parentPath.includes('node_modules'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

export function importsOf(file: string): Import[] {
  const text = read(file).replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  const found: Import[] = [];
  const add = (specifier: string, typeOnly: boolean, lazy: boolean) => {
    const to = specifier.startsWith('.') ? relative(root, resolve(root, dirname(file), specifier)) : specifier;
    found.push({ from: file, to, typeOnly, lazy });
  };
  for (const m of text.matchAll(/^\s*(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?['"]([^'"]+)['"]/gm))
    add(m[2]!, !!m[1], false);
  for (const m of text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)) add(m[1]!, false, true);
  return found;
}
