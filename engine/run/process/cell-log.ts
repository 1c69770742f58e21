/**
 * The log of a cell: all output of its child, with secrets masked, in a file. Each line also goes to `onLine`.
 * Masking works on whole lines, so that it finds a secret that arrives in two chunks.
 */

import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import type { Mask } from './secret-masking.ts';

type LogStream = 'stdout' | 'stderr' | 'step';

export class CellLog {
  /** The last lines of the file. */
  readonly tail: string[] = [];
  /** The error if the log could not be written. A full disk must not fail a step that would otherwise succeed. */
  trouble?: Error;
  readonly #file: number | undefined;
  readonly #open = new Map<LogStream, { decoder: StringDecoder; rest: string }>();

  constructor(
    readonly path: string,
    private readonly mask: Mask,
    private readonly onLine: (stream: LogStream, line: string) => void,
  ) {
    try {
      mkdirSync(dirname(path), { recursive: true });
      this.#file = openSync(path, 'w');
    } catch (error) {
      this.trouble = error as Error;
    }
  }

  chunk(stream: LogStream, bytes: Uint8Array): void {
    const open = this.#open.get(stream) ?? { decoder: new StringDecoder('utf8'), rest: '' };
    this.#open.set(stream, open);
    const text = open.rest + open.decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    // A progress bar ends lines with \r, so each state becomes a line. "\r\n" is one line end, even if split into two chunks.
    const end = Math.max(text.lastIndexOf('\n'), text.lastIndexOf('\r', text.length - 2)) + 1;
    open.rest = text.slice(end);
    if (end > 0) this.#lines(stream, text.slice(0, end));
    // Limit the length of a line, so that output without newlines does not fill the memory. No secret is that long.
    if (open.rest.length > LONGEST_LINE) {
      this.#lines(stream, open.rest);
      open.rest = '';
    }
  }

  /** Adds a line of tunesmith or of the step. */
  line(stream: LogStream, text: string): void {
    this.#lines(stream, `${text}\n`);
  }

  /** Adds text to the file only, such as a stack trace. */
  detail(text: string): void {
    this.#write(`${this.mask(text)}\n`);
  }

  close(): void {
    for (const [stream, { decoder, rest }] of this.#open) {
      const last = rest + decoder.end();
      if (last) this.#lines(stream, `${last}\n`);
    }
    this.#open.clear();
    if (this.#file !== undefined) closeSync(this.#file);
  }

  #lines(stream: LogStream, text: string): void {
    const masked = this.mask(text);
    this.#write(masked);
    for (const line of masked.split(/\r\n|\n|\r/).slice(0, /[\r\n]$/.test(masked) ? -1 : undefined)) {
      this.tail.push(line);
      if (this.tail.length > TAIL) this.tail.shift();
      this.onLine(stream, line);
    }
  }

  #write(text: string): void {
    if (this.trouble || this.#file === undefined) return;
    try {
      writeSync(this.#file, text);
    } catch (error) {
      this.trouble = error as Error;
    }
  }
}

const TAIL = 20;
const LONGEST_LINE = 1 << 20;
