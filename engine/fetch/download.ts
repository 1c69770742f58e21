/**
 * Downloads one file atomically. Partial downloads are kept as `.incomplete` beside the target, and this engine or a later one
 * resumes them. A file is moved to its target only if its hash is correct.
 *
 * HTTP requests are repeated after "too many requests" and server errors, follow redirects without sending credentials to another
 * host, and give up on a host that does not answer.
 */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { diskError, freeSpace } from '../../cache/error.ts';
import { StepError } from '../contract/step.ts';

export interface HttpRequest {
  method?: 'GET' | 'HEAD' | 'POST';
  headers?: Record<string, string>;
  /** The `Authorization` header, which is sent only to the host of the URL. */
  authorization?: string;
  signal?: AbortSignal;
  /** Decides whether to accept a redirect as the response instead of following it. */
  acceptRedirect?(response: Response): boolean;
  /** There is a fallback, so give up on the host soon. */
  failFast?: boolean;
  /** Called with the reason for waiting. */
  log?(message: string): void;
}

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

/** The host did not answer: there is no network, no such host, or the connection broke repeatedly. */
export class Unreachable extends StepError {
  /** `reason`: "connection refused". */
  constructor(host: string, reason: string) {
    super(`cannot reach ${host}: ${reason}`, 'Check the network and run again. Partial downloads are kept.');
  }
}

/** Returns the response with any status. Retries 429 and 5xx, and returns them if they persist. */
export async function sendRequest(url: string, options: HttpRequest = {}): Promise<Response> {
  const host = new URL(url).host;
  for (let attempt = 1; ; attempt++) {
    let response: Response | undefined;
    let failure: unknown;
    try {
      response = await fetchFollowingRedirects(url, options);
      if (!BUSY.has(response.status)) return response;
    } catch (error) {
      options.signal?.throwIfAborted();
      failure = error;
      if (!isTransient(error)) throw new Unreachable(host, reasonOf(error));
    }
    const wait = retryDelay(attempt, response);
    if (attempt === (options.failFast ? 3 : 5) || wait > (options.failFast ? 5_000 : 300_000)) {
      if (response) return response;
      throw new Unreachable(host, reasonOf(failure));
    }
    const what = response ? `HTTP status ${response.status}` : reasonOf(failure);
    options.log?.(`${host}: ${what}; retrying in ${Math.ceil(wait / 1000)} s`);
    await response?.body?.cancel();
    await sleep(wait, undefined, { signal: options.signal });
  }
}

const BUSY = new Set([408, 429, 500, 502, 503, 504]);

/** Delay before the next attempt in milliseconds: what the server asks for, otherwise longer each time. */
function retryDelay(attempt: number, response?: Response): number {
  const retryAfter = response?.headers.get('retry-after');
  if (retryAfter) {
    const time = /^\d+(\.\d+)?$/.test(retryAfter.trim()) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now();
    if (Number.isFinite(time)) return Math.max(0, time);
  }
  return 500 * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
}

/** Maximum time in milliseconds without data from a host, before or during a response. */
function silenceLimit(): number {
  const seconds = Number(process.env.HF_HUB_DOWNLOAD_TIMEOUT);
  return (seconds > 0 ? seconds : 30) * 1000;
}

async function fetchFollowingRedirects(
  url: string,
  { method = 'GET', headers = {}, authorization, signal, acceptRedirect, failFast }: HttpRequest,
): Promise<Response> {
  const { origin } = new URL(url);
  let at = url;
  for (let hops = 0; hops <= 10; hops++) {
    const own = authorization !== undefined && new URL(at).origin === origin ? { authorization } : {};
    const silence = new AbortController();
    const most = failFast ? Math.min(5_000, silenceLimit()) : silenceLimit();
    const timer = setTimeout(() => silence.abort(new Error(`no answer for ${most / 1000} s`)), most);
    let response: Response;
    try {
      response = await fetch(at, {
        method,
        headers: { 'user-agent': 'tunesmith', ...headers, ...own } as Record<string, string>,
        redirect: 'manual',
        signal: signal ? AbortSignal.any([signal, silence.signal]) : silence.signal,
      });
    } finally {
      clearTimeout(timer);
    }
    const to = response.headers.get('location');
    if (response.status < 300 || response.status > 399 || to === null || acceptRedirect?.(response)) return response;
    await response.body?.cancel();
    const next = new URL(to, at);
    // Refuse a redirect from https to http, which an attacker could inject.
    if (next.protocol !== 'https:' && new URL(at).protocol === 'https:')
      throw new Error(`it redirects from https to ${next.protocol}//${next.host}`);
    at = next.href;
  }
  throw new Error('it redirects in a cycle');
}

/** Whether a retry may help: if a connection broke, but not if it cannot be made. */
function isTransient(error: unknown): boolean {
  return TRANSIENT.test(codeOf(error)) || /^no answer for|terminated|other side closed/.test(messageOf(error));
}

const TRANSIENT = /^(ECONNRESET|EPIPE|ETIMEDOUT|UND_ERR_(SOCKET|(CONNECT|HEADERS|BODY)_TIMEOUT))$/;

function reasonOf(error: unknown): string {
  const code = codeOf(error);
  return REASONS[code] ?? (code !== '' ? `${innermost(error).message} (${code})` : messageOf(error));
}

const REASONS: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was reset',
  ENOTFOUND: 'there is no host with that name, or no network',
  EAI_AGAIN: 'the DNS lookup failed',
  ENETUNREACH: 'there is no network',
  EHOSTUNREACH: 'there is no route to the host',
  ETIMEDOUT: 'no answer',
  UND_ERR_SOCKET: 'the connection broke',
  UND_ERR_CONNECT_TIMEOUT: 'no answer',
  UND_ERR_HEADERS_TIMEOUT: 'no answer',
};

function codeOf(error: unknown): string {
  return String((innermost(error) as NodeJS.ErrnoException).code ?? '');
}

function messageOf(error: unknown): string {
  return innermost(error).message;
}

/** The innermost cause, because fetch wraps errors in "fetch failed" and joins the errors of several IP addresses. */
function innermost(error: unknown): Error {
  const { cause, errors } = error as { cause?: unknown; errors?: unknown[] };
  if (cause instanceof Error) return innermost(cause);
  if (Array.isArray(errors) && errors[0] instanceof Error) return innermost(errors[0]);
  return error instanceof Error ? error : new Error(String(error));
}
