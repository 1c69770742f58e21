/**
 * Exports results with their objects to one file for another cache. It is a tar archive of
 *
 *   results-<SHA-256>.jsonl   a header with the list of objects, then one result per line
 *   objects/<SHA-256>         the bytes
 *
 * Hashes cover all data, so a truncated or changed archive is detected, and nothing of it is imported.
 */

import { createHash } from 'node:crypto';
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { create, Parser, type ReadEntry } from 'tar';
import { flushFiles, flushFolders, removeAbandoned, temporaryIn } from './atomic-move.ts';
import { sha256 } from './digest.ts';
import { CacheError, diskError, printablePath } from './error.ts';
import type { Result } from './index.ts';
import type { Cache } from './open.ts';

/** Writes `file` atomically. `broken`: results that were not exported, because some of their objects are missing or damaged. */
export async function exportResults(
  cache: Cache,
  results: Result[],
  file: string,
): Promise<{ results: number; objects: number; bytes: number; broken: Result[] }> {
  if (existsSync(file)) throw new CacheError(`${printablePath(file)} already exists`, 'Remove it, or choose another name.');
  if (!existsSync(dirname(file)))
    throw new CacheError(`there is no folder ${printablePath(dirname(file))}`, 'Create it, or choose another name.');
  // Keep gc out.
  const turn = await cache.gcLock.publish();
  const work = mkdtempSync(join(tmpdir(), 'tunesmith-export-'));
  const temporary = temporaryIn(dirname(file));
  try {
    const objects = new Map<string, number>();
    const whole: Result[] = [];
    const broken: Result[] = [];
    for (const result of results) {
      const contents = Object.values(result.outputs);
      const states = await Promise.all(contents.map((content) => cache.objects.state(content)));
      if (states.some((state) => state !== 'ok')) broken.push(result);
      else {
        whole.push(result);
        for (const hash of contents.flatMap((content) => cache.objects.objectsOf(content))) objects.set(hash, cache.objects.sizeOf(hash));
      }
    }
    const header: Header = { tunesmith: 'results of a cache', format: FORMAT, objects: [...objects] };
    const lines = [header, ...whole].map((line) => `${JSON.stringify(line)}\n`).join('');
    const list = join(work, 'results.jsonl');
    writeFileSync(list, lines);
    const names = new Map([[list, `results-${sha256(lines)}.jsonl`]]);
    for (const hash of objects.keys()) names.set(cache.objects.pathOf(hash), `objects/${hash}`);
    removeAbandoned(dirname(file));
    await create(
      {
        file: temporary,
        cwd: '/',
        preservePaths: true,
        portable: true,
        noMtime: true,
        strict: true,
        onWriteEntry(entry) {
          entry.path = names.get(`/${entry.path.replace(/^\/+/, '')}`) ?? entry.path;
        },
      },
      [...names.keys()],
    );
    await flushFiles([temporary]);
    renameSync(temporary, file);
    await flushFolders([dirname(file)]);
    return { results: whole.length, objects: objects.size, bytes: [...objects.values()].reduce((sum, size) => sum + size, 0), broken };
  } catch (error) {
    throw diskError(error, `writing ${printablePath(file)}`, dirname(file));
  } finally {
    rmSync(temporary, { force: true });
    rmSync(work, { recursive: true, force: true });
    turn.release();
  }
}

export interface Imported {
  /** Number of new objects and bytes. */
  results: number;
  objects: number;
  bytes: number;
  /** Results that were already in the cache. They stay unchanged. */
  known: number;
}

/** Adds the results after all objects are complete. An error leaves at most unreferenced objects behind. */
export async function importResults(cache: Cache, folder: string, file: string): Promise<Imported> {
  if (!statSync(file, { throwIfNoEntry: false })?.isFile())
    throw new CacheError(`${printablePath(file)} is not a file`, 'Give a file that `tunesmith cache export` wrote.');
  if (cache.readOnly) throw new CacheError(`the cache ${printablePath(folder)} is read-only, so nothing can be imported`);
  const staging = temporaryIn(join(folder, 'tmp'));
  mkdirSync(staging, { recursive: true });
  const turn = await cache.gcLock.publish();
  try {
    const arriving = new ArchiveImport(cache, staging);
    await readArchive(file, (entry) => arriving.add(entry));
    return await arriving.finish();
  } catch (error) {
    if (error instanceof CacheError) throw error;
    if (/^(TAR_|Z_)/.test((error as { tarCode?: string }).tarCode ?? (error as NodeJS.ErrnoException).code ?? ''))
      throw damagedArchive((error as Error).message);
    throw diskError(error, `importing ${printablePath(file)}`, folder);
  } finally {
    rmSync(staging, { recursive: true, force: true });
    turn.release();
  }
}

class ArchiveImport {
  #header: Header | undefined;
  #results: Result[] = [];
  #missing = new Map<string, number>();
  #staged: { hash: string; size: number; path: string }[] = [];
  #stagedBytes = 0;
  readonly #new = { objects: 0, bytes: 0 };

  constructor(
    private readonly cache: Cache,
    private readonly staging: string,
  ) {}

  async add(entry: ReadEntry): Promise<void> {
    const [, object] = /^objects\/([\da-f]{64})$/.exec(entry.path) ?? [];
    const [, list] = /^results-([\da-f]{64})\.jsonl$/.exec(entry.path) ?? [];
    if (!this.#header && list !== undefined) this.#begin(await textOf(entry, list));
    else if (this.#header && object !== undefined && this.#missing.has(object)) await this.#object(entry, object);
    else throw this.#header ? damagedArchive(`it contains an unexpected entry, ${printablePath(entry.path)}`) : foreignArchive();
  }

  async finish(): Promise<Imported> {
    if (!this.#header) throw foreignArchive();
    if (this.#missing.size > 0)
      throw damagedArchive(`${this.#missing.size} of its ${this.#header.objects.length} objects are missing, so it is truncated`);
    await this.#adopt();
    const fresh: Result[] = [];
    for (const result of this.#results) {
      const known = this.cache.index.find(result.fingerprint);
      const states = known ? await Promise.all(Object.values(known.outputs).map((content) => this.cache.objects.state(content))) : [];
      if (!known || states.some((state) => state !== 'ok')) fresh.push(result);
    }
    this.cache.index.save(...fresh);
    return { results: fresh.length, known: this.#results.length - fresh.length, ...this.#new };
  }

  #begin(list: string): void {
    const [header, ...results] = list
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
    if (header?.format !== FORMAT)
      throw new CacheError('it was written by an incompatible version of tunesmith', 'Use the same version of tunesmith on both machines.');
    this.#header = header;
    this.#results = results;
    this.#missing = new Map(header.objects);
  }

  async #object(entry: ReadEntry, hash: string): Promise<void> {
    const path = join(this.staging, hash);
    const digest = createHash('sha256');
    const hashed = async function* (chunks: AsyncIterable<string | Buffer>) {
      for await (const chunk of chunks) {
        digest.update(chunk);
        yield chunk;
      }
    };
    await pipeline(entry as unknown as NodeJS.ReadableStream, hashed, createWriteStream(path));
    if (digest.digest('hex') !== hash) throw damagedArchive(`the content of the object ${hash} does not match its hash`);
    this.#missing.delete(hash);
    if (this.cache.objects.has(hash)) return rmSync(path);
    this.#new.objects++;
    this.#new.bytes += entry.size;
    this.#stagedBytes += entry.size;
    this.#staged.push({ hash, size: entry.size, path });
    // Write many objects at once, because each batch waits for the disk. Limit the size, so that staging needs little space.
    if (this.#staged.length >= 1000 || this.#stagedBytes >= 1 << 28) await this.#adopt();
  }

  async #adopt(): Promise<void> {
    await this.cache.objects.adopt(this.#staged);
    for (const { path } of this.#staged) rmSync(path);
    this.#staged = [];
    this.#stagedBytes = 0;
  }
}

interface Header {
  tunesmith: string;
  format: number;
  objects: [hash: string, size: number][];
}

const FORMAT = 1;

async function readArchive(file: string, take: (entry: ReadEntry) => Promise<void>): Promise<void> {
  let work: Promise<void> = Promise.resolve();
  const parser = new Parser({
    strict: true,
    onReadEntry(entry) {
      work = work.then(() => take(entry));
      // The error is reported where all are awaited.
      work.catch(() => parser.abort(new Error('stopped')));
    },
  });
  try {
    await pipeline(createReadStream(file), parser as unknown as NodeJS.WritableStream);
  } catch (error) {
    await work;
    throw error;
  }
  await work;
}

async function textOf(entry: ReadEntry, hash: string): Promise<string> {
  const content = await text(entry as unknown as NodeJS.ReadableStream);
  if (sha256(content) !== hash) throw damagedArchive('its list of results does not match its hash');
  return content;
}

function foreignArchive(): CacheError {
  return new CacheError('it was not written by `tunesmith cache export`', 'Create an archive with `tunesmith cache export FILE`.');
}

function damagedArchive(what: string): CacheError {
  return new CacheError(`the archive is damaged: ${what}`, 'Nothing was imported. Copy the archive again, or export it again.');
}
