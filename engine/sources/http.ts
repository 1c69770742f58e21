/**
 * Requests that bear with a network as it is: answers "too many" and "not now" are waited out, redirects are followed
 * without taking the credentials to another host, and a host that stays silent is given up.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { StepError } from '../step.ts';

export interface Asked {
  method?: 'GET' | 'HEAD' | 'POST';
  headers?: Record<string, string>;
  /** Sent as `Authorization`, to the host of the URL and to no other one. */
  authorization?: string;
  signal?: AbortSignal;
  /** Tells of the answer to be content with, though it leads elsewhere. */
  until?(response: Response): boolean;
  /** There is something to fall back on: the host is given up soon. */
  hasty?: boolean;
  /** Hears what is waited for. */
  say?(message: string): void;
}

/** The host gave no answer: there is no network, no such host, or it broke off again and again. */
export class Unreachable extends StepError {
  /** `reason`: "connection refused". */
  constructor(host: string, reason: string) {
    super(`${host} cannot be reached: ${reason}`, 'Is there a network? Run again when there is: what has come already is kept.');
  }
}

/** The answer, whatever its status. Only 429 and 5xx are asked again, and come back when they persist. */
export async function ask(url: string, asked: Asked = {}): Promise<Response> {
  const host = new URL(url).host;
  for (let attempt = 1; ; attempt++) {
    let response: Response | undefined;
    let trouble: unknown;
    try {
      response = await follow(url, asked);
      if (!BUSY.has(response.status)) return response;
    } catch (error) {
      asked.signal?.throwIfAborted();
      trouble = error;
      if (!isTransient(error)) throw new Unreachable(host, reasonOf(error));
    }
    const wait = pause(attempt, response);
    if (attempt === (asked.hasty ? 3 : 5) || wait > (asked.hasty ? 5_000 : 300_000)) {
      if (response) return response;
      throw new Unreachable(host, reasonOf(trouble));
    }
    const what = response ? `answers ${response.status}` : reasonOf(trouble);
    asked.say?.(`${host}: ${what}; asked again in ${Math.ceil(wait / 1000)} s`);
    await response?.body?.cancel();
    await sleep(wait, undefined, { signal: asked.signal });
  }
}

const BUSY = new Set([408, 429, 500, 502, 503, 504]);

/** How long to wait before the next attempt: what the server asks for, else longer each time. */
export function pause(attempt: number, response?: Response): number {
  const asked = response?.headers.get('retry-after');
  if (asked) {
    const time = /^\d+(\.\d+)?$/.test(asked.trim()) ? Number(asked) * 1000 : Date.parse(asked) - Date.now();
    if (Number.isFinite(time)) return Math.max(0, time);
  }
  return 500 * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
}

/** How long (ms) a host may stay silent, before an answer or in the midst of one. */
export function patience(): number {
  const seconds = Number(process.env.HF_HUB_DOWNLOAD_TIMEOUT);
  return (seconds > 0 ? seconds : 30) * 1000;
}

async function follow(url: string, { method = 'GET', headers = {}, authorization, signal, until, hasty }: Asked): Promise<Response> {
  const { origin } = new URL(url);
  let at = url;
  for (let hops = 0; hops <= 10; hops++) {
    const own = authorization !== undefined && new URL(at).origin === origin ? { authorization } : {};
    const silence = new AbortController();
    const most = hasty ? Math.min(5_000, patience()) : patience();
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
    if (response.status < 300 || response.status > 399 || to === null || until?.(response)) return response;
    await response.body?.cancel();
    const next = new URL(to, at);
    // Nobody between us and the host that was asked for may lead us off the encryption.
    if (next.protocol !== 'https:' && new URL(at).protocol === 'https:')
      throw new Error(`it leads from https to ${next.protocol}//${next.host}`);
    at = next.href;
  }
  throw new Error('it redirects in a circle');
}

/** Whether the next moment may be better: a connection that broke, not one that cannot be made. */
function isTransient(error: unknown): boolean {
  return TRANSIENT.has(codeOf(error)) || /^no answer for|terminated|other side closed/.test(messageOf(error));
}

const TRANSIENT = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

export function reasonOf(error: unknown): string {
  const code = codeOf(error);
  return REASONS[code] ?? (code !== '' ? `${innermost(error).message} (${code})` : messageOf(error));
}

const REASONS: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was reset',
  ENOTFOUND: 'there is no host of that name, or no network',
  EAI_AGAIN: 'its name cannot be looked up: is there a network?',
  ENETUNREACH: 'there is no network',
  EHOSTUNREACH: 'there is no way to that host',
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

/** fetch wraps what happened in "fetch failed", and several addresses of a host in one error. */
function innermost(error: unknown): Error {
  const { cause, errors } = error as { cause?: unknown; errors?: unknown[] };
  if (cause instanceof Error) return innermost(cause);
  if (Array.isArray(errors) && errors[0] instanceof Error) return innermost(errors[0]);
  return error instanceof Error ? error : new Error(String(error));
}
