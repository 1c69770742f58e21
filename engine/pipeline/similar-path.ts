/** What a path that is not there was probably meant to be: another case, another form of Unicode, a slip of the pen. */
import { existsSync, readdirSync } from 'node:fs';
import { isAbsolute, join, sep } from 'node:path';
import { nearest } from '../suggest.ts';

/** A hint; undefined where nothing like it is there. `folder`: where relative paths begin. */
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
    return ' Its name looks the same and has other bytes: another form of Unicode. Copy it as `ls` prints it, or rename the file.';
  return folded(part) === folded(name) ? ' Upper and lower case differ.' : '';
}

const composed = (text: string): string => text.normalize('NFC');
const folded = (text: string): string => composed(text).toLowerCase();

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // not there, or not ours to read
  }
}
