/** Suggests an existing path for a missing one: with another case, another Unicode form, or without a typo. */
import { existsSync, readdirSync } from 'node:fs';
import { isAbsolute, join, sep } from 'node:path';
import { nearest } from '../suggest.ts';

/** A hint; undefined if no similar path exists. `folder`: where relative paths begin. */
export function similarPath(path: string, folder: string): string | undefined {
  let at = isAbsolute(path) ? sep : folder;
  const found: string[] = [];
  const differences = new Set<string>();
  for (const part of path.split(/[/\\]/).filter((part) => part !== '' && part !== '.')) {
    const names = part === '..' ? [part] : namesIn(at);
    const name = names.find((one) => one === part) ?? akin(part, names);
    if (name === undefined || !existsSync(join(at, name))) return undefined;
    if (name !== part) differences.add(difference(part, name));
    found.push(name);
    at = join(at, name);
  }
  const meant = `${isAbsolute(path) ? sep : ''}${found.join('/')}`;
  return differences.size > 0 ? `did you mean ${meant}?${[...differences].join('')}` : undefined;
}

function akin(part: string, names: string[]): string | undefined {
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

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // missing, or no permission
  }
}
