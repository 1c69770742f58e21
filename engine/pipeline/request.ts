/** A request to read a pipeline: the text of the file, the folders around it, and the parameters from the command line. */

import { isUtf8 } from 'node:buffer';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { namesIn } from '../../cache/atomic-move.ts';
import { InvalidError, unplaced } from '../contract/errors.ts';
import { displayPath } from '../files/paths.ts';
import { nearest } from '../format/did-you-mean.ts';

export interface ReadOptions {
  set?: string[];
  paramsFile?: string;
  /** Change no file of the project: do not cache the declarations of custom steps in it. */
  readOnly?: boolean;
}

/** The full request. An equal request has an equal result unless something outside of the text has changed. */
export interface PipelineRequest {
  /** Absolute. */
  file: string;
  folder: string;
  /** The folder that contains `.tunesmith/`. */
  root: string;
  text: string;
  set: string[];
  params?: string;
}

/** The folder that contains `.tunesmith/`. */
export function rootOf(folder: string): string {
  for (let at = folder; ; at = dirname(at)) {
    if (['.tunesmith', 'package.json', '.git'].some((mark) => existsSync(join(at, mark)))) return at;
    if (dirname(at) === at) return folder;
  }
}

/** The text of a file. Throws InvalidError that says why it cannot be read, or where it is not UTF-8. `file`: its name in messages. */
export function readText(path: string, file: string): string {
  const wrong = (message: string, hint?: string) => new InvalidError([{ ...unplaced(message, hint), file }]);
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const link = code === 'ENOENT' ? linkAt(path) : undefined;
    if (link !== undefined) throw wrong(`this is a broken link to ${link}`, 'Repair the link, or replace it by a file.');
    if (code === 'ENOENT' || code === 'ENOTDIR') throw wrong('there is no such file', similarFiles(path));
    if (code === 'EISDIR') throw wrong('this is a folder, not a file', pipelinesIn(path));
    if (code === 'EACCES' || code === 'EPERM') throw wrong('this file cannot be read: permission denied', 'Check its permissions (ls -l).');
    throw wrong(`this file cannot be read: ${(error as Error).message}`);
  }
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  // UTF-16 without a byte order mark looks like UTF-8 with many NUL characters.
  const bad = text.indexOf(isUtf8(bytes) ? '\0' : '\ufffd');
  if (bad >= 0) {
    const line = text.slice(0, bad).split('\n').length;
    const column = bad - text.lastIndexOf('\n', bad);
    throw new InvalidError([{ file, line, column, length: 1, message: 'this file is not UTF-8', hint: 'Save it as UTF-8.' }]);
  }
  return text.replace(/^\ufeff/, '');
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // no link
  }
}

function similarFiles(path: string): string | undefined {
  const names = yamlFiles(dirname(path));
  const near = nearest(basename(path), names) ?? names.find((name) => name.replace(/\.ya?ml$/, '') === basename(path));
  if (near) return `did you mean ${displayPath(join(dirname(path), near))}?`;
  return names.length > 0 ? `The folder contains: ${names.map((name) => displayPath(join(dirname(path), name))).join(', ')}` : undefined;
}

function pipelinesIn(path: string): string | undefined {
  const names = yamlFiles(path);
  return names.length > 0 ? `It contains: ${names.map((name) => displayPath(join(path, name))).join(', ')}` : 'Name a .yaml file.';
}

function yamlFiles(folder: string): string[] {
  return namesIn(resolve(folder))
    .filter((name) => /\.ya?ml$/.test(name))
    .sort();
}
