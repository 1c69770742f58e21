/**
 * Texts and rows with a checksum. A bit flip on the disk or in memory may give another valid value. The checksum detects it,
 * and the record counts as missing.
 */
import { hash } from 'node:crypto';

/** A short hash of SQLite values. */
export function checkOf(...values: unknown[]): string {
  return hash('sha256', values.join('\n')).slice(0, 16);
}

export function sealed(text: string): string {
  return `${text}\n${checkOf(text)}`;
}

/** Returns the text; undefined if the checksum does not match. */
export function unsealed(kept: unknown): string | undefined {
  if (typeof kept !== 'string') return undefined;
  const end = kept.lastIndexOf('\n');
  const text = kept.slice(0, Math.max(0, end));
  return end >= 0 && kept.slice(end + 1) === checkOf(text) ? text : undefined;
}
