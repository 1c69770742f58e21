/**
 * Ends a command that failed: prints a message without a stack trace and returns the exit code.
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
import { arch, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemError } from '../../cache/error.ts';
import { type Diagnostic, InvalidError, NO_PLACE, renderDiagnostics } from '../errors.ts';
import { printable, printableJson, printLines, shortened } from '../format/terminal-text.ts';

export function failed(error: unknown, version: string): number {
  if (!(error instanceof Error)) return bug(new Error(String(error)), version);
  // commander has already printed the help or the version.
  if (isUsage(error)) return error.exitCode === 0 ? 0 : error.code === 'commander.help' ? 2 : invalid([usageMistake(error)]);
  if (error instanceof InvalidError) return invalid(error.diagnostics);
  // A mistake in the model or the options that were given, as one in a pipeline.
  if (error.name === 'UnusableError') {
    const { message, hint } = error as Error & { hint?: string };
    return invalid([{ ...NO_PLACE, message, ...(hint !== undefined && { hint }) }]);
  }
  // Errors of steps, the cache and the disk have messages for users.
  if ('hint' in error || EXPLAINED.has(error.name)) return stopped(error.message, (error as { hint?: string }).hint);
  const trouble = systemError(error);
  if (trouble) return stopped(trouble.message, trouble.hint);
  return bug(error, version);
}

const EXPLAINED = new Set(['StepError', 'CacheError', 'MissingObjectError', 'UnreadableError']);

/** Maximum number of characters of a message. */
const MOST = 4000;

function invalid(diagnostics: Diagnostic[]): number {
  if (asJson()) {
    for (const { file, line, column, message, hint } of diagnostics) {
      const text = hint ? `${message}\n${hint}` : message;
      printLines([printableJson({ type: 'error', file, line, column, message: text })]);
    }
  } else printLines([renderDiagnostics(diagnostics).trimEnd()], process.stderr);
  return 2;
}

/** The command failed, but neither the pipeline nor tunesmith is wrong. */
function stopped(message: string, hint?: string): number {
  if (asJson())
    printLines([printableJson({ type: 'error', file: '', line: 0, column: 0, message: hint ? `${message}\n${hint}` : message })]);
  else
    printLines(
      [`error: ${printable(shortened(message, MOST))}`, ...(hint ? [`  ${printable(shortened(hint, MOST))}`] : [])],
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
  return { ...NO_PLACE, message: first, hint };
}

/** Reads the flag from argv, because the command may have failed before its options were parsed. */
function asJson(): boolean {
  return process.argv.includes('--json');
}
