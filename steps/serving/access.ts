/**
 * Who may ask. A web page can make its visitor's browser post to any server that the browser reaches, one on the visitor's own machine
 * included. So requests of other origins are refused, and on loopback those for other names than localhost: a page of evil.example
 * may have its name point at 127.0.0.1 (DNS rebinding), and is of the same origin then.
 */
import { isIP } from 'node:net';
import { StepError } from '../../engine/step.ts';

export interface Access {
  /** Names besides localhost's that are answered; `.example.org` is for all names below it, `*` for any. */
  hosts: readonly string[];
  /** Origins besides the server's own whose pages may ask; `*` is any. */
  origins: readonly string[];
  /** Whether only this machine reaches the server. */
  loopback: boolean;
}

/** @throws StepError for an option that can match nothing */
export function checkAccess({ hosts, origins }: Pick<Access, 'hosts' | 'origins'>): void {
  for (const host of hosts) {
    const name = host.replace(/^\./, '').toLowerCase();
    if (host !== '*' && (name === '' || nameOf(name) !== name))
      throw new StepError(`--allow-host ${host}: not a host's name`, 'Give a name without scheme and port: example.org, .example.org or *');
  }
  for (const origin of origins)
    if (origin !== '*' && URL.parse(origin)?.origin !== origin)
      throw new StepError(
        `--allow-origin ${origin}: not an origin`,
        'Give scheme, host and port: https://example.org, http://localhost:3000 or *',
      );
}

/** What is wrong with a request of these headers, if anything. */
export function refusal(host: string | undefined, origin: string | undefined, access: Access): string | undefined {
  const name = nameOf(host ?? '');
  if ((access.loopback || access.hosts.length > 0) && !isAnswered(name, access.hosts))
    return `requests for the host ${JSON.stringify(host ?? '')} are not answered; start the server with --allow-host ${name || 'NAME'} to allow them`;
  if (origin !== undefined && !isOwn(origin, host) && !isAllowed(origin, access))
    return `pages of ${origin} may not ask this server; start it with --allow-origin ${origin} to allow them`;
  return undefined;
}

/** Whether an answer may be read by pages of this origin. */
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

/** A Host header's name, as URLs write it, without port and final dot; empty where it is none. */
function nameOf(host: string): string {
  return /[\s/?#@\\]/.test(host) ? '' : (URL.parse(`http://${host}`)?.hostname.replace(/\.$/, '') ?? '');
}

/** The scheme does not count: TLS may end at a proxy before the server. */
function isOwn(origin: string, host = ''): boolean {
  const from = URL.parse(origin);
  return from !== null && from.host !== '' && from.host === URL.parse(`${from.protocol}//${host}`)?.host;
}
