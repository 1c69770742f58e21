/** Reads the text of a file, or explains why it cannot be read. */

import { readFileSync, readlinkSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { namesIn } from '../../cache/atomic-move.ts';
import { InvalidError } from '../errors.ts';
import { displayPath } from '../files/paths.ts';
import { nearest } from '../format/did-you-mean.ts';

export function readText(path: string, file: string): string {
  const wrong = (message: string, hint?: string) => new InvalidError([{ file, line: 0, column: 0, length: 0, message, hint }]);
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

function isUtf8(bytes: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
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
