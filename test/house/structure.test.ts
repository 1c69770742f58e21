/** The size of files and functions, and one meaning for each name. */
import { expect, test } from 'vitest';
import { glossary } from './glossary.ts';
import { read, sources } from './sources.ts';

const files = ['engine', 'cache', 'steps'].flatMap(sources);
const lines = new Map(files.map((file) => [file, read(file).split('\n')]));

test('no file is longer than 500 lines', () => {
  expect(files.filter((file) => lines.get(file)!.length - 1 > 500)).toEqual([]);
});

test('at most a tenth of the files are shorter than 20 lines', () => {
  expect(files.filter((file) => lines.get(file)!.length - 1 < 20).length).toBeLessThanOrEqual(files.length / 10);
});

test('no function is longer than 80 lines', () => {
  expect(files.flatMap((file) => longFunctions(file, lines.get(file)!, 80))).toEqual([]);
});

test('the search for long functions finds them', () => {
  const body = Array.from({ length: 90 }, () => '  work();');
  expect(longFunctions('a.ts', ['export async function long(', '  one: string,', '): Promise<void> {', ...body, '}'], 80)).toHaveLength(1);
  expect(longFunctions('a.ts', ['const long = (one: string) => {', ...body, '};'], 80)).toHaveLength(1);
  expect(longFunctions('a.ts', ['class A {', '  long() {', ...body, '  }', '}'], 80)).toHaveLength(1);
  expect(longFunctions('a.ts', ['const table = {', ...body, '};'], 80)).toEqual([]);
});

test('no two modules export a type of the same name', () => {
  const owners = new Map<string, string[]>();
  for (const file of files) for (const name of typesOf(file)) owners.set(name, [...(owners.get(name) ?? []), file]);
  expect([...owners].filter(([, all]) => all.length > 1).map(([name, all]) => `${name}: ${all.join(', ')}`)).toEqual([]);
});

test.each(glossary)('$word is owned by $module', ({ word, meaning, module }) => {
  expect(meaning).not.toBe('');
  expect(exportsOf(module)).toContain(word);
});

test('no file or folder has a name that says nothing', () => {
  expect(files.filter((file) => /(^|\/)(utils?|helpers?|managers?|common|misc)(\.ts|\/)/.test(file))).toEqual([]);
});

function typesOf(file: string): string[] {
  return [...read(file).matchAll(/^export (?:declare )?(?:abstract )?(?:interface|type|class) (\w+)/gm)].map((m) => m[1]!);
}

function exportsOf(file: string): string[] {
  return [...read(file).matchAll(/^export (?:default )?(?:async )?(?:interface|type|class|function\*?|const) (\w+)/gm)].map((m) => m[1]!);
}

/** The formatter closes a block at the indentation at which its first line begins, so indentation shows where a function ends. */
function longFunctions(file: string, all: readonly string[], most: number): string[] {
  const found: string[] = [];
  const indent = (line: string) => /^ */.exec(line)![0].length;
  for (const [at, line] of all.entries()) {
    if (!OPENS_FUNCTION.test(line) || CONTROL.test(line)) continue;
    const depth = indent(line);
    // A signature of several lines begins at the nearest line above with the same indentation.
    let start = at;
    if (/^\s*\)/.test(line))
      do start--;
      while (start > 0 && (all[start]!.trim() === '' || indent(all[start]!) > depth));
    const end = all.findIndex((other, i) => i > at && indent(other) === depth && /^\s*\}/.test(other));
    if (end - start + 1 > most) found.push(`${file}:${start + 1} has ${end - start + 1} lines`);
  }
  return found;
}

/** The last line of a function's signature: it opens the body. */
const OPENS_FUNCTION =
  /(=> \{$)|(^\s*(export )?(default )?(async )?function\b.*\{$)|(^\s*(static |private |protected |override |async |get |set |\*)*#?[\w$]+(<.*>)?\(.*\)(: .*)? \{$)|(^\s*\)(: .*)? \{$)/;
const CONTROL = /^\s*(\} )?(if|for|while|switch|catch|else|do|try|return)\b/;
