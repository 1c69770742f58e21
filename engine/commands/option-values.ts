/** The values of options on the command line: their text → what the commands get. Each refuses a wrong text with what it must be. */

import { InvalidArgumentError } from 'commander';
import { milliseconds } from '../format/text.ts';

export function count(value: string): number {
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new InvalidArgumentError('It must be a whole number, at least 1.');
  return Number(value);
}

/** One of the values in a schema, which are not only texts. */
export function oneOf<T>(values: readonly T[]): (text: string) => T {
  return (text) => {
    const value = values.find((value) => String(value) === text);
    if (value === undefined) throw new InvalidArgumentError(`Allowed choices are ${values.join(', ')}.`);
    return value;
  };
}

/** The generation options check the range. */
export function number(value: string): number {
  const parsed = Number(value);
  if (value.trim() === '' || Number.isNaN(parsed)) throw new InvalidArgumentError('It must be a number.');
  return parsed;
}

export function numbers(value: string, all: number[] = []): number[] {
  return [...all, number(value)];
}

/** Column names, separated by commas. */
export function names(value: string, all: string[] = []): string[] {
  return [...all, ...value.split(',').filter((name) => name !== '')];
}

export function texts(value: string, all: string[] = []): string[] {
  return [...all, value];
}

export function port(value: string): number {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65535) throw new InvalidArgumentError('It must be a number from 0 to 65535.');
  return Number(value);
}

export function share(value: string): number {
  const parsed = number(value);
  if (!(parsed > 0 && parsed <= 1)) throw new InvalidArgumentError('It must be a number above 0 and at most 1.');
  return parsed;
}

/** `10GB`, `500 MB`, `1.5TiB`, `0`: bytes. */
export function size(text: string): number {
  const [, number, prefix = '', binary] = /^(\d+(?:\.\d+)?)\s*(?:(?:([kmgt])(i)?)?b)?$/i.exec(text.trim()) ?? [];
  const bytes = Math.round(Number(number) * (binary ? 1024 : 1000) ** ['', 'k', 'm', 'g', 't'].indexOf(prefix.toLowerCase()));
  if (!Number.isSafeInteger(bytes)) throw new InvalidArgumentError('It must be a size such as 500MB, 10GB or 1.5TB.');
  return bytes;
}

/** `90s`, `20m`, `1h30m`: milliseconds. */
export function time(text: string): number {
  const ms = milliseconds(text);
  if (ms === undefined || ms === 0) throw new InvalidArgumentError('It must be a time such as 90s, 20m or 2h.');
  return ms;
}

/** `30d`, `2w`, `12h`: milliseconds. */
export function age(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)([hdw])$/.exec(text) ?? [];
  const ms = Number(number) * { h: 3_600_000, d: 86_400_000, w: 604_800_000 }[unit as 'h' | 'd' | 'w'];
  if (!Number.isSafeInteger(Math.round(ms)) || ms > Date.now()) throw new InvalidArgumentError('It must be a time such as 12h, 30d or 8w.');
  return ms;
}
