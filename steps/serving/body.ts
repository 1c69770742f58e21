/** Reads a request's body within the limits, and parses its JSON, with messages for other content. */
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { Refused } from './limits.ts';
import type { Ticket } from './room.ts';

/** @throws Refused if it is too large, or there is no memory for it now. The rest of it is then not read. */
export async function readBody(incoming: IncomingMessage, mostBytes: number, ticket: Ticket): Promise<Buffer> {
  const tooLarge = () => new Refused(413, `the body is larger than ${mostBytes} bytes; send fewer inputs at once`);
  if (Number(incoming.headers['content-length'] ?? 0) > mostBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  // The connection stays open, so that the error can be sent.
  for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
    bytes += chunk.length;
    if (bytes > mostBytes) throw tooLarge();
    ticket.take(chunk.length);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Only JSON, because pages of other origins may post some other types without permission. */
export function checkContentType(type: string | undefined, encoding: string | undefined): void {
  const [media = '', ...parameters] = (type ?? '').toLowerCase().split(';');
  const charset = parameters.map((one) => /^\s*charset\s*=\s*"?([^"\s]*)"?\s*$/.exec(one)?.[1]).find((one) => one !== undefined);
  if (!/^application\/([\w.+-]+\+)?json$/.test(media.trim()))
    throw new Refused(415, `the content-type must be application/json, not ${type ? JSON.stringify(type) : 'missing'}`);
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8')
    throw new Refused(415, `the body must be UTF-8, not ${JSON.stringify(charset)}`);
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
    throw new Refused(415, `the body must not be compressed, but its content-encoding is ${JSON.stringify(encoding)}`);
}

/** @throws Refused if it is invalid */
export function jsonOf(body: Buffer): unknown {
  if (!isUtf8(body)) throw new Refused(400, 'the body is not UTF-8');
  try {
    return JSON.parse(body.toString());
  } catch (error) {
    throw new Refused(400, `the body is not JSON: ${body.length === 0 ? 'it is empty' : (error as Error).message}`);
  }
}

export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
