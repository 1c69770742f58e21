/** Reads the JSON of a request's body, and says in words what something else is. */
import { isUtf8 } from 'node:buffer';
import { Refused } from './app.ts';

/** @throws Refused where it is none */
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
