/**
 * Makes untrusted text safe for a terminal and prints it. File names, messages, data and generated text may hold characters that move the
 * cursor, colour the screen, ring the bell or change the text direction. They become visible escapes such as `\x1b`.
 */

import { Transform, type Writable } from 'node:stream';
import pico from 'picocolors';

/** Escapes control characters, except newlines and tabs. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (found) => (found === '\n' || found === '\t' ? found : escaped(found)));
}

/** Escapes all control characters, newlines included: for names. */
export function printableName(text: string): string {
  return text.replace(UNPRINTABLE, escaped);
}

/** Escapes control characters, except the sequences that only set colour and weight (SGR). */
export function printableInColor(text: string): string {
  return text.replace(SGR_OR_UNPRINTABLE, (found) => (found === '\n' || found === '\t' || found.length > 1 ? found : escaped(found)));
}

/** JSON on one line. JSON.stringify escapes only some control characters; this escapes the others. Infinite numbers become texts. */
export function printableJson(value: unknown): string {
  return inJson(JSON.stringify(value, (_, inner) => (isInfinite(inner) ? String(inner) : inner)));
}

const isInfinite = (value: unknown): boolean => value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY;

export function inJson(json: string): string {
  return json.replace(UNPRINTABLE, (found) => `\\u${hex(found, 4)}`);
}

/** JSON lines. The newlines between them stay. */
export function inJsonLines(lines: string): string {
  return lines.split('\n').map(inJson).join('\n');
}

/** Cuts the text to `characters`; `rest` says where the full text is. */
export function shortened(text: string, characters: number, rest = ''): string {
  if (text.length <= characters) return text;
  const cut = text.slice(0, characters).replace(/[\ud800-\udbff]$/, '');
  return `${cut}… (${(text.length - cut.length).toLocaleString('en-US')} more characters${rest})`;
}

/** Shortens a message of a step, which may have any length. The step's log has the full message. */
export function readableText(message: string): string {
  return printable(shortened(message, MOST, ': see the log'));
}

/** Maximum number of characters of a message. */
const MOST = 2000;

/** Control characters (C0, DEL, C1), line and paragraph separators, and characters that override or isolate the text direction. */
const UNPRINTABLE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
const SGR_OR_UNPRINTABLE = new RegExp(`\\u001b\\[[\\d;:]*m|${UNPRINTABLE.source}`, 'gu');

function escaped(character: string): string {
  const known = SHORT[character];
  return known ?? (character < '\u0100' ? `\\x${hex(character, 2)}` : `\\u${hex(character, 4)}`);
}

const SHORT: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function hex(character: string, digits: number): string {
  return character.charCodeAt(0).toString(16).padStart(digits, '0');
}

/** NO_COLOR and FORCE_COLOR turn colours off and on; otherwise they are on if the stream is a terminal. */
export function colorsFor(stream: { isTTY?: boolean }): ReturnType<typeof pico.createColors> {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (FORCE_COLOR !== undefined) return pico.createColors(FORCE_COLOR !== '0' && FORCE_COLOR !== 'false');
  return pico.createColors(!NO_COLOR && stream.isTTY === true && TERM !== 'dumb');
}

export type Colors = ReturnType<typeof colorsFor>;

/** Prints `text` without adding a newline. Colours are the only escape sequences that reach a terminal. */
export function print(text: string, stream: NodeJS.WriteStream = process.stdout): void {
  stream.write(colorsFor(stream).isColorSupported ? printableInColor(text) : printable(text));
}

export function printLines(lines: readonly string[], stream?: NodeJS.WriteStream): void {
  print(lines.map((line) => `${line}\n`).join(''), stream);
}

/** Standard output for the result of a command: unchanged to a file or pipe, with `visible` applied on a terminal. */
export function resultOutput(visible: (text: string) => string): Writable {
  if (!process.stdout.isTTY) return process.stdout;
  const output = new Transform({ decodeStrings: false, transform: (chunk, _, done) => done(null, visible(String(chunk))) });
  output.pipe(process.stdout);
  return Object.assign(output, { isTTY: true });
}
