/**
 * One file from a URL, whole or not at all: what has come is kept beside its place as `.incomplete` and gone on with
 * after a cut, by this engine or a later one; only what has the right hash is moved to its place.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { diskError, freeSpace } from '../../cache/error.ts';
import { StepError } from '../step.ts';
import { type Asked, ask, patience, pause, reasonOf, Unreachable } from './http.ts';

export interface Wanted extends Asked {
  url: string;
  /** Where the file goes. */
  to: string;
  /** How messages name it. */
  what: string;
  /** What it must be; a size alone where nothing else is known. */
  size?: number;
  hash?: FileHash;
  /** The hash that the server promises, where that is all there is to go by. */
  hashIn?(headers: Headers): FileHash | undefined;
  /** Puts an answer that is no file into words. */
  refused(response: Response): Promise<Error>;
  /** Hears how large it is. */
  onSize?(size: number): void;
  /** Hears of bytes that came, below zero of those that were thrown away. */
  onBytes?(count: number): void;
}

/** A SHA-256, git's hash of a file, or an MD5. */
export interface FileHash {
  kind: 'sha256' | 'git' | 'md5';
  hex: string;
}

/** The headers of the answer that the file came with. */
export async function download(wanted: Wanted): Promise<Headers> {
  await mkdir(dirname(wanted.to), { recursive: true }).catch((error) => {
    throw diskError(error, `making ${dirname(wanted.to)}`, dirname(dirname(wanted.to)));
  });
  const part = `${wanted.to}.incomplete`;
  // What an earlier engine left may be to blame where the whole is wrong.
  const again = (await sizeOf(part)) > 0;
  let came = await fetchPart(part, wanted);
  if (again && !isRight(came)) {
    await discard(part, wanted);
    came = await fetchPart(part, wanted);
  }
  if (!isRight(came)) {
    await discard(part, wanted);
    throw new StepError(
      `${wanted.what} is not what it should be: its ${NAMES[came.wanted!.kind]} is ${came.actual}, not ${came.wanted!.hex}`,
      'What came was deleted. Run again; if that does not help, the server or something on the way is at fault.',
    );
  }
  await rename(part, wanted.to);
  return came.headers;
}

/** The hash of a file that is there; its git hash needs the size before the first byte is read. */
export async function hashOfFile(path: string, kind: FileHash['kind']): Promise<string> {
  const hash = hasher(kind, await sizeOf(path));
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

const NAMES = { sha256: 'SHA-256', git: 'git hash', md5: 'MD5' };

interface Came {
  headers: Headers;
  /** Undefined where nobody knows. */
  wanted?: FileHash;
  actual?: string;
}

function isRight({ wanted, actual }: Came): boolean {
  return wanted?.hex === actual;
}

/** Asks for what is missing until all is there. */
async function fetchPart(part: string, wanted: Wanted): Promise<Came> {
  let told = 0;
  let ended = false;
  for (let fruitless = 0; ; ) {
    const have = await sizeOf(part);
    wanted.onBytes?.(have - told);
    told = have;
    const response = await ask(wanted.url, {
      ...wanted,
      // Ranges and sizes are those of the file itself, not of a compressed form of it.
      headers: { ...wanted.headers, 'accept-encoding': 'identity', ...(have > 0 ? { range: `bytes=${have}-` } : {}) },
    });
    if (response.status === 416 && have > 0) {
      await response.body?.cancel();
      const total = rangeOf(response)?.total;
      if (have === (wanted.size ?? total)) return judge(part, wanted, response.headers);
      await discard(part, wanted);
      // Of what an earlier engine left, or of another file; of all that came now it is all that there is.
      if (ended) throw ofOtherSize(wanted, total ?? have);
      ended = true;
      told = 0;
      continue;
    }
    if (!response.ok || response.body === null) throw await wanted.refused(response);
    const range = response.status === 206 ? rangeOf(response) : undefined;
    const from = range && range.start === have ? have : 0;
    if (range && range.start !== from) {
      await response.body.cancel();
      await discard(part, wanted);
      told = 0;
      continue;
    }
    const total = range?.total ?? (response.status === 200 ? lengthOf(response) : undefined);
    if (wanted.size !== undefined && total !== undefined && total < wanted.size) {
      await response.body.cancel();
      await discard(part, wanted);
      throw ofOtherSize(wanted, total);
    }
    const size = wanted.size ?? range?.total ?? lengthOf(response);
    makeRoom(wanted, (size ?? 0) - from);
    if (size !== undefined) wanted.onSize?.(size);
    if (from < told) wanted.onBytes?.(from - told);
    told = from;
    const trouble = await receive(response, part, from, wanted, (count) => {
      told += count;
      wanted.onBytes?.(count);
    });
    if (!trouble && (size === undefined || told === size)) return judge(part, wanted, response.headers);
    if (size !== undefined && told > size) {
      await discard(part, wanted);
      throw new StepError(`${wanted.what} is larger than it should be: more than ${size} bytes came`, 'What came was deleted. Run again.');
    }
    fruitless = told > have ? 0 : fruitless + 1;
    const { host } = new URL(wanted.url);
    if (fruitless === 5) throw new Unreachable(host, `${trouble ? reasonOf(trouble) : 'the connection broke'}, again and again`);
    const wait = pause(Math.max(1, fruitless));
    wanted.say?.(`${wanted.what}: ${trouble ? reasonOf(trouble) : 'the connection broke'} after ${told} bytes; goes on from there`);
    await sleep(wait, undefined, { signal: wanted.signal });
  }
}

function ofOtherSize({ what, size }: Wanted, total: number): StepError {
  return new StepError(
    `${what} is not what it should be: it has ${total} bytes, not ${size}`,
    'What came was deleted. Run again; if that does not help, the server or something on the way is at fault.',
  );
}

/** Appends what comes; resolves with what broke it off. */
async function receive(
  response: Response,
  part: string,
  from: number,
  { signal, what, size, to }: Wanted,
  onBytes: (count: number) => void,
): Promise<unknown> {
  let file: FileHandle;
  try {
    file = await open(part, from > 0 ? 'r+' : 'w');
  } catch (error) {
    throw diskError(error, `downloading ${what}`, dirname(to), size);
  }
  const reader = response.body!.getReader();
  let at = from;
  try {
    for (;;) {
      let chunk: Uint8Array | undefined;
      try {
        chunk = await next(reader);
      } catch (error) {
        signal?.throwIfAborted();
        return error;
      }
      if (chunk === undefined) return undefined;
      for (let sent = 0; sent < chunk.length; ) {
        const { bytesWritten } = await file.write(chunk, sent, chunk.length - sent, at);
        sent += bytesWritten;
        at += bytesWritten;
      }
      onBytes(chunk.length);
      // Whoever sends more than there is may never end.
      if (size !== undefined && at > size) return undefined;
    }
  } catch (error) {
    throw diskError(error, `downloading ${what}`, dirname(to), size);
  } finally {
    reader.cancel().catch(() => {});
    await file.sync().catch(() => {});
    await file.close();
  }
}

async function next(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer for ${patience() / 1000} s`)), patience());
  });
  try {
    const { value } = await Promise.race([reader.read(), silence]);
    return value;
  } finally {
    clearTimeout(timer);
  }
}

async function discard(part: string, { onBytes }: Wanted): Promise<void> {
  onBytes?.(-(await sizeOf(part)));
  await rm(part, { force: true });
}

async function judge(part: string, { hash, hashIn }: Wanted, headers: Headers): Promise<Came> {
  const wanted = hash ?? hashIn?.(headers);
  return { headers, wanted, actual: wanted && (await hashOfFile(part, wanted.kind)) };
}

function hasher(kind: FileHash['kind'], size: number): Hash {
  return kind === 'git' ? createHash('sha1').update(`blob ${size}\0`) : createHash(kind);
}

function makeRoom({ what, to }: Wanted, needed: number): void {
  const folder = dirname(to);
  if (needed > freeSpace(folder)) throw diskError({ code: 'ENOSPC' }, `downloading ${what}`, folder, needed);
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}

function rangeOf(response: Response): { start: number; total?: number } | undefined {
  const found = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '');
  return found ? { start: Number(found[1] ?? -1), total: found[2] === '*' ? undefined : Number(found[2]) } : undefined;
}

function lengthOf(response: Response): number | undefined {
  const length = response.headers.get('content-length');
  return length === null || response.headers.get('content-encoding') ? undefined : Number(length);
}
