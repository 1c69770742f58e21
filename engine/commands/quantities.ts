/** Parses sizes and times on the command line. */
import { InvalidArgumentError } from 'commander';

/** `10GB`, `500 MB`, `1.5TiB`, `0`: bytes. */
export function size(text: string): number {
  const [, number, unit = 'b'] = /^(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?$/i.exec(text.trim()) ?? [];
  const bytes = Number(number) * (SIZES[unit.toLowerCase()] ?? Number.NaN);
  if (!Number.isSafeInteger(Math.round(bytes))) throw new InvalidArgumentError('It must be a size such as 500MB, 10GB or 1.5TB.');
  return Math.round(bytes);
}

const SIZES: Record<string, number> = Object.fromEntries([
  ...['b', 'kb', 'mb', 'gb', 'tb'].map((unit, power) => [unit, 1000 ** power]),
  ...['kib', 'mib', 'gib', 'tib'].map((unit, power) => [unit, 1024 ** (power + 1)]),
]);

/** `30d`, `2w`, `12h`: milliseconds. */
export function age(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)([hdw])$/.exec(text) ?? [];
  const ms = Number(number) * (AGES[unit ?? ''] ?? Number.NaN);
  if (!Number.isSafeInteger(Math.round(ms)) || ms > Date.now()) throw new InvalidArgumentError('It must be a time such as 12h, 30d or 8w.');
  return ms;
}

const AGES: Record<string, number> = { h: 3_600_000, d: 86_400_000, w: 604_800_000 };
