/**
 * Downloads one file atomically. Partial downloads are kept as `.incomplete` beside the target, and this engine or a later one
 * resumes them. A file is moved to its target only if its hash is correct.
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
  /** The target path. */
  to: string;
  /** The name of the file in messages. */
  what: string;
  /** The expected hash; only a size if nothing else is known. */
  size?: number;
  hash?: FileHash;
  /** The hash that the server sends, if no other is known. */
  hashIn?(headers: Headers): FileHash | undefined;
  /** Explains an HTTP response that is no file. */
  refused(response: Response): Promise<Error>;
  /** Called with the size of the file in bytes. */
  onSize?(size: number): void;
  /** Called with the number of received bytes; negative for discarded ones. */
  onBytes?(count: number): void;
}

/** A SHA-256, a git blob hash, or an MD5. */
export interface FileHash {
  kind: 'sha256' | 'git' | 'md5';
  hex: string;
}

/** Downloads a file. Returns the headers of the HTTP response. */
export async function download(wanted: Wanted): Promise<Headers> {
  await mkdir(dirname(wanted.to), { recursive: true }).catch((error) => {
    throw diskError(error, `making ${dirname(wanted.to)}`, dirname(dirname(wanted.to)));
  });
  const part = `${wanted.to}.incomplete`;
  // A wrong hash may come from the partial download of an earlier engine, so try once more from the start.
  const again = (await sizeOf(part)) > 0;
  let came = await fetchPart(part, wanted);
  if (again && !isRight(came)) {
    await discard(part, wanted);
    came = await fetchPart(part, wanted);
  }
  if (!isRight(came)) {
    await discard(part, wanted);
    throw new StepError(
      `${wanted.what} has the wrong ${NAMES[came.wanted!.kind]}: ${came.actual} instead of ${came.wanted!.hex}`,
      'The download was deleted. Run again. If that does not help, the server or a proxy sends the wrong file.',
    );
  }
  await rename(part, wanted.to);
  return came.headers;
}

/** The hash of an existing file. A git hash needs the size before the first byte. */
export async function hashOfFile(path: string, kind: FileHash['kind']): Promise<string> {
  const hash = hasher(kind, await sizeOf(path));
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

const NAMES = { sha256: 'SHA-256', git: 'git hash', md5: 'MD5' };

interface Came {
  headers: Headers;
  /** Undefined if unknown. */
  wanted?: FileHash;
  actual?: string;
}

function isRight({ wanted, actual }: Came): boolean {
  return wanted?.hex === actual;
}

/** Requests the missing bytes until the file is complete. */
async function fetchPart(part: string, wanted: Wanted): Promise<Came> {
  let told = 0;
  let ended = false;
  for (let fruitless = 0; ; ) {
    const have = await sizeOf(part);
    wanted.onBytes?.(have - told);
    told = have;
    const response = await ask(wanted.url, {
      ...wanted,
      // No compression, because ranges and sizes refer to the file itself.
      headers: { ...wanted.headers, 'accept-encoding': 'identity', ...(have > 0 ? { range: `bytes=${have}-` } : {}) },
    });
    if (response.status === 416 && have > 0) {
      await response.body?.cancel();
      const total = rangeOf(response)?.total;
      if (have === (wanted.size ?? total)) return judge(part, wanted, response.headers);
      await discard(part, wanted);
      // The range is beyond the end. The partial file is from an earlier engine or another file, unless it is complete.
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
      throw new StepError(`${wanted.what} is too large: received more than ${size} bytes`, 'The download was deleted. Run again.');
    }
    fruitless = told > have ? 0 : fruitless + 1;
    const { host } = new URL(wanted.url);
    if (fruitless === 5) throw new Unreachable(host, `${trouble ? reasonOf(trouble) : 'the connection broke'}, repeatedly`);
    const wait = pause(Math.max(1, fruitless));
    wanted.say?.(`${wanted.what}: ${trouble ? reasonOf(trouble) : 'the connection broke'} after ${told} bytes; resuming`);
    await sleep(wait, undefined, { signal: wanted.signal });
  }
}

function ofOtherSize({ what, size }: Wanted, total: number): StepError {
  return new StepError(
    `${what} has the wrong size: ${total} bytes instead of ${size}`,
    'The download was deleted. Run again. If that does not help, the server or a proxy sends the wrong file.',
  );
}

/** Appends the received bytes. Resolves with the error if the connection breaks. */
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
      // Stop, because a server that sends too much may never end.
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
