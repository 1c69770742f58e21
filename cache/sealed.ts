/**
 * Texts and rows that carry a check. A disk or a memory that flips one bit makes another value of them, which reads as well as the right
 * one: with a check such a record is found out, and counts as one that is not there.
 */
import { hash } from 'node:crypto';

/** A short hash of values as SQLite has them. */
export function checkOf(...values: unknown[]): string {
  return hash('sha256', values.join('\n')).slice(0, 16);
}

export function sealed(text: string): string {
  return `${text}\n${checkOf(text)}`;
}

/** Undefined where it is not what was sealed. */
export function unsealed(kept: unknown): string | undefined {
  if (typeof kept !== 'string') return undefined;
  const end = kept.lastIndexOf('\n');
  const text = kept.slice(0, Math.max(0, end));
  return end >= 0 && kept.slice(end + 1) === checkOf(text) ? text : undefined;
}
