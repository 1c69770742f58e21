/** What a request may take: the limits of one request and of all together, and reading a body within them. */

import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';

export interface Limits {
  /** Bytes of a request's body. */
  body: number;
  /** Inputs per request. */
  inputs: number;
  /** Characters of one input, all its texts together, in UTF-16 code units; also of a prompt. */
  characters: number;
  /** Bytes of all requests that are being read, waiting or answered. */
  waiting: number;
  /** Texts that one request generates, including beams. */
  texts: number;
  /** Generated tokens per text. */
  newTokens: number;
  /** Seconds per generation. */
  seconds: number;
}

export const defaultLimits: Limits = {
  body: 10 * 2 ** 20,
  inputs: 1000,
  characters: 100_000,
  waiting: 64 * 2 ** 20,
  texts: 64,
  newTokens: 1024,
  seconds: 60,
};

/** An error that rejects a request, with the reason. */
export class RequestRefusal extends Error {
  constructor(
    readonly status: 400 | 404 | 413 | 415 | 503,
    message: string,
  ) {
    super(message);
  }
}

/** @throws RequestRefusal if one of the inputs exceeds the limit */
export function checkCharacters(counts: readonly number[], { characters }: Limits, nameOf: (place: number) => string): void {
  const long = counts.findIndex((count) => count > characters);
  if (long >= 0)
    throw new RequestRefusal(
      413,
      `${nameOf(long)} has ${counts[long]} characters, but at most ${characters} are allowed (see the server option --max-characters)`,
    );
}

/**
 * Accounts for the memory of requests, from their first byte to the end of the response. Each may take half of what
 * the others leave, so that a small request fits where large ones do not.
 */
export class Room {
  /** Bytes in use. */
  taken = 0;

  constructor(private readonly bytes: number) {}

  /** The share of one request. */
  enter() {
    let own = 0;
    return {
      /** @throws RequestRefusal if this much more does not fit */
      take: (more: number) => {
        if (own + more > (this.bytes - (this.taken - own)) / 2)
          throw new RequestRefusal(503, 'the server is overloaded; try again in a second');
        own += more;
        this.taken += more;
      },
      /** Releases all of it. */
      leave: () => {
        this.taken -= own;
        own = 0;
      },
    };
  }
}

export type Ticket = ReturnType<Room['enter']>;

/** Only JSON and `accepts`, where '' is a missing type: pages of other origins may post `text/plain` and forms without permission, so these must not be in it. */
export function checkContentType(type: string | undefined, encoding: string | undefined, accepts: readonly string[] = []): void {
  const [media = '', ...parameters] = (type ?? '').toLowerCase().split(';');
  const charset = parameters.map((one) => /^\s*charset\s*=\s*"?([^"\s]*)"?\s*$/.exec(one)?.[1]).find((one) => one !== undefined);
  if (!/^application\/([\w.+-]+\+)?json$/.test(media.trim()) && !accepts.includes(media.trim()))
    throw new RequestRefusal(
      415,
      `the content-type must be ${['application/json', ...accepts].filter((one) => one !== '').join(' or ')}, not ${type ? JSON.stringify(type) : 'missing'}`,
    );
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8')
    throw new RequestRefusal(415, `the body must be UTF-8, not ${JSON.stringify(charset)}`);
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
    throw new RequestRefusal(415, `the body must not be compressed, but its content-encoding is ${JSON.stringify(encoding)}`);
}

/** @throws RequestRefusal if it is too large, comes too late, or there is no memory for it now: `discardBody` then reads the rest. */
export async function readBody(incoming: IncomingMessage, mostBytes: number, ticket: Ticket, late: AbortSignal): Promise<Buffer> {
  const tooLarge = () => new RequestRefusal(413, `the body is larger than ${mostBytes} bytes; send fewer inputs at once`);
  if (Number(incoming.headers['content-length'] ?? 0) > mostBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  const read = async () => {
    let bytes = 0;
    // The connection stays open, so that the error can be sent.
    for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
      bytes += chunk.length;
      if (bytes > mostBytes) throw tooLarge();
      ticket.take(chunk.length);
      chunks.push(chunk);
    }
  };
  const { promise: refused, reject } = Promise.withResolvers<never>();
  const refuse = () => reject(new RequestRefusal(503, 'the server is shutting down, and the request has not arrived completely'));
  late.addEventListener('abort', refuse);
  if (late.aborted && !incoming.complete) refuse();
  try {
    await Promise.race([read(), refused]);
  } finally {
    late.removeEventListener('abort', refuse);
  }
  return Buffer.concat(chunks);
}

/**
 * Reads the rest of the body of a refused request, and keeps nothing of it: a client that is still sending would find its
 * connection closed, and not see the answer. It gives up after `mostBytes`, if nothing comes for a while, or at a shutdown.
 */
export async function discardBody(incoming: IncomingMessage, mostBytes: number, late: AbortSignal): Promise<void> {
  if (incoming.readableEnded || incoming.destroyed || late.aborted) return;
  await new Promise<void>((resolve) => {
    const end = () => {
      incoming.off('data', discard);
      clearTimeout(timer);
      late.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, pauseMilliseconds);
    let bytes = 0;
    const discard = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > mostBytes) end();
      else timer.refresh();
    };
    incoming.on('data', discard);
    for (const event of ['end', 'error', 'close']) incoming.once(event, end);
    late.addEventListener('abort', end);
    incoming.resume();
  });
}

const pauseMilliseconds = 5000;

/** @throws RequestRefusal if it is invalid, or nested so deeply that code which follows it could exhaust the stack */
export function jsonOf(body: Buffer): unknown {
  if (!isUtf8(body)) throw new RequestRefusal(400, 'the body is not UTF-8');
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch (error) {
    throw new RequestRefusal(400, `the body is not JSON: ${body.length === 0 ? 'it is empty' : (error as Error).message}`);
  }
  // Level by level: a walk that called itself would exhaust the stack here.
  let level = typeof value === 'object' && value !== null ? [value] : [];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > mostLevels) throw new RequestRefusal(400, `the body has lists or objects nested more than ${mostLevels} levels deep`);
    const next: object[] = [];
    for (const each of level) for (const inner of Object.values(each)) if (typeof inner === 'object' && inner !== null) next.push(inner);
    level = next;
  }
  return value;
}

/** No protocol needs more than six. */
const mostLevels = 64;

export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
