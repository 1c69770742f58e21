/** Errors in the user's input with their positions: how they are collected, thrown (exit code 2) and printed. */

import { sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import pc from 'picocolors';
import { printable, printableName, shortened } from '../format/terminal-text.ts';
import { columnsOf } from '../format/text.ts';

export interface Place {
  /** As printed: relative to the working folder if the file is below it. */
  file: string;
  /** 1-based; 0 if the error is in no file. */
  line: number;
  column: number;
  /** How many characters the caret underlines. */
  length: number;
  source?: string;
}

export interface Diagnostic extends Place {
  message: string;
  hint?: string;
}

/** Invalid pipeline or usage: exit code 2. Holds all errors in the order of the file. */
export class InvalidError extends Error {
  override name = 'InvalidError';
  constructor(readonly diagnostics: Diagnostic[]) {
    super(diagnostics.map((d) => d.message).join('\n'));
  }
}

/** An error without a position in a file, such as a wrong flag. */
export function unplaced(message: string, hint?: string): Diagnostic {
  return { file: '', line: 0, column: 0, length: 0, message, hint };
}

export function usage(message: string, hint?: string): InvalidError {
  return new InvalidError([unplaced(message, hint)]);
}

/** Collects all errors of a pipeline, so that they are reported together. */
export class Problems {
  readonly #found = new Map<string, Diagnostic>();
  /** Positions of values that cannot be read. */
  readonly #closed = new Set<string>();

  /** Adds an error. The same error at the same position counts once, for any number of cells. */
  add(diagnostic: Diagnostic): void {
    const { file, line, column, message } = diagnostic;
    if (this.#closed.has(JSON.stringify([file, line, column]))) return;
    this.#found.set(JSON.stringify([file, line, column, message]), diagnostic);
  }

  /** Adds an error for a value that cannot be read, which hides consequential errors. `value`: its position if it follows a tag. */
  addLast(diagnostic: Diagnostic, value = diagnostic): void {
    this.add(diagnostic);
    for (const { file, line, column } of [diagnostic, value]) this.#closed.add(JSON.stringify([file, line, column]));
  }

  get isEmpty(): boolean {
    return this.#found.size === 0;
  }

  /** In the order of the file. The file whose error was found first comes first; flags come last. */
  throwIfAny(): void {
    if (this.#found.size === 0) return;
    const all = [...this.#found.values()];
    const files = [...new Set(all.filter(({ line }) => line > 0).map(({ file }) => file))];
    const rank = ({ file, line }: Diagnostic) => (line > 0 ? files.indexOf(file) : files.length);
    throw new InvalidError(all.sort((a, b) => rank(a) - rank(b) || a.line - b.line || a.column - b.column));
  }
}

/** All errors as a compiler prints them: position, message, the line with a caret below it, hint. */
export function renderDiagnostics(diagnostics: Diagnostic[], { color = pc.isColorSupported } = {}): string {
  const paint = pc.createColors(color);
  return diagnostics.map((diagnostic) => render(diagnostic, paint)).join('\n');
}

/** `file:line:column`, or the parts of it that exist. */
export function placeName({ file, line, column }: Place): string {
  return [file, ...(line > 0 ? [line, column] : [])].filter((part) => part !== '').join(':');
}

/** The line with a caret below it; empty if the error has no position in a file. */
export function placeLines({ line, column, length, source }: Place, paint: Paint): string[] {
  if (source === undefined || line === 0) return [];
  const number = String(line);
  const columns = process.stderr.columns || process.stdout.columns || Number.POSITIVE_INFINITY;
  // An ellipsis at each end may follow.
  const room = Math.max(20, Math.min(WIDEST, columns - number.length - 7));
  const { text, before, carets } = excerpt(source, column - 1, length, room);
  return [
    `  ${paint.dim(`${number} |`)} ${text}`,
    `  ${paint.dim(`${' '.repeat(number.length)} |`)} ${' '.repeat(before)}${paint.red('^'.repeat(carets))}`,
  ];
}

type Paint = ReturnType<typeof pc.createColors>;

function render(diagnostic: Diagnostic, paint: Paint): string {
  const { message, hint } = diagnostic;
  const place = printableName(placeName(diagnostic));
  const lines = [
    `${place === '' ? '' : `${paint.bold(place)}: `}${paint.red(paint.bold('error'))}: ${shortened(printable(message), MOST)}`,
    ...placeLines(diagnostic, paint),
  ];
  if (hint)
    for (const [i, text] of shortened(printable(hint), MOST).split('\n').entries())
      lines.push(`  ${paint.cyan(i === 0 ? '=' : ' ')} ${text}`);
  return `${lines.join('\n')}\n`;
}

const MOST = 4000;

const WIDEST = 100;

/** The part of a line around the caret, of `room` columns; `before` and `carets` count columns of the terminal. */
function excerpt(source: string, start: number, length: number, room: number) {
  const end = start + Math.max(length, 1);
  const mark = graphemes(source.slice(start, Math.min(end, start + room)));
  const marked = within(mark, (room * 2) / 3);
  const behind = marked.length < mark.length ? mark.slice(marked.length) : graphemes(source.slice(end, end + room));
  const ahead = graphemes(source.slice(Math.max(start - room, 0), start)).reverse();
  // First the text after the mark gets a third of the room, then the text before it, then the text after it what is left.
  const left = within(ahead, room - width(marked) - width(within(behind, room / 3))).reverse();
  const right = marked.length < mark.length ? [] : within(behind, room - width(marked) - width(left));
  const more = [left.length < ahead.length || start > room, right.length < behind.length || end + room < source.length];
  const [dots, dotsBehind] = more.map((cut) => (cut ? '…' : ''));
  return {
    text: `${dots}${[...left, ...marked, ...right].join('')}${dotsBehind}`.trimEnd(),
    before: dots!.length + width(left),
    carets: Math.max(width(marked), 1),
  };
}

function graphemes(text: string): string[] {
  if (/^[\x20-\x7e]*$/.test(text)) return [...text]; // the first segmenter of a process takes a tenth of a short command's time
  return [...new Intl.Segmenter().segment(text)].map(({ segment }) => visible(segment));
}

function within(characters: string[], room: number): string[] {
  let used = 0;
  const end = characters.findIndex((character) => {
    used += columnsOf(character);
    return used > room;
  });
  return end < 0 ? characters : characters.slice(0, end);
}

function width(characters: string[]): number {
  return characters.reduce((sum, character) => sum + columnsOf(character), 0);
}

/** Tabs as two spaces; control characters must not reach the terminal. */
function visible(character: string): string {
  if (character === '\t') return '  ';
  return printableName(character) === character ? character : '�'.repeat([...character].length);
}

/** A call in the code of a custom step, without those of Node and tunesmith. */
export interface Frame {
  /** The function's name; absent at the top level of a module. */
  name?: string;
  /** Absolute. */
  file: string;
  line: number;
  column: number;
}

/** The frames, innermost first, of an error that the step of this module threw. Leaves out installed packages, unless the step is one. */
export function userStack(stack: string | undefined, module: string): Frame[] {
  const isInstalled = (file: string) => file.split(sep).includes('node_modules');
  const frames = (stack ?? '').split('\n').flatMap((line) => frameOf(line) ?? []);
  return frames.filter(({ file }) => isInstalled(module) || !isInstalled(file)).slice(0, MOST_FRAMES);
}

const MOST_FRAMES = 5;

function frameOf(text: string): Frame | undefined {
  const [, called, at] = /^\s+at (?:async )?(?:(.+) \((.+)\)|.+)$/.exec(text) ?? [];
  const place = at ?? text.replace(/^\s+at (async )?/, '');
  const [, url, line, column] = /^(.+):(\d+):(\d+)$/.exec(place) ?? [];
  if (url === undefined || !/^(file:\/\/|\/|[A-Za-z]:[\\/])/.test(url)) return undefined; // a module of Node
  const file = (url.startsWith('file:') ? fileURLToPath(url) : url).replace(/\?.*$/, '');
  if (OURS.some((folder) => file.startsWith(folder))) return undefined;
  const name = called?.replace(/^(Object|Module)\./, '').replace(/ \[as .*\]$/, '');
  return { name: name === '<anonymous>' ? undefined : name, file, line: Number(line), column: Number(column) };
}

const OURS = ['engine', 'cache', 'steps'].map((folder) => fileURLToPath(new URL(`../../${folder}/`, import.meta.url)));
