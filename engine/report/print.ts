/** The way out for what commands say: colours are the only escape sequences that reach a terminal. */
import { Transform, type Writable } from 'node:stream';
import { printable, printableInColor } from '../printable.ts';
import { colorsFor } from './colors.ts';

/** Nothing is added: lines end where `text` says so. */
export function print(text: string, stream: NodeJS.WriteStream = process.stdout): void {
  stream.write(colorsFor(stream).isColorSupported ? printableInColor(text) : printable(text));
}

export function printLines(lines: readonly string[], stream?: NodeJS.WriteStream): void {
  print(lines.map((line) => `${line}\n`).join(''), stream);
}

/** Standard output for what is a command's result: as it is into a file or a pipe, with `visible` applied on a terminal. */
export function resultOutput(visible: (text: string) => string): Writable {
  if (!process.stdout.isTTY) return process.stdout;
  const output = new Transform({ decodeStrings: false, transform: (chunk, _, done) => done(null, visible(String(chunk))) });
  output.pipe(process.stdout);
  return Object.assign(output, { isTTY: true });
}
