/**
 * Hashes the content at a path: content only, without path, time and owner.
 *
 * The hash of a file is the SHA-256 of its bytes. The hash of a folder is the SHA-256 of its listing, a text in UTF-8:
 *
 *   tunesmith folder 1
 *   ["folder","empty"]                                a subfolder, empty or not
 *   ["file","<hash>",<size>,"a/b.txt"]                a file
 *   ["program","<hash>",<size>,"bin/run"]             a file that its owner may execute
 *   ["link","../elsewhere","a/link"]                  a symbolic link, kept as a link even if it is broken
 *
 * There is one line per entry, each with a newline, ordered by the bytes of the paths. Paths use `/` on every system.
 */

import { type BigIntStats, chmodSync, lstatSync, readdirSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { join, sep } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { BIG, digest, largeAndSmall, sha256, yieldIfDue } from './digest.ts';
import { UnreadableError } from './error.ts';
import { type Hashes, sameFile, settlesAt, TICK } from './file-hash-cache.ts';

export interface Content {
  kind: 'file' | 'folder';
  /** SHA-256 in hex; for a folder, of its listing. */
  hash: string;
  /** Size in bytes of the file, or of all files in the folder. */
  size: number;
  executable: boolean;
  /** Unusual permissions of an output. They are not part of the content. */
  modes?: Modes;
}

/**
 * Permissions of outputs that differ from the umask's default, so that a private file is private again after restoring. They are
 * stored beside the content and not in its hash, because the umask must not change the content. Keys are paths inside the output;
 * '' is the output itself.
 */
type Modes = Record<string, number>;

export interface ContentOptions {
  /**
   * Follow links that leave the folder, so that changes of their targets are detected. For folders of the user. Otherwise every
   * link counts as a link.
   */
  follow?: boolean;
  /** Whether to leave out a path below the folder and everything in it. */
  leaveOut?(path: string, isFolder: boolean): boolean;
  /** Called for each path that is left out. */
  onLeftOut?(path: string): void;
}

/** The content at `path`; undefined if it does not exist. Follows a link at `path` itself. */
export async function contentOf(path: string, hashes: Hashes, reading: ContentOptions = {}): Promise<Content | undefined> {
  const stat = statOf(path, statSync);
  if (!stat) return undefined;
  if (stat.isFile()) {
    const hash = hashes.hashOf(stat);
    return hash === undefined ? readFile(path, stat, hashes) : fileContent(stat, hash);
  }
  if (!stat.isDirectory()) throw new UnreadableError(path, 'it is neither a file nor a folder');
  const entries = await readFolder(path, hashes, reading);
  const size = entries.reduce((sum, entry) => sum + entry.size, 0);
  return { kind: 'folder', hash: sha256(formatListing(entries)), size, executable: false };
}

/** One line of a folder's listing. The hash of a link is that of its target's text; a folder has none. */
export interface ListingEntry {
  path: string;
  kind: 'file' | 'folder' | 'link';
  hash: string;
  size: number;
  executable: boolean;
  link?: string;
}

/** The files and links in a folder by relative path, to find changes between two states. */
export async function listing(path: string, hashes: Hashes, reading: ContentOptions = {}): Promise<Record<string, ListingEntry>> {
  const entries = await readFolder(path, hashes, reading);
  return Object.fromEntries(entries.filter((entry) => entry.kind !== 'folder').map((entry) => [entry.path, entry]));
}

/** Everything in a folder, in the order of its listing. */
export async function readFolder(
  root: string,
  hashes: Hashes,
  { follow = false, leaveOut, onLeftOut }: ContentOptions = {},
): Promise<ListingEntry[]> {
  const entries: ListingEntry[] = [];
  const unread: { path: string; stat: BigIntStats; size: number; entry: ListingEntry }[] = [];

  // `trail`: real paths of the folders that we are in. A link back into one of them is not followed.
  const walk = async (folder: string, prefix: string, trail: string[]): Promise<void> => {
    for (const name of namesIn(folder)) {
      const pause = yieldIfDue();
      if (pause) await pause;
      const at = join(folder, name);
      const path = prefix + name;
      let stat = statOf(at, lstatSync);
      // Removed since the folder was read.
      if (!stat) continue;
      if (leaveOut?.(path, stat.isDirectory())) {
        onLeftOut?.(at);
        continue;
      }
      let real: string | undefined;
      if (stat.isSymbolicLink()) {
        real = follow ? targetOutside(at, trail) : undefined;
        stat = real === undefined ? stat : statOf(real, statSync);
        if (real === undefined || !stat) {
          const link = linkText(at);
          entries.push({ path, kind: 'link', hash: sha256(link), size: 0, executable: false, link });
          continue;
        }
      }
      if (stat.isDirectory()) {
        entries.push({ path, kind: 'folder', hash: '', size: 0, executable: false });
        await walk(at, `${path}/`, follow ? [...trail, real ?? join(trail.at(-1)!, name)] : trail);
      } else if (stat.isFile()) {
        const hash = hashes.hashOf(stat);
        const entry: ListingEntry = { path, ...fileContent(stat, hash ?? '') };
        entries.push(entry);
        if (hash === undefined) unread.push({ path: at, stat, size: entry.size, entry });
      } else {
        throw new UnreadableError(
          at,
          'it is neither a file, a folder nor a link',
          'Sockets, pipes and devices have no content that can be stored.',
        );
      }
    }
  };
  await walk(root, '', follow ? [realOf(root)] : []);

  await largeAndSmall(unread, async ({ path, stat, entry }) => {
    Object.assign(entry, await readFile(path, stat, hashes));
  });
  return entries.sort(bytewise(entries));
}

export function formatListing(entries: ListingEntry[]): string {
  const lines = entries.map(({ path, kind, hash, size, executable, link }) => {
    if (kind === 'folder') return JSON.stringify([kind, path]);
    if (kind === 'link') return JSON.stringify([kind, link, path]);
    return JSON.stringify([executable ? 'program' : 'file', hash, size, path]);
  });
  return [HEADER, ...lines, ''].join('\n');
}

export function parseListing(text: string): ListingEntry[] {
  const [header, ...lines] = text.split('\n');
  if (header !== HEADER) throw new Error(`not a listing of a folder: ${JSON.stringify(header)}`);
  return lines.slice(0, -1).map((line): ListingEntry => {
    const [kind, ...fields] = JSON.parse(line);
    if (kind === 'folder') return { path: fields[0], kind, hash: '', size: 0, executable: false };
    if (kind === 'link') return { path: fields[1], kind, hash: sha256(fields[0]), size: 0, executable: false, link: fields[0] };
    return { path: fields[2], kind: 'file', hash: fields[0], size: fields[1], executable: kind === 'program' };
  });
}

const HEADER = 'tunesmith folder 1';

/** Reads in progress, so that cells that start together read the same file once. */
const underway = new Map<string, Promise<Content>>();

async function readFile(path: string, stat: BigIntStats, hashes: Hashes): Promise<Content> {
  if (stat.size < BIG) return readUntilStill(path, stat, hashes);
  const key = `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
  let reading = underway.get(key);
  if (!reading) {
    reading = readUntilStill(path, stat, hashes).finally(() => underway.delete(key));
    underway.set(key, reading);
  }
  return reading;
}

async function readUntilStill(path: string, stat: BigIntStats, hashes: Hashes): Promise<Content> {
  for (let attempt = 0; attempt < 5; attempt++) {
    // A big file was just written. Wait for the next clock tick, so that its hash can be cached.
    const young = settlesAt(stat) - Date.now();
    if (stat.size >= BIG && young > 0 && young <= TICK) await setTimeout(young);
    const since = Date.now();
    const hash = await digest(path, Number(stat.size)).catch((error) => {
      throw unreadable(path, error);
    });
    const after = statOf(path, statSync);
    if (!after) break;
    if (sameFile(stat, after)) {
      hashes.learn(stat, hash, since);
      return fileContent(stat, hash);
    }
    stat = after;
  }
  throw new UnreadableError(path, 'it changed while it was read', 'Wait until no other program writes to it.');
}

function fileContent(stat: BigIntStats, hash: string): Content {
  return { kind: 'file', hash, size: Number(stat.size), executable: (stat.mode & 0o100n) !== 0n };
}

/** The target of a link if it is outside of the outermost folder and is not a folder that we are in. */
function targetOutside(link: string, trail: string[]): string | undefined {
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
  if (code === 'ENOENT') return new UnreadableError(path, 'it was removed while it was read');
  if (code === 'ELOOP') return new UnreadableError(path, 'its links form a cycle');
  return new UnreadableError(path, message);
}

/** Compares by UTF-8 bytes, which is the order of code points. JavaScript's `<` is equal for characters up to U+FFFF. */
function bytewise(entries: ListingEntry[]): (a: ListingEntry, b: ListingEntry) => number {
  if (!entries.some(({ path }) => /[\ud800-\udfff]/.test(path))) return (a, b) => (a.path < b.path ? -1 : 1);
  return (a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path));
}

/**
 * The last write to a file or folder as one word, which changes with every write, even if the write is reverted. `contentOf` gives
 * the content; this shows whether it was the same all the time. Undefined if the path does not exist. Does not read the files.
 */
export async function stampsOf(path: string, reading: ContentOptions = {}): Promise<string | undefined> {
  return (await contentOf(path, STAMPS, { ...reading, follow: true }))?.hash;
}

/** The last write of each file in a folder, by relative path; empty for a file. */
export async function stampsWithin(path: string, reading: ContentOptions = {}): Promise<Map<string, string>> {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return new Map();
  const entries = await listing(path, STAMPS, { ...reading, follow: true });
  return new Map(Object.values(entries).map((entry) => [entry.path, entry.hash]));
}

/** Without ctime, which changes when a hard link is created or removed. */
const STAMPS: Hashes = { hashOf: ({ dev, ino, size, mtimeNs }) => `${dev}:${ino}:${size}:${mtimeNs}`, learn() {} };

/** Undefined if all are the umask's default. */
export function modesOf(path: string): Modes | undefined {
  const modes: [string, number][] = [];
  const mask = process.umask();
  const visit = (at: string, name: string) => {
    const stat = lstatSync(at);
    if (stat.isSymbolicLink()) return;
    const mode = stat.mode & 0o777;
    const usual = (stat.isDirectory() || (mode & 0o100) !== 0 ? 0o777 : 0o666) & ~mask;
    if (mode !== usual) modes.push([name, mode]);
    if (stat.isDirectory()) for (const below of readdirSync(at)) visit(join(at, below), name === '' ? below : `${name}/${below}`);
  };
  visit(path, '');
  return modes.length > 0 ? Object.fromEntries(modes) : undefined;
}

/** Sets modes, folders last, because files in a read-only folder need theirs first. */
export function applyModes(path: string, modes: Modes, names: Set<string>): void {
  for (const [name, mode] of Object.entries(modes).sort(([a], [b]) => (a < b ? 1 : -1))) {
    // The modes may come from an imported archive.
    if (name !== '' && !names.has(name)) continue;
    const at = name === '' ? path : join(path, name);
    const stat = lstatSync(at, { throwIfNoEntry: false });
    if (stat && !stat.isSymbolicLink()) chmodSync(at, mode & 0o777);
  }
}
