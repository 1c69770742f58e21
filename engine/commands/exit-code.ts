/**
 * How a command ends early. A failure prints a message without a stack trace and gives the exit code; a signal stops a run in order.
 *
 * | code | meaning |
 * |---|---|
 * | 0 | the command succeeded |
 * | 1 | a cell failed, a check found something (`status --check`, `verify`, `cache verify`, `doctor`), or the command could not do its work |
 * | 2 | the command line, the pipeline or the model is invalid: nothing was run |
 * | 70 | a bug in tunesmith (EX_SOFTWARE of sysexits.h) |
 * | 128 + n | signal n ended the command: 130 after Ctrl-C |
 */

import { writeFileSync } from 'node:fs';
import { arch, constants, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemError } from '../../cache/error.ts';
import { type Diagnostic, InvalidError, renderDiagnostics, unplaced } from '../contract/errors.ts';
import { printable, printableJson, printLines, shortened } from '../format/terminal-text.ts';

export function failed(error: unknown, version: string): number {
  if (!(error instanceof Error)) return bug(new Error(String(error)), version);
  // commander has already printed the help or the version.
  if (isUsage(error)) return error.exitCode === 0 ? 0 : error.code === 'commander.help' ? 2 : invalid([usageMistake(error)]);
  if (error instanceof InvalidError) return invalid(error.diagnostics);
  // A mistake in the model or the options that were given, as one in a pipeline.
  if (error.name === 'UnusableError') {
    const { message, hint } = error as Error & { hint?: string };
    return invalid([unplaced(message, hint)]);
  }
  // Errors of steps, the cache and the disk have messages for users.
  if ('hint' in error || EXPLAINED.has(error.name)) return stopped(error.message, (error as { hint?: string }).hint);
  const trouble = systemError(error);
  if (trouble) return stopped(trouble.message, trouble.hint);
  return bug(error, version);
}

const EXPLAINED = new Set(['StepError', 'CacheError', 'MissingObjectError', 'UnreadableError']);

const MOST = 4000;

function invalid(diagnostics: Diagnostic[]): number {
  if (asJson()) printJson(diagnostics);
  else printLines([renderDiagnostics(diagnostics).trimEnd()], process.stderr);
  return 2;
}

function printJson(diagnostics: Diagnostic[]): void {
  for (const { file, line, column, message, hint } of diagnostics)
    printLines([printableJson({ type: 'error', file, line, column, message: hint ? `${message}\n${hint}` : message })]);
}

/** The command failed, but neither the pipeline nor tunesmith is wrong. */
function stopped(message: string, hint?: string): number {
  if (asJson()) printJson([unplaced(message, hint)]);
  else
    printLines(
      [`error: ${message}`, ...(hint ? [`  ${hint}`] : [])].map((line) => printable(shortened(line, MOST))),
      process.stderr,
    );
  return 1;
}

function bug(error: Error, version: string): number {
  const report = [
    `tunesmith ${version}, Node ${process.version}, ${platform()} ${arch()}`,
    `command: ${process.argv[2] ?? ''}`, // not the arguments, which may hold secrets
    '',
    error.stack ?? String(error),
    ...(error.cause instanceof Error ? ['caused by:', error.cause.stack ?? ''] : []),
  ].join('\n');
  const file = join(tmpdir(), `tunesmith-bug-${Date.now()}-${process.pid}.txt`);
  let where = `The details are in ${file}. Please report the bug with that file.`;
  try {
    writeFileSync(file, `${report}\n`);
  } catch {
    where = 'The details could not be written to a file.';
  }
  const what = printable(shortened(error.message.split('\n', 1)[0]!, MOST));
  printLines([`error: this is a bug in tunesmith ${version}: ${what}`, `  ${where}`], process.stderr);
  return 70;
}

interface UsageError extends Error {
  code: string;
  exitCode: number;
}

function isUsage(error: Error): error is UsageError {
  return String((error as Partial<UsageError>).code).startsWith('commander.');
}

/** "error: unknown command 'rnu'\n(Did you mean run?)" → message and hint. */
function usageMistake(error: UsageError): Diagnostic {
  const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const command = process.argv[2] ?? '';
  const about = error.code === 'commander.unknownCommand' || command.startsWith('-') ? 'tunesmith' : `tunesmith ${command}`;
  const hint = rest.join(' ').replace(/^\((.*)\)$/, '$1') || `\`${about} --help\` lists the commands and options.`;
  return unplaced(first, hint);
}

/** Reads the flag from argv, because the command may have failed before its options were parsed. */
function asJson(): boolean {
  return process.argv.includes('--json');
}

export interface Interruptions {
  signal: AbortSignal;
  readonly by?: Signal;
  release(): void;
}

type Signal = (typeof SIGNALS)[number] | 'SIGPIPE';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Ctrl-C and other signals during a run. The first signal stops the children and lets the run end in order. The second one
 * ends the process at once; a shell then kills the remaining children (run/process/orphan-reaper.ts).
 */
export function interruptions(stopping: () => void): Interruptions {
  const controller = new AbortController();
  let by: Signal | undefined;
  const interrupt = (signal: (typeof SIGNALS)[number]) => {
    if (by && by !== 'SIGPIPE') process.exit(128 + constants.signals[signal]);
    by = signal;
    stopping();
    controller.abort();
  };
  // The reader of our output has closed the pipe (cli.ts). Not SIGPIPE: a listener would stop Node from ignoring that signal.
  const unread = () => {
    by ??= 'SIGPIPE';
    controller.abort();
  };
  for (const signal of SIGNALS) process.on(signal, interrupt);
  process.on('unread', unread);
  return {
    signal: controller.signal,
    get by() {
      return by;
    },
    release() {
      for (const signal of SIGNALS) process.off(signal, interrupt);
      // Keep the `unread` listener, because writing the summary fails, too.
    },
  };
}
