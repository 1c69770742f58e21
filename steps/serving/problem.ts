/** Problem documents (RFC 9457): the bodies of all refusals, unless a protocol has a form of its own. */
import { STATUS_CODES } from 'node:http';

export const PROBLEM = 'application/problem+json';

/** `error` repeats the detail for clients of earlier versions. `request`: its id. */
export const problemOf = (status: number, message: string, request?: string) => ({
  type: 'about:blank',
  title: STATUS_CODES[status] ?? (status === 499 ? 'Client Closed Request' : 'Error'),
  status,
  detail: message,
  ...(request !== undefined && { request_id: request }),
  error: { message },
});
