/** What is known of a request beside its content: for the response, the access log, errors and traces. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

export interface RequestInfo {
  /** The client's X-Request-Id if it is valid, otherwise a new one. */
  id: string;
  /** The name of its API key. */
  key?: string;
  /** The path of its route, such as /models/:name. */
  route?: string;
  /** Milliseconds since 1970. */
  time: number;
  /** Of performance.now(). */
  start: number;
}

const infos = new WeakMap<IncomingMessage, RequestInfo>();

export function infoOf(request: IncomingMessage): RequestInfo {
  const known = infos.get(request);
  if (known) return known;
  const given = request.headers['x-request-id'];
  const id = typeof given === 'string' && valid.test(given) ? given : randomUUID();
  const info: RequestInfo = { id, time: Date.now(), start: performance.now() };
  infos.set(request, info);
  return info;
}

/** Nothing that could end a line of a log or change a terminal. */
const valid = /^[\w.:/+=@-]{1,128}$/;
