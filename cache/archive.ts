/**
 * Results with their objects as one file, for another machine's cache. A tar archive of
 *
 *   results-<SHA-256>.jsonl   a line that says what this is and which objects follow, then a result a line
 *   objects/<SHA-256>         the bytes
 *
 * Every byte that counts is below a hash: what was cut short or changed on the way is found out, and nothing of it is used.
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
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { create, Parser, type ReadEntry } from 'tar';
import { flushFiles, flushFolders } from './durable.ts';
import { CacheError, diskError, shown } from './error.ts';
import type { Result } from './index.ts';
import type { Cache } from './open.ts';
import { removeAbandoned, temporaryIn } from './temporary.ts';

export interface Exported {
  results: number;
  objects: number;
  bytes: number;
  /** Results that could not be exported, since objects of theirs are missing or damaged. */
  broken: Result[];
}

/** `file` is there whole, or not at all. */
export async function exportResults(cache: Cache, results: Result[], file: string): Promise<Exported> {
  if (existsSync(file)) throw new CacheError(`${shown(file)} is there already`, 'Remove it, or name another file.');
  if (!existsSync(dirname(file))) throw new CacheError(`there is no folder ${shown(dirname(file))}`, 'Make it, or name another file.');
  // Nothing may be removed meanwhile.
  const turn = await cache.turns.publish();
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
    const text = [header, ...whole].map((line) => `${JSON.stringify(line)}\n`).join('');
    const list = join(work, 'results.jsonl');
    writeFileSync(list, text);
    const names = new Map([[list, `results-${sha256(text)}.jsonl`]]);
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
    return { results: whole.length, objects: objects.size, bytes: sum(objects.values()), broken };
  } catch (error) {
    throw diskError(error, `writing ${shown(file)}`, dirname(file));
  } finally {
    rmSync(temporary, { force: true });
    rmSync(work, { recursive: true, force: true });
    turn.release();
  }
}

export interface Imported {
  /** What was not there before. */
  results: number;
  objects: number;
  bytes: number;
  /** Results that were there already: what is here stays. */
  known: number;
}

/** Results are known once all of them are whole; after an error, no more than objects that no result refers to is left. */
export async function importResults(cache: Cache, folder: string, file: string): Promise<Imported> {
  if (!statSync(file, { throwIfNoEntry: false })?.isFile())
    throw new CacheError(`${shown(file)} is no file`, 'Name the archive that an export wrote.');
  if (cache.readOnly) throw new CacheError(`the cache ${shown(folder)} is read-only: nothing can be imported`);
  const staging = temporaryIn(join(folder, 'tmp'));
  mkdirSync(staging, { recursive: true });
  const turn = await cache.turns.publish();
  try {
    const arriving = new Arrival(cache, staging);
    await readArchive(file, (entry) => arriving.take(entry));
    return await arriving.end();
  } catch (error) {
    if (error instanceof CacheError) throw error;
    if (/^(TAR_|Z_)/.test((error as { tarCode?: string }).tarCode ?? (error as NodeJS.ErrnoException).code ?? ''))
      throw unsound((error as Error).message);
    throw diskError(error, `importing ${shown(file)}`, folder);
  } finally {
    rmSync(staging, { recursive: true, force: true });
    turn.release();
  }
}

class Arrival {
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

  async take(entry: ReadEntry): Promise<void> {
    const [, object] = /^objects\/([\da-f]{64})$/.exec(entry.path) ?? [];
    const [, list] = /^results-([\da-f]{64})\.jsonl$/.exec(entry.path) ?? [];
    if (!this.#header && list !== undefined) this.#begin(await textOf(entry, list));
    else if (this.#header && object !== undefined && this.#missing.has(object)) await this.#object(entry, object);
    else throw this.#header ? unsound(`${shown(entry.path)} does not belong into it`) : notOurs();
  }

  async end(): Promise<Imported> {
    if (!this.#header) throw notOurs();
    if (this.#missing.size > 0)
      throw unsound(`${this.#missing.size} of its ${this.#header.objects.length} objects are missing: it was cut short`);
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

  #begin(text: string): void {
    const [header, ...results] = text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
    if (header?.format !== FORMAT)
      throw new CacheError('it was written by another version of tunesmith', 'Update tunesmith, here or there.');
    this.#header = header;
    this.#results = results;
    this.#missing = new Map(header.objects);
  }

  async #object(entry: ReadEntry, hash: string): Promise<void> {
    const path = join(this.staging, hash);
    const digest = createHash('sha256');
    const through = new Transform({
      transform(chunk, _, done) {
        digest.update(chunk);
        done(null, chunk);
      },
    });
    await pipeline(entry as unknown as NodeJS.ReadableStream, through, createWriteStream(path));
    if (digest.digest('hex') !== hash) throw unsound(`the object ${hash} has other bytes than its name says`);
    this.#missing.delete(hash);
    if (this.cache.objects.has(hash)) return rmSync(path);
    this.#new.objects++;
    this.#new.bytes += entry.size;
    this.#stagedBytes += entry.size;
    this.#staged.push({ hash, size: entry.size, path });
    // Many at once, since each time the disk is waited for; but not the whole archive a second time.
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

/** Hands on one entry after the other. */
async function readArchive(file: string, take: (entry: ReadEntry) => Promise<void>): Promise<void> {
  let work: Promise<void> = Promise.resolve();
  const parser = new Parser({
    strict: true,
    onReadEntry(entry) {
      work = work.then(() => take(entry));
      // Said by whoever waits for all of them.
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
  const chunks: Buffer[] = [];
  for await (const chunk of entry as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  if (sha256(text) !== hash) throw unsound('its list of results has other bytes than its name says');
  return text;
}

function notOurs(): CacheError {
  return new CacheError('it is no export of a cache of tunesmith', '`tunesmith cache export FILE` writes one.');
}

function unsound(what: string): CacheError {
  return new CacheError(`the archive is damaged: ${what}`, 'Nothing of it was imported. Copy it again, or export it again.');
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
