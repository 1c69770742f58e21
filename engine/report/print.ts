/** The way out for what commands say: colours are the only escape sequences that reach a terminal. */
import { printable, printableInColor } from '../printable.ts';
import { colorsFor } from './colors.ts';

/** Nothing is added: lines end where `text` says so. */
export function print(text: string, stream: NodeJS.WriteStream = process.stdout): void {
  stream.write(colorsFor(stream).isColorSupported ? printableInColor(text) : printable(text));
}

export function printLines(lines: readonly string[], stream?: NodeJS.WriteStream): void {
  print(lines.map((line) => `${line}\n`).join(''), stream);
}
