/**
 * HTTP requests with retries. They wait after "too many requests" and server errors, follow redirects without sending
 * credentials to another host, and give up on a host that does not answer.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { StepError } from '../step.ts';

export interface Asked {
  method?: 'GET' | 'HEAD' | 'POST';
  headers?: Record<string, string>;
  /** The `Authorization` header, which is sent only to the host of the URL. */
  authorization?: string;
  signal?: AbortSignal;
  /** Decides whether to accept a redirect as the response instead of following it. */
  until?(response: Response): boolean;
  /** There is a fallback, so give up on the host soon. */
  hasty?: boolean;
  /** Called with the reason for waiting. */
  say?(message: string): void;
}

/** The host did not answer: there is no network, no such host, or the connection broke repeatedly. */
export class Unreachable extends StepError {
  /** `reason`: "connection refused". */
  constructor(host: string, reason: string) {
    super(`cannot reach ${host}: ${reason}`, 'Check the network and run again. Partial downloads are kept.');
  }
}

/** Returns the response with any status. Retries 429 and 5xx, and returns them if they persist. */
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
    const what = response ? `HTTP status ${response.status}` : reasonOf(trouble);
    asked.say?.(`${host}: ${what}; retrying in ${Math.ceil(wait / 1000)} s`);
    await response?.body?.cancel();
    await sleep(wait, undefined, { signal: asked.signal });
  }
}

const BUSY = new Set([408, 429, 500, 502, 503, 504]);

/** Delay before the next attempt in milliseconds: what the server asks for, otherwise longer each time. */
export function pause(attempt: number, response?: Response): number {
  const asked = response?.headers.get('retry-after');
  if (asked) {
    const time = /^\d+(\.\d+)?$/.test(asked.trim()) ? Number(asked) * 1000 : Date.parse(asked) - Date.now();
    if (Number.isFinite(time)) return Math.max(0, time);
  }
  return 500 * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
}

/** Maximum time in milliseconds without data from a host, before or during a response. */
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
    // Refuse a redirect from https to http, which an attacker could inject.
    if (next.protocol !== 'https:' && new URL(at).protocol === 'https:')
      throw new Error(`it redirects from https to ${next.protocol}//${next.host}`);
    at = next.href;
  }
  throw new Error('it redirects in a cycle');
}

/** Whether a retry may help: if a connection broke, but not if it cannot be made. */
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
