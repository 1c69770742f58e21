/** Text as it stands on a screen: durations, figures, and lines cut to a width. */
import { stripVTControlCharacters } from 'node:util';
import { columnsOfText } from '../columns.ts';
import { printableName, shortened } from '../printable.ts';

/** "<0.1 s", "0.3 s", "42 s", "1m 05s", "2h 03m". */
export function duration(seconds: number): string {
  if (seconds < 0.05) return '<0.1 s';
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (n: number) => String(n).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
}

/** "2026-03-01 14:05", in this machine's time. */
export function moment(iso: string): string {
  const at = new Date(iso);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** Four significant digits at most for a fraction, thousands separated for what is large: "0.9573", "5,210". */
export function figure(value: number | string | null): string {
  if (typeof value !== 'number') return value === null ? '–' : oneLine(value);
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return thousands(value);
  if (size >= 1000) return thousands(Math.round(value));
  if (size < 1e-4) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

/** "812 bytes", "3.4 MB", "120 GB". */
export function bytes(count: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, count)) / 3)));
  const value = count / 1000 ** unit;
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** "5,210". The language's own way loads all that it knows of languages, which takes 30 ms. */
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

/** On one line, with what would move the cursor, colour the screen or ring the bell made visible. */
export function oneLine(text: string): string {
  return printableName(text.replace(/\t/g, '  ').replace(/\r?\n/g, ' '));
}

/** A line that a program wrote for a terminal: without its colours and cursor movements, cut where nobody reads on. */
export function outputLine(line: string, most = MOST): string {
  const text = stripVTControlCharacters(shortened(line, most, ': see the log'));
  return oneLine(text.replace(/(?!\t)\p{Cc}/gu, ''));
}

/** Characters of a line of output. */
const MOST = 240;

/** Columns that it takes; most text is ASCII and needs no look at each character. */
export function width(text: string): number {
  return /^[\x20-\x7e]*$/.test(text) ? text.length : columnsOfText(text);
}

/** Cut at the end, with an ellipsis, to at most `columns`. */
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

/** Cut in the middle: the ends of a cell's name or of a path tell the most. */
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

/** Broken between words to lines of at most `columns`, those below indented; a word that is longer, mostly a path, stays whole. */
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
