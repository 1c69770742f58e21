/**
 * Access control. A web page can make its visitor's browser post to any server that the browser reaches, including
 * one on the visitor's own machine. So requests from other origins are rejected, and on loopback also those for other
 * names than localhost: a page of evil.example may let its name point at 127.0.0.1 (DNS rebinding), and then has the
 * same origin.
 */

import { isIP } from 'node:net';
import { StepError } from '../../engine/contract/step.ts';
import type { ApiKeys } from './api-keys.ts';
import type { RateLimit } from './rate-limit.ts';

export interface Access {
  /** Names besides localhost's that are served; `.example.org` means all names below it, `*` any. */
  hosts: readonly string[];
  /** Origins besides the server's own whose pages may send requests; `*` is any. */
  origins: readonly string[];
  /** Whether only this machine reaches the server. */
  loopback: boolean;
  /** One of these keys is needed for all but health checks. */
  keys?: ApiKeys | undefined;
  /** For each key, or for each address if there are no keys. */
  rate?: RateLimit | undefined;
}

/** @throws StepError for an option that can match nothing */
export function checkAccess({ hosts, origins }: Pick<Access, 'hosts' | 'origins'>): void {
  for (const host of hosts) {
    const name = host.replace(/^\./, '').toLowerCase();
    if (host !== '*' && (name === '' || nameOf(name) !== name))
      throw new StepError(`--allow-host ${host}: not a host name`, 'Use a name without scheme and port: example.org, .example.org or *');
  }
  for (const origin of origins)
    if (origin !== '*' && URL.parse(origin)?.origin !== origin)
      throw new StepError(
        `--allow-origin ${origin}: not an origin`,
        'Use scheme, host and port: https://example.org, http://localhost:3000 or *',
      );
}

/** The problem with a request that has these headers, or undefined. */
export function refusal(host: string | undefined, origin: string | undefined, access: Access): string | undefined {
  const name = nameOf(host ?? '');
  if ((access.loopback || access.hosts.length > 0) && !isAnswered(name, access.hosts))
    return `requests for the host ${JSON.stringify(host ?? '')} are rejected; to allow them, start the server with --allow-host ${name || 'NAME'}`;
  if (origin !== undefined && !isOwn(origin, host) && !isAllowed(origin, access))
    return `requests from pages of ${origin} are rejected; to allow them, start the server with --allow-origin ${origin}`;
  return undefined;
}

/** Whether pages of this origin may read an answer. */
export const isAllowed = (origin: string, { origins }: Access): boolean => origins.includes(origin) || origins.includes('*');

export function isLoopback(name: string): boolean {
  const address = name.replace(/^\[|\]$/g, '').replace(/^::ffff:(?=\d+\.)/, '');
  if (isIP(address) === 4) return address.startsWith('127.');
  // A URL writes ::ffff:127.0.0.1 as ::ffff:7f00:1.
  if (isIP(address) === 6) return address === '::1' || /^::ffff:7f[0-9a-f]{2}:/.test(address);
  return address === 'localhost' || address.endsWith('.localhost');
}

function isAnswered(name: string, hosts: readonly string[]): boolean {
  if (isLoopback(name)) return true;
  return hosts.some((host) => host === '*' || host.toLowerCase() === name || (host.startsWith('.') && name.endsWith(host.toLowerCase())));
}

/** The name in a Host header, normalized as in URLs, without port and final dot; empty if it is invalid. */
function nameOf(host: string): string {
  return /[\s/?#@\\]/.test(host) ? '' : (URL.parse(`http://${host}`)?.hostname.replace(/\.$/, '') ?? '');
}

/** The scheme is ignored, because TLS may end at a proxy before the server. */
function isOwn(origin: string, host = ''): boolean {
  const from = URL.parse(origin);
  return from !== null && from.host !== '' && from.host === URL.parse(`${from.protocol}//${host}`)?.host;
}
