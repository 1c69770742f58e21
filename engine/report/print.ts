/** Prints the output of commands. Colours are the only escape sequences that reach a terminal. */
import { Transform, type Writable } from 'node:stream';
import { printable, printableInColor } from '../printable.ts';
import { colorsFor } from './colors.ts';

/** Prints `text` as it is, without adding a newline. */
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
