/**
 * What stands at a path, as a hash: content alone, no path, no time, no owner.
 *
 * A file's hash is the SHA-256 of its bytes. A folder's is the SHA-256 of its listing, a text in UTF-8:
 *
 *   tunesmith folder 1
 *   ["folder","empty"]                                a folder below, whether empty or not
 *   ["file","<hash>",<size>,"a/b.txt"]                a file
 *   ["program","<hash>",<size>,"bin/run"]             a file that its owner may execute
 *   ["link","../elsewhere","a/link"]                  a symbolic link, kept as a link, also when it leads nowhere
 *
 * One line an entry, each ended by a newline, ordered by the bytes of their paths; `/` between names on every system.
 */
import { createHash } from 'node:crypto';
import { type BigIntStats, lstatSync, readdirSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { join, sep } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { BIG, breathe, digest } from './digest.ts';
import { UnreadableError } from './error.ts';
import { type Hashes, sameFile, settlesAt, TICK } from './memo.ts';
import type { Modes } from './modes.ts';

export interface Content {
  kind: 'file' | 'folder';
  /** Hex SHA-256; a folder's is that of its listing. */
  hash: string;
  /** Bytes of the file, or of all files below. */
  size: number;
  executable: boolean;
  /** Of an output: permissions that are not the usual ones. They are no part of what it is. */
  modes?: Modes;
}

export interface Reading {
  /**
   * For folders that others made: a link that leads out of the folder counts as what it leads to, so that a change
   * there is seen. Without it every link is a link.
   */
  follow?: boolean;
  /** Whether what lies at a path below the folder does not count; nothing below it does, then. */
  leaveOut?(path: string, isFolder: boolean): boolean;
  /** Hears of it. */
  onLeftOut?(path: string): void;
}

/** What stands at `path`; undefined when nothing does. A link at `path` itself is followed. */
export async function contentOf(path: string, memo: Hashes, reading: Reading = {}): Promise<Content | undefined> {
  const stat = statOf(path, statSync);
  if (!stat) return undefined;
  if (stat.isFile()) {
    const hash = memo.hashOf(stat);
    return hash === undefined ? readFile(path, stat, memo) : fileContent(stat, hash);
  }
  if (!stat.isDirectory()) throw new UnreadableError(path, 'it is neither a file nor a folder');
  const entries = await readFolder(path, memo, reading);
  const size = entries.reduce((sum, entry) => sum + entry.size, 0);
  return { kind: 'folder', hash: hashOfText(formatListing(entries)), size, executable: false };
}

/** One line of a folder's listing. A link's hash is that of its target's text, a folder's is empty. */
export interface Entry {
  path: string;
  kind: 'file' | 'folder' | 'link';
  hash: string;
  size: number;
  executable: boolean;
  link?: string;
}

/** The files and links below a folder by relative path, to say what changed between two states of it. */
export async function listing(path: string, memo: Hashes, reading: Reading = {}): Promise<Record<string, Entry>> {
  const entries = await readFolder(path, memo, reading);
  return Object.fromEntries(entries.filter((entry) => entry.kind !== 'folder').map((entry) => [entry.path, entry]));
}

/** All that is below a folder, in the order of its listing. */
export async function readFolder(root: string, memo: Hashes, { follow = false, leaveOut, onLeftOut }: Reading = {}): Promise<Entry[]> {
  const entries: Entry[] = [];
  const unread: { path: string; stat: BigIntStats; entry: Entry }[] = [];

  // `trail` holds the real paths of the folders we are in: a link back into one of them is not followed.
  const walk = async (folder: string, prefix: string, trail: string[]): Promise<void> => {
    for (const name of namesIn(folder)) {
      const pause = breathe();
      if (pause) await pause;
      const at = join(folder, name);
      const path = prefix + name;
      let stat = statOf(at, lstatSync);
      // Gone since the folder was read.
      if (!stat) continue;
      if (leaveOut?.(path, stat.isDirectory())) {
        onLeftOut?.(at);
        continue;
      }
      let real: string | undefined;
      if (stat.isSymbolicLink()) {
        real = follow ? leadsOut(at, trail) : undefined;
        stat = real === undefined ? stat : statOf(real, statSync);
        if (real === undefined || !stat) {
          const link = linkText(at);
          entries.push({ path, kind: 'link', hash: hashOfText(link), size: 0, executable: false, link });
          continue;
        }
      }
      if (stat.isDirectory()) {
        entries.push({ path, kind: 'folder', hash: '', size: 0, executable: false });
        await walk(at, `${path}/`, follow ? [...trail, real ?? join(trail.at(-1)!, name)] : trail);
      } else if (stat.isFile()) {
        const hash = memo.hashOf(stat);
        const entry: Entry = { path, kind: 'file', ...pick(fileContent(stat, hash ?? '')) };
        entries.push(entry);
        if (hash === undefined) unread.push({ path: at, stat, entry });
      } else {
        throw new UnreadableError(at, 'it is neither a file, a folder nor a link', 'Sockets, pipes and devices have no content to keep.');
      }
    }
  };
  await walk(root, '', follow ? [realOf(root)] : []);

  const read = async ({ path, stat, entry }: (typeof unread)[number]) => Object.assign(entry, pick(await readFile(path, stat, memo)));
  const inTurn = async () => {
    for (const file of unread) if (file.stat.size < BIG) await read(file);
  };
  await Promise.all([inTurn(), ...unread.filter((file) => file.stat.size >= BIG).map(read)]);
  return entries.sort(bytewise(entries));
}

export function formatListing(entries: Entry[]): string {
  const lines = entries.map(({ path, kind, hash, size, executable, link }) => {
    if (kind === 'folder') return JSON.stringify([kind, path]);
    if (kind === 'link') return JSON.stringify([kind, link, path]);
    return JSON.stringify([executable ? 'program' : 'file', hash, size, path]);
  });
  return [HEADER, ...lines, ''].join('\n');
}

export function parseListing(text: string): Entry[] {
  const [header, ...lines] = text.split('\n');
  if (header !== HEADER) throw new Error(`not a listing of a folder: ${JSON.stringify(header)}`);
  return lines.slice(0, -1).map((line): Entry => {
    const [kind, ...fields] = JSON.parse(line);
    if (kind === 'folder') return { path: fields[0], kind, hash: '', size: 0, executable: false };
    if (kind === 'link') return { path: fields[1], kind, hash: hashOfText(fields[0]), size: 0, executable: false, link: fields[0] };
    return { path: fields[2], kind: 'file', hash: fields[0], size: fields[1], executable: kind === 'program' };
  });
}

const HEADER = 'tunesmith folder 1';

export function hashOfText(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Readings under way: cells that start together and read the same file read it once. */
const underway = new Map<string, Promise<Content>>();

async function readFile(path: string, stat: BigIntStats, memo: Hashes): Promise<Content> {
  if (stat.size < BIG) return readUntilStill(path, stat, memo);
  const key = `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
  let reading = underway.get(key);
  if (!reading) {
    reading = readUntilStill(path, stat, memo).finally(() => underway.delete(key));
    underway.set(key, reading);
  }
  return reading;
}

async function readUntilStill(path: string, stat: BigIntStats, memo: Hashes): Promise<Content> {
  for (let attempt = 0; attempt < 5; attempt++) {
    // A big file that is just written: better to wait out its clock's tick than to read it again next time.
    const young = settlesAt(stat) - Date.now();
    if (stat.size >= BIG && young > 0 && young <= TICK) await setTimeout(young);
    const since = Date.now();
    const { hash } = await digest(path, Number(stat.size)).catch((error) => {
      throw unreadable(path, error);
    });
    const after = statOf(path, statSync);
    if (!after) break;
    if (sameFile(stat, after)) {
      memo.learn(stat, hash, since);
      return fileContent(stat, hash);
    }
    stat = after;
  }
  throw new UnreadableError(path, 'it changes while it is read', 'Wait until whatever writes it is done.');
}

function fileContent(stat: BigIntStats, hash: string): Content {
  return { kind: 'file', hash, size: Number(stat.size), executable: (stat.mode & 0o100n) !== 0n };
}

function pick({ hash, size, executable }: Content): Pick<Entry, 'hash' | 'size' | 'executable'> {
  return { hash, size, executable };
}

/** Where a link leads, if to something outside of the outermost folder and not to a folder that we are in. */
function leadsOut(link: string, trail: string[]): string | undefined {
  let real: string;
  try {
    real = realpathSync(link);
  } catch {
    return undefined;
  }
  const within = (path: string, folder: string) => path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
  if (within(real, trail[0]!) || trail.some((folder) => within(folder, real))) return undefined;
  return real;
}

function realOf(folder: string): string {
  try {
    return realpathSync(folder);
  } catch (error) {
    throw unreadable(folder, error);
  }
}

function statOf(path: string, stat: typeof statSync | typeof lstatSync): BigIntStats | undefined {
  try {
    return stat(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw unreadable(path, error);
  }
}

function namesIn(folder: string): string[] {
  try {
    const names = readdirSync(folder);
    const odd = names.some((name) => name.includes('\ufffd')) && readdirSync(folder, 'buffer').find(isNotUtf8);
    if (odd) {
      throw new UnreadableError(folder, `the name ${escaped(odd)} in it is not valid UTF-8`, 'Rename the file, or leave it out.');
    }
    return names;
  } catch (error) {
    if (error instanceof UnreadableError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw unreadable(folder, error);
  }
}

function linkText(path: string): string {
  const bytes = readlinkSync(path, 'buffer');
  if (isNotUtf8(bytes)) throw new UnreadableError(path, `the link's target ${escaped(bytes)} is not valid UTF-8`);
  return bytes.toString();
}

function isNotUtf8(bytes: Buffer): boolean {
  return !Buffer.from(bytes.toString()).equals(bytes);
}

/** The bytes of a name for a message: `caf\xe9.txt`. */
export function escaped(bytes: Buffer): string {
  return Array.from(bytes, (byte) =>
    byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
  ).join('');
}

function unreadable(path: string, error: unknown): UnreadableError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM') return new UnreadableError(path, 'permission denied', 'Check its permissions and its owner.');
  if (code === 'ENOENT') return new UnreadableError(path, 'it vanished while it was read');
  if (code === 'ELOOP') return new UnreadableError(path, 'its links lead in a circle');
  return new UnreadableError(path, message);
}

/** Byte order of UTF-8 is code point order. JavaScript's own `<` agrees as long as no name has a character beyond U+FFFF. */
function bytewise(entries: Entry[]): (a: Entry, b: Entry) => number {
  if (!entries.some(({ path }) => /[\ud800-\udfff]/.test(path))) return (a, b) => (a.path < b.path ? -1 : 1);
  return (a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path));
}
