/** Formats text for the screen: durations, numbers, and lines cut to a width. */

import { stripVTControlCharacters } from 'node:util';
import { printableName, shortened } from './terminal-text.ts';

/** "<0.1 s", "0.3 s", "42 s", "1m 05s", "2h 03m". */
export function duration(seconds: number): string {
  if (seconds < 0.05) return '<0.1 s';
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
}

/** The position of the end of a line in a text. */
export function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

/** "2026-03-01 14:05", in local time. */
export function moment(iso: string): string {
  const at = new Date(iso);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

const two = (n: number): string => String(n).padStart(2, '0');

/** A metric, which may be undefined. */
export const metricFigure = (value: number): string => (Number.isNaN(value) ? 'n/a' : figure(value));

/** At most four significant digits for fractions and separators for thousands: "0.9573", "5,210". */
export function figure(value: number | string | null): string {
  if (typeof value !== 'number') return value === null ? '–' : oneLine(value);
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return thousands(value);
  if (size >= 1000) return thousands(Math.round(value));
  if (size < 1e-4) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

/** A number and the ends of its interval, if it has one: "0.955 [0.931, 0.975]". Without `decimals`, as precise as the interval is. */
export function figureWithin({ value, low, high }: { value: number; low?: number; high?: number }, decimals?: number): string {
  if (low === undefined || high === undefined) return metricFigure(value);
  const fixed = decimals ?? intervalDecimals({ low, high });
  const [own, ...ends] = [value, low, high].map((number) => (fixed === undefined ? figure(number) : withDecimals(number, fixed)));
  return `${own} [${ends.join(', ')}]`;
}

/** How many decimals show two digits of the width of an interval, and at least three of a fraction; undefined if that is too many. */
export function intervalDecimals({ low, high }: { low: number; high: number }): number | undefined {
  const least = Math.max(Math.abs(low), Math.abs(high)) <= 1 ? 3 : 0;
  const decimals = Math.max(least, high > low ? 1 - Math.floor(Math.log10(high - low)) : 4);
  return decimals > 6 ? undefined : decimals;
}

/** "1,234.50" with two decimals. */
export function withDecimals(value: number, decimals: number): string {
  if (!Number.isFinite(value)) return metricFigure(value);
  const [whole, rest] = value.toFixed(decimals).split('.');
  return rest === undefined ? thousands(Number(whole)) : `${whole!.replace(/\B(?=(\d{3})+$)/g, ',')}.${rest}`;
}

/** "812 bytes", "3.4 MB", "120 GB". */
export function bytes(count: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, count)) / 3)));
  const value = count / 1000 ** unit;
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** "5,210". Not with toLocaleString, which takes 30 ms to load. */
export function thousands(whole: number): string {
  return String(whole).replace(/\B(?=(\d{3})+$)/g, ',');
}

export function count(n: number, thing: string, things = `${thing}s`): string {
  return `${thousands(n)} ${n === 1 ? thing : things}`;
}

/** "a, b, c + 12 more" */
export function someOf(names: readonly string[], limit: number): string {
  const shown = names.slice(0, limit).join(', ');
  return names.length > limit ? `${shown} + ${thousands(names.length - limit)} more` : shown;
}

/** A text on one line, with control characters escaped. */
export function oneLine(text: string): string {
  return printableName(text.replace(/\t/g, '  ').replace(/\r?\n/g, ' '));
}

/** A line of program output without colours and cursor movements, cut to a maximum length. */
export function outputLine(line: string, most = MOST): string {
  const text = stripVTControlCharacters(shortened(line, most, ': see the log'));
  return oneLine(text.replace(/(?!\t)\p{Cc}/gu, ''));
}

/** Maximum number of characters of a line of output. */
const MOST = 240;

/** The width of a text on a terminal in columns. Not the package string-width, which takes 30 ms to load in every command. */
export function width(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let sum = 0;
  for (const { segment } of new Intl.Segmenter().segment(stripVTControlCharacters(text))) sum += columnsOf(segment);
  return sum;
}

/** `character`: a grapheme. */
export function columnsOf(character: string): number {
  if (/^[\p{Mark}\p{Cf}]+$/u.test(character)) return 0;
  if (character.length > 1 && character.startsWith('�')) return character.length;
  return character === '  ' || WIDE.test(character) ? 2 : 1;
}

const WIDE =
  /\p{Emoji_Presentation}|\ufe0f|[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u;

/** Cuts the end of a text, with an ellipsis, to at most `columns`. */
export function clip(text: string, columns: number): string {
  if (columns <= 0) return '';
  if (width(text) <= columns) return text;
  let cut = '';
  let used = 1;
  for (const character of text) {
    used += width(character);
    if (used > columns) break;
    cut += character;
  }
  return `${cut}…`;
}

/** Cuts the middle of a text, because the ends of a path or of a cell's name matter most. */
export function clipMiddle(text: string, columns: number): string {
  if (columns <= 0) return '';
  if (width(text) <= columns) return text;
  const characters = [...text];
  const room = columns - 1;
  const head = within(characters, Math.ceil(room / 2));
  const tail = within(characters.reverse(), room - width(head));
  return `${head}…${[...tail].reverse().join('')}`;
}

function within(characters: string[], columns: number): string {
  let taken = '';
  for (const character of characters) {
    if (width(taken) + width(character) > columns) break;
    taken += character;
  }
  return taken;
}

/** Wraps a text to lines of at most `columns`, indented after the first. A longer word, mostly a path, is not split. */
export function wrap(text: string, columns: number, indent: string): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = lines.length === 0 ? '' : indent;
    let empty = true;
    for (const word of paragraph.split(' ')) {
      if (!empty && width(line) + 1 + width(word) > columns) {
        lines.push(line);
        line = indent;
        empty = true;
      }
      line += empty ? word : ` ${word}`;
      empty = false;
    }
    lines.push(line);
  }
  return lines;
}

export function pad(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - width(text)));
}

export function padStart(text: string, columns: number): string {
  return ' '.repeat(Math.max(0, columns - width(text))) + text;
}

/** Parses `90s`, `5m`, `2h`, `1h30m` to milliseconds; undefined for other texts. */
export function milliseconds(text: string): number | undefined {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([smh])/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) return undefined;
  return parts.reduce((total, [, count, unit]) => total + Number(count) * UNITS[unit as 's' | 'm' | 'h'], 0);
}

const UNITS = { s: 1000, m: 60_000, h: 3_600_000 };

/** Parses `512MB`, `8GB`, `1.5GiB` to bytes. The schema has checked the format. */
export function bytesFrom(text: string): number {
  const [, count, prefix = '', binary] = /^([\d.]+) ?([kMGT])?(i)?B$/.exec(text)!;
  return Math.round(Number(count) * (binary ? 1024 : 1000) ** ['', 'k', 'M', 'G', 'T'].indexOf(prefix));
}
