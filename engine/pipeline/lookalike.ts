/** A path that is there and differs from a missing one only by the case or the Unicode form of its letters. */
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isGlob } from './glob.ts';

/** What to say of it; undefined where there is none. `pattern` is as the user wrote it, relative to `folder`. */
export function lookalikeHint(pattern: string, glob: boolean, folder: string): string | undefined {
  const path = glob ? beforeWildcards(pattern) : pattern;
  const found = lookalike(path, folder);
  if (found === undefined) return undefined;
  if (found.normalize() === path.normalize())
    return `${found} is there, with another Unicode form of the name (${formOf(found)}; here it is written in ${formOf(path)}).`;
  return `did you mean ${found}${pattern.slice(path.length)}? Upper and lower case differ.`;
}

function beforeWildcards(pattern: string): string {
  const names = pattern.split('/');
  return names.slice(0, names.findIndex(isGlob)).join('/');
}

function lookalike(path: string, folder: string): string | undefined {
  const found: string[] = [];
  for (const name of path.split('/')) {
    const here = resolve(folder, found.join('/') || (path.startsWith('/') ? '/' : '.'));
    if (name === '' || name === '.' || name === '..' || existsSync(join(here, name))) found.push(name);
    else {
      const like = namesIn(here).find((other) => folded(other) === folded(name));
      if (like === undefined) return undefined;
      found.push(like);
    }
  }
  return found.join('/') === path ? undefined : found.join('/');
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // no folder, or one that may not be read: there is nothing to compare with
  }
}

const folded = (name: string) => name.normalize().toLowerCase().normalize();

function formOf(text: string): string {
  return text === text.normalize('NFC') ? 'NFC' : text === text.normalize('NFD') ? 'NFD' : 'a mix of NFC and NFD';
}
