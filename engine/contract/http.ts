/**
 * HTTP requests that are repeated after "too many requests" and server errors, follow redirects without sending credentials to
 * another host, and give up on a host that does not answer.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { StepError } from './step-error.ts';

export interface HttpRequest {
  method?: 'GET' | 'HEAD' | 'POST' | 'PUT';
  headers?: Record<string, string>;
  /** The `Authorization` header, which is sent only to the host of the URL. */
  authorization?: string;
  /** Makes the body, once for each attempt. `alive` is called whenever a part of it has been sent. */
  body?(alive: () => void): string | Blob;
  signal?: AbortSignal;
  /** Decides whether to accept a redirect as the response instead of following it. */
  acceptRedirect?(response: Response): boolean;
  /** There is a fallback, so give up on the host soon. */
  failFast?: boolean;
  /** Milliseconds to wait at least for an answer, for requests on which a server works for long. */
  patience?: number;
  /** Called with the reason for waiting. */
  log?(message: string): void;
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
      // The body of the request could not be read.
      const own = innermost(error);
      if (own instanceof StepError) throw own;
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
export function retryDelay(attempt: number, response?: Response): number {
  const retryAfter = response?.headers.get('retry-after');
  if (retryAfter) {
    const time = /^\d+(\.\d+)?$/.test(retryAfter.trim()) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now();
    if (Number.isFinite(time)) return Math.max(0, time);
  }
  return 500 * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
}

/** Maximum time in milliseconds without data from a host, before or during a response. */
export function silenceLimit(): number {
  const seconds = Number(process.env.HF_HUB_DOWNLOAD_TIMEOUT);
  return (seconds > 0 ? seconds : 30) * 1000;
}

async function fetchFollowingRedirects(
  url: string,
  { method = 'GET', headers = {}, authorization, body, signal, acceptRedirect, failFast, patience = 0 }: HttpRequest,
): Promise<Response> {
  const { origin } = new URL(url);
  let at = url;
  for (let hops = 0; hops <= 10; hops++) {
    const own = authorization !== undefined && new URL(at).origin === origin ? { authorization } : {};
    const silence = new AbortController();
    const most = failFast ? Math.min(5_000, silenceLimit()) : Math.max(patience, silenceLimit());
    const timer = setTimeout(() => silence.abort(new Error(`no answer for ${most / 1000} s`)), most);
    let response: Response;
    try {
      response = await fetch(at, {
        method,
        ...(body ? { body: body(() => timer.refresh()) } : {}),
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
