/**
 * Downloads one file atomically. Partial downloads are kept as `.incomplete` beside the target, and this engine or a later one
 * resumes them. A file is moved to its target only if its hash is correct.
 */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { diskError, freeSpace } from '../../cache/error.ts';
import { type HttpRequest, reasonOf, retryDelay, silenceLimit } from '../contract/http.ts';
import { StepError, sendRequest, Unreachable } from '../contract/step.ts';

export interface DownloadRequest extends HttpRequest {
  url: string;
  to: string;
  /** The name of the file in messages. */
  what: string;
  /** The expected hash; only a size if nothing else is known. */
  size?: number;
  hash?: FileHash;
  /** The hash that the server sends, if no other is known. */
  hashIn?(headers: Headers): FileHash | undefined;
  refused(response: Response): Promise<Error>;
  onSize?(size: number): void;
  /** Called with the number of received bytes; negative for discarded ones. */
  onBytes?(count: number): void;
}

export interface FileHash {
  kind: 'sha256' | 'git' | 'md5';
  hex: string;
}

/** Downloads a file. Returns the headers of the HTTP response. */
export async function download(request: DownloadRequest): Promise<Headers> {
  await mkdir(dirname(request.to), { recursive: true }).catch((error) => {
    throw diskError(error, `making ${dirname(request.to)}`, dirname(dirname(request.to)));
  });
  const part = `${request.to}.incomplete`;
  // A wrong hash may come from the partial download of an earlier engine, so try once more from the start.
  const again = (await sizeOf(part)) > 0;
  let received = await fetchPart(part, request);
  if (again && !hashMatches(received)) {
    await discard(part, request);
    received = await fetchPart(part, request);
  }
  if (!hashMatches(received)) {
    await discard(part, request);
    throw new StepError(
      `${request.what} has the wrong ${NAMES[received.expected!.kind]}: ${received.actual} instead of ${received.expected!.hex}`,
      'The download was deleted. Run again. If that does not help, the server or a proxy sends the wrong file.',
    );
  }
  await rename(part, request.to);
  return received.headers;
}

/** The hash of an existing file. A git hash needs the size before the first byte. */
export async function hashOfFile(path: string, kind: FileHash['kind']): Promise<string> {
  const hash = kind === 'git' ? createHash('sha1').update(`blob ${await sizeOf(path)}\0`) : createHash(kind);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

const NAMES = { sha256: 'SHA-256', git: 'git hash', md5: 'MD5' };

interface Received {
  headers: Headers;
  expected?: FileHash;
  actual?: string;
}

function hashMatches({ expected, actual }: Received): boolean {
  return expected?.hex === actual;
}

/** Requests the missing bytes until the file is complete. */
async function fetchPart(part: string, request: DownloadRequest): Promise<Received> {
  /** The bytes that were reported to `onBytes`. */
  let reported = 0;
  let ended = false;
  for (let fruitless = 0; ; ) {
    const have = await sizeOf(part);
    request.onBytes?.(have - reported);
    reported = have;
    const response = await sendRequest(request.url, {
      ...request,
      // No compression, because ranges and sizes refer to the file itself.
      headers: { ...request.headers, 'accept-encoding': 'identity', ...(have > 0 ? { range: `bytes=${have}-` } : {}) },
    });
    if (response.status === 416 && have > 0) {
      await response.body?.cancel();
      const total = rangeOf(response)?.total;
      if (have === (request.size ?? total)) return checkHash(part, request, response.headers);
      await discard(part, request);
      // The range is beyond the end. The partial file is from an earlier engine or another file, unless it is complete.
      if (ended) throw wrongSize(request, total ?? have);
      ended = true;
      reported = 0;
      continue;
    }
    if (!response.ok || response.body === null) throw await request.refused(response);
    const range = response.status === 206 ? rangeOf(response) : undefined;
    const from = range && range.start === have ? have : 0;
    if (range && range.start !== from) {
      await response.body.cancel();
      await discard(part, request);
      reported = 0;
      continue;
    }
    const total = range?.total ?? (response.status === 200 ? lengthOf(response) : undefined);
    if (request.size !== undefined && total !== undefined && total < request.size) {
      await response.body.cancel();
      await discard(part, request);
      throw wrongSize(request, total);
    }
    const size = request.size ?? range?.total ?? lengthOf(response);
    makeRoom(request, (size ?? 0) - from);
    if (size !== undefined) request.onSize?.(size);
    if (from < reported) request.onBytes?.(from - reported);
    reported = from;
    const failure = await receive(response, part, from, request, (count) => {
      reported += count;
      request.onBytes?.(count);
    });
    if (!failure && (size === undefined || reported === size)) return checkHash(part, request, response.headers);
    if (size !== undefined && reported > size) {
      await discard(part, request);
      throw new StepError(`${request.what} is too large: received more than ${size} bytes`, 'The download was deleted. Run again.');
    }
    fruitless = reported > have ? 0 : fruitless + 1;
    const { host } = new URL(request.url);
    if (fruitless === 5) throw new Unreachable(host, `${failure ? reasonOf(failure) : 'the connection broke'}, repeatedly`);
    const wait = retryDelay(Math.max(1, fruitless));
    request.log?.(`${request.what}: ${failure ? reasonOf(failure) : 'the connection broke'} after ${reported} bytes; resuming`);
    await sleep(wait, undefined, { signal: request.signal });
  }
}

function wrongSize({ what, size }: DownloadRequest, total: number): StepError {
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
  { signal, what, size, to }: DownloadRequest,
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
        chunk = await readChunk(reader);
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

async function readChunk(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer for ${silenceLimit() / 1000} s`)), silenceLimit());
  });
  try {
    const { value } = await Promise.race([reader.read(), silence]);
    return value;
  } finally {
    clearTimeout(timer);
  }
}

async function discard(part: string, { onBytes }: DownloadRequest): Promise<void> {
  onBytes?.(-(await sizeOf(part)));
  await rm(part, { force: true });
}

async function checkHash(part: string, { hash, hashIn }: DownloadRequest, headers: Headers): Promise<Received> {
  const expected = hash ?? hashIn?.(headers);
  return { headers, expected, actual: expected && (await hashOfFile(part, expected.kind)) };
}

function makeRoom({ what, to }: DownloadRequest, needed: number): void {
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
