/** Reads the arguments of a command: refuses those that are not UTF-8, and parses sizes and times. */

import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { InvalidArgumentError } from 'commander';
import { escaped } from '../../cache/content.ts';
import { InvalidError, NO_PLACE } from '../errors.ts';

/**
 * Throws InvalidError for an argument that is not UTF-8, on systems that provide its bytes. Node replaces invalid bytes by U+FFFD,
 * which would silently change parameters and paths.
 */
export function refuseOtherEncodings(decoded: string[]): void {
  if (!decoded.some((argument) => argument.includes('\ufffd'))) return;
  const all = rawArguments();
  const wrong = all.findIndex((argument) => !isUtf8(argument));
  if (wrong < 0) return;
  const flag = all[wrong - 1]?.toString() ?? '';
  const name = `${flag.startsWith('-') ? `${flag} ` : ''}${escaped(all[wrong]!)}`;
  throw new InvalidError([
    {
      ...NO_PLACE,
      message: `the argument ${name} is not UTF-8`,
      hint: 'Set the terminal to UTF-8, or give parameters in a file: --params FILE.',
    },
  ]);
}

function rawArguments(): Buffer[] {
  try {
    const all = readFileSync('/proc/self/cmdline');
    const args: Buffer[] = [];
    for (let start = 0, end = all.indexOf(0); end >= 0; start = end + 1, end = all.indexOf(0, start)) args.push(all.subarray(start, end));
    return args;
  } catch {
    return []; // not available on this system
  }
}

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
