/**
 * The object store: the bytes of results by hash, `objects/ab/cdef…`, raw and read-only. A folder is one object with its
 * listing (see content.ts), besides the objects of its files.
 *
 * Publishing: write a temporary file on the same file system → flush → rename → flush the folder. An object is therefore
 * complete or absent at any time. Two processes may publish the same object, because the bytes are the same.
 */
import {
  type BigIntStats,
  chmodSync,
  constants,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { chmod, copyFile, mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { flushFiles, flushFolders, placeAtomically, removeAbandoned, removeTree, temporaryIn } from './atomic-move.ts';
import { applyModes, type Content, formatListing, type ListingEntry, parseListing, readFolder } from './content.ts';
import { BIG, digest, largeAndSmall, sha256, yieldIfDue } from './digest.ts';
import { diskError, MissingObjectError, printablePath, UnreadableError } from './error.ts';
import type { FileHashCache } from './file-hash-cache.ts';

type ObjectState = 'ok' | 'missing' | 'damaged';

export class ObjectStore {
  readonly #objects: string;
  readonly #temporary: string;
  /** Whether the file system supports reflinks; determined with the first big file. */
  #reflinks = true;

  constructor(
    private readonly at: {
      /** The folder of the cache. */
      folder: string;
      /** Hash cache for objects. */
      objects: FileHashCache;
      /** Hash cache for files that are stored and restored. */
      files: FileHashCache;
      readOnly: boolean;
      /** Folder for restoring, if a rename can move files from there to the target. */
      staging: string | undefined;
    },
  ) {
    this.#objects = join(at.folder, 'objects');
    this.#temporary = join(at.folder, 'tmp');
    if (!at.readOnly) removeAbandoned(this.#temporary);
    if (at.staging !== undefined && at.staging !== this.#temporary) removeAbandoned(at.staging);
  }

  /** Stores `path`, whose content must still be `content`. It is on the disk when this resolves. */
  async put(path: string, content: Content): Promise<void> {
    if (this.at.readOnly) return;
    try {
      if (content.kind === 'file') return await this.#publish([{ ...content, path }]);
      const entries = await readFolder(path, this.at.files);
      const listing = formatListing(entries);
      if (sha256(listing) !== content.hash) throw changedWhileStored(path);
      const files = entries.filter((entry) => entry.kind === 'file');
      await this.#publish(files.map((entry) => ({ ...entry, path: join(path, entry.path) })));
      await this.#publish([{ hash: content.hash, size: listing.length, text: listing }]);
    } catch (error) {
      throw diskError(error, `storing ${printablePath(path)}`, this.at.folder, content.size);
    }
  }

  /**
   * Writes `content` to `path` and replaces what is there. It is a copy, or a reflink if the file system supports them, but
   * never a hard link, so that editing an output cannot change the cache. It is not flushed, because it can be restored again.
   */
  async restore(content: Content, path: string): Promise<void> {
    const entries = await this.#entriesOf(content);
    const parent = dirname(path);
    try {
      await mkdir(parent, { recursive: true });
      const staged = await this.#stagingFor(parent);
      try {
        await this.#write(content.kind, entries, staged);
        if (content.modes) applyModes(staged, content.modes, new Set(entries.map((entry) => entry.path)));
        if (content.kind === 'folder')
          for (const { kind, path, hash } of entries) if (kind === 'file') this.at.files.trust(statOf(join(staged, path))!, hash);
        const { ino, mtimeNs } = statOf(staged)!;
        await placeAtomically(staged, path);
        // The rename changed the ctime. Do not cache the hash if another process has replaced the file in the meantime.
        const stat = statOf(path);
        if (content.kind === 'file' && stat?.ino === ino && stat.mtimeNs === mtimeNs) this.at.files.trust(stat, content.hash);
      } finally {
        removeTree(staged);
      }
    } catch (error) {
      throw diskError(error, `restoring ${printablePath(path)}`, parent, content.size);
    }
  }

  /** Whether `content` can be restored. Changes no file. */
  async state(content: Content): Promise<ObjectState> {
    const own = await this.#stateOf(content.hash);
    if (own !== 'ok' || content.kind === 'file') return own;
    for (const { kind, hash } of this.#listingOf(content)) {
      const state = kind === 'file' ? await this.#stateOf(hash) : 'ok';
      if (state !== 'ok') return state;
    }
    return 'ok';
  }

  /** Reads every object, moves damaged ones away and returns their hashes. */
  async verify(): Promise<{ objects: number; bytes: number; damaged: string[] }> {
    const found = { objects: 0, bytes: 0, damaged: [] as string[] };
    for (const { hash, stat } of this.#stored()) {
      found.objects++;
      found.bytes += Number(stat.size);
      if (await this.#isWhole(hash, stat)) continue;
      await this.#quarantine(hash);
      found.damaged.push(hash);
    }
    return found;
  }

  /** Adds finished files as objects. They must have these hashes. */
  async adopt(files: { hash: string; size: number; path: string }[]): Promise<void> {
    const needed = files.reduce((sum, { size }) => sum + size, 0);
    try {
      await this.#publish(files);
    } catch (error) {
      throw diskError(error, 'storing objects', this.at.folder, needed);
    }
  }

  has(hash: string): boolean {
    return statOf(this.pathOf(hash)) !== undefined;
  }

  sizeOf(hash: string): number {
    return Number(statOf(this.pathOf(hash))?.size ?? 0);
  }

  /** Disk usage of each object in bytes. */
  sizes(): Map<string, number> {
    return new Map(Array.from(this.#stored(), ({ hash, stat }) => [hash, diskUsage(stat)]));
  }

  /** The objects of `content`. If the listing of a folder is missing or damaged, only the known ones. */
  objectsOf(content: Pick<Content, 'kind' | 'hash'>): string[] {
    if (content.kind === 'file') return [content.hash];
    try {
      return [content.hash, ...this.#listingOf(content).flatMap(({ kind, hash }) => (kind === 'file' ? [hash] : []))];
    } catch {
      return [content.hash];
    }
  }

  /** Removes objects, including damaged copies. Only with the gc lock (`GcLock`), and if no result refers to them. */
  async remove(hashes: Iterable<string>): Promise<void> {
    try {
      for (const hash of hashes) {
        const pause = yieldIfDue();
        if (pause) await pause;
        rmSync(this.pathOf(hash), { force: true });
      }
      await rm(join(this.at.folder, 'damaged'), { recursive: true, force: true });
    } catch (error) {
      throw diskError(error, 'removing objects', this.at.folder);
    }
  }

  *#stored(): Generator<{ hash: string; stat: BigIntStats }> {
    for (const folder of namesIn(this.#objects)) {
      for (const name of namesIn(join(this.#objects, folder))) {
        const hash = folder + name;
        const stat = statOf(this.pathOf(hash));
        if (stat) yield { hash, stat };
      }
    }
  }

  /** Adds missing objects from files and texts. All are on the disk before the first one is visible. */
  async #publish(sources: Source[]): Promise<void> {
    const staged = new Map<string, Staged>();
    const folders = new Set<string>();
    for (const source of sources) {
      if (staged.has(source.hash)) continue;
      const known = this.#isKnown(source.hash);
      const state = await this.#stateOf(source.hash);
      // The process that renamed it may have been killed before the flush.
      if (state === 'ok' && !known)
        folders
          .add(dirname(this.pathOf(source.hash)))
          .add(this.#objects)
          .add(this.at.folder);
      if (state === 'ok') continue;
      if (state === 'damaged') await this.#quarantine(source.hash);
      staged.set(source.hash, { ...source, temporary: temporaryIn(this.#temporary) });
    }
    try {
      if (staged.size > 0) await mkdir(this.#temporary, { recursive: true });
      await largeAndSmall([...staged.values()], (file) => this.#copyIn(file));
      await flushFiles([...staged.values()].map(({ temporary }) => temporary));
      for (const [hash, { temporary }] of staged) {
        const pause = yieldIfDue();
        if (pause) await pause;
        const object = this.pathOf(hash);
        const made = mkdirSync(dirname(object), { recursive: true });
        if (made !== undefined) folders.add(this.#objects).add(this.at.folder);
        folders.add(dirname(object));
        chmodSync(temporary, 0o444);
        renameSync(temporary, object);
      }
      await flushFolders([...folders]);
    } catch (error) {
      for (const { temporary } of staged.values()) await rm(temporary, { force: true });
      throw error;
    }
    for (const hash of staged.keys()) {
      const stat = statOf(this.pathOf(hash));
      if (stat) this.at.objects.trust(stat, hash);
    }
  }

  async #copyIn({ hash, size, path, text, temporary }: Staged): Promise<void> {
    if (text !== undefined) writeFileSync(temporary, text, { flag: 'wx', mode: 0o600 });
    else if ((await this.#hashOfCopy(path!, size, temporary)) !== hash) throw changedWhileStored(path!);
    backdate(temporary);
  }

  /** Copies a file and hashes the copied bytes, which detects a file that changes in the meantime. */
  async #hashOfCopy(path: string, size: number, temporary: string): Promise<string> {
    try {
      if (size >= BIG && this.#reflinks) {
        const cloned = await copyFile(path, temporary, constants.COPYFILE_FICLONE_FORCE).then(
          () => true,
          () => false,
        );
        if (cloned) {
          await chmod(temporary, 0o600);
          return await digest(temporary, size);
        }
        this.#reflinks = false;
        await rm(temporary, { force: true });
      }
      return await digest(path, size, temporary);
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? changedWhileStored(path) : error;
    }
  }

  /** The files to write for restoring, after verifying all objects. Moves damaged objects away. */
  async #entriesOf(content: Content): Promise<ListingEntry[]> {
    await this.#require(content.hash);
    if (content.kind === 'file') return [{ ...content, kind: 'file', path: '' }];
    const entries = this.#listingOf(content);
    for (const { kind, hash } of entries) if (kind === 'file') await this.#require(hash);
    return entries;
  }

  async #require(hash: string): Promise<void> {
    const state = await this.#stateOf(hash);
    if (state === 'ok') return;
    if (state === 'missing') throw this.#missing(hash);
    await this.#quarantine(hash);
    const where = join(this.at.folder, 'damaged');
    throw new MissingObjectError(`the object ${hash} was damaged and was moved to ${where}`, RUN_AGAIN);
  }

  #missing(hash: string): MissingObjectError {
    return new MissingObjectError(`the object ${hash} is not in ${this.#objects}`, RUN_AGAIN);
  }

  async #write(kind: Content['kind'], entries: ListingEntry[], to: string): Promise<void> {
    if (kind === 'folder') mkdirSync(to);
    for (const entry of entries) if (entry.kind === 'folder') mkdirSync(join(to, entry.path));
    const files = entries.filter(({ kind }) => kind === 'file');
    await largeAndSmall(files, (entry) => this.#copyOut(entry, join(to, entry.path)));
    for (const { link, path } of entries) if (link !== undefined) symlinkSync(link, join(to, path));
  }

  async #copyOut({ hash, size, executable }: ListingEntry, to: string): Promise<void> {
    const object = this.pathOf(hash);
    const mode = executable ? 0o777 : 0o666;
    try {
      if (size < BIG) {
        writeFileSync(to, readFileSync(object), { flag: 'wx', mode });
      } else {
        const { blocks } = statSync(object);
        // The kernel copies faster and uses reflinks, but it fills holes.
        if (blocks * 512 < size) await digest(object, size, to);
        else await copyFile(object, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
        await chmod(to, mode & ~process.umask());
      }
    } catch (error) {
      // Removed by gc in the meantime.
      throw statOf(object) ? error : this.#missing(hash);
    }
    backdate(to);
  }

  #isKnown(hash: string): boolean {
    const stat = statOf(this.pathOf(hash));
    return stat !== undefined && this.at.objects.hashOf(stat) === hash;
  }

  async #stateOf(hash: string): Promise<ObjectState> {
    const stat = statOf(this.pathOf(hash));
    if (!stat) return 'missing';
    const known = this.at.objects.hashOf(stat);
    return known === hash || (await this.#isWhole(hash, stat)) ? 'ok' : 'damaged';
  }

  async #isWhole(hash: string, stat: BigIntStats): Promise<boolean> {
    const since = Date.now();
    if ((await digest(this.pathOf(hash), Number(stat.size)).catch(() => undefined)) !== hash) return false;
    this.at.objects.learn(stat, hash, since);
    return true;
  }

  #listingOf(content: Pick<Content, 'hash'>): ListingEntry[] {
    return parseListing(readFileSync(this.pathOf(content.hash), 'utf8'));
  }

  async #quarantine(hash: string): Promise<void> {
    if (this.at.readOnly) return;
    const aside = join(this.at.folder, 'damaged', hash);
    try {
      await mkdir(dirname(aside), { recursive: true });
      await rm(aside, { recursive: true, force: true });
      await rename(this.pathOf(hash), aside);
    } catch (error) {
      // Another process was faster.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw diskError(error, 'moving a damaged object away', this.at.folder);
    }
  }

  /** A temporary path, if possible not in `folder`, so that a killed process leaves no files in the user's folders. */
  async #stagingFor(folder: string): Promise<string> {
    const { staging } = this.at;
    if (staging !== undefined) {
      await mkdir(staging, { recursive: true });
      if (statSync(staging).dev === statSync(folder).dev) return temporaryIn(staging);
    }
    removeAbandoned(folder);
    return temporaryIn(folder);
  }

  /** The path of an object, for reading only. */
  pathOf(hash: string): string {
    return join(this.#objects, hash.slice(0, 2), hash.slice(2));
  }
}

const RUN_AGAIN = 'Run the step again.';

/** A sparse file uses less than its size. (Some file systems report zero blocks for small files.) */
function diskUsage({ size, blocks }: BigIntStats): number {
  return Number(size > HOLES && blocks * 512n < size ? blocks * 512n : size);
}

const HOLES = 1n << 16n;

/** The source of an object: a file or a text. */
interface Source {
  hash: string;
  size: number;
  path?: string;
  text?: string;
}

interface Staged extends Source {
  temporary: string;
}

/** The timestamps of a file with an mtime older than its ctime can be trusted at once (see `FileHashCache.trust`). */
function backdate(path: string): void {
  // By more than the coarsest clock's tick, FAT's 2 s.
  const earlier = Date.now() / 1000 - 3;
  utimesSync(path, earlier, earlier);
}

function changedWhileStored(path: string): UnreadableError {
  return new UnreadableError(path, 'it changed while it was being stored', 'Wait until no other program writes to it.');
}

function statOf(path: string): BigIntStats | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false });
}

function namesIn(folder: string): string[] {
  return lstatSync(folder, { throwIfNoEntry: false }) ? readdirSync(folder) : [];
}
