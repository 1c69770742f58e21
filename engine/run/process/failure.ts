/**
 * Explains the death of a child process in one line. A process that was killed because of memory cannot report that itself,
 * but the kernel's counters and the signal show it.
 */

import { constants } from 'node:os';
import { ROOM, systemError } from '../../../cache/error.ts';
import type { Cell, Pipeline } from '../../contract/cell.ts';
import type { Diagnostic, Frame } from '../../contract/errors.ts';
import { memoryKills, memoryLimit } from '../../contract/memory-limit.ts';

/** How a child process ended by itself. */
export interface Death {
  exitCode?: number;
  signal?: string;
}

export interface Verdict {
  message: string;
  hint?: string;
  /** Path of the invalid option in `with`. */
  option?: readonly string[];
  /** Stack of an error in a custom step. */
  stack?: Frame[];
  /** Details for the log only. */
  detail?: string;
}

/** `kills`: the result of `memoryKills()` before the child started. `tail`: the last lines of its output. */
export function meaningOf(death: Death, kills: number, tail: string[]): Verdict {
  const code = death.exitCode;
  const signal = death.signal ?? signalOfExitCode(code);
  if (tail.some((line) => /JavaScript heap out of memory/.test(line))) {
    return {
      message: "out of memory: the step used up Node's heap",
      hint: `Use less memory at a time, or raise the limit of the heap with \`env: { NODE_OPTIONS: --max-old-space-size=8192 }\` (megabytes; ${limit()}).`,
    };
  }
  // If a command of a shell dies from a signal, the shell exits with 128 + the number of the signal.
  if (signal === 'SIGKILL' && (memoryKills() > kills || death.signal === 'SIGKILL' || code === 137)) {
    const how =
      memoryKills() > kills
        ? "killed, out of memory: the kernel's out-of-memory killer stopped it"
        : 'killed, probably out of memory: it received SIGKILL, but not from tunesmith';
    return { message: `${how} (${limit()})`, hint: LESS };
  }
  const failedAllocation = tail.some((line) => /bad_alloc|[Oo]ut of memory|Cannot allocate memory/.test(line));
  if ((signal === 'SIGABRT' || signal === 'SIGSEGV') && failedAllocation)
    return { message: `killed by ${signal}, probably out of memory: an allocation failed (${limit()})`, hint: LESS };
  if (code === 126 && tail.some((line) => /[Aa]rgument list too long/.test(line)))
    return { message: 'a command has more arguments than this system allows', hint: LIST_FILE };
  if (death.signal) return { message: `killed by ${death.signal}` };
  if (code === 127)
    return { message: 'exited with 127: a command was not found', hint: 'Check that the command is installed and on PATH.' };
  if (code === 126)
    return { message: 'exited with 126: a command could not be executed', hint: 'Check that the file is executable (chmod +x).' };
  const ended = `exited with ${code ?? 'no exit code'}`;
  // A program often reports the death of its child process with an exit code of its own.
  if (memoryKills() > kills) return { message: `${ended}; ${killedMeanwhile()}`, hint: LESS };
  return { message: ended, hint: hintOnFullDisk(tail) };
}

/** The hint if a program has reported a full disk. */
export function hintOnFullDisk(lines: string[]): string | undefined {
  return lines.some((line) => /ENOSPC|EDQUOT|no space left on device|disk quota exceeded/i.test(line)) ? ROOM : undefined;
}

/** The kernel does not report which process it killed. */
export const killedMeanwhile = () => `the kernel killed a process because memory ran out (${limit()})`;

const LESS =
  'Use less memory at a time, or run fewer cells at the same time: pass -j 1, or declare `resources: { memory: 4GB }` for each cell.';

/** The hint for thousands of paths. */
export const LIST_FILE =
  'Declare the files as an input NAME and read the paths from a list: xargs -0 PROGRAM < "$TUNESMITH_INPUTS/NAME.0" (NAME.txt has one path per line).';

/** Converts an error to the cell's failure. An unexpected error fails only its cell, and the log has the details. */
export function explained(error: unknown): Verdict {
  const { message, name, hint, option, stack } = Object(error) as Error & Pick<Verdict, 'hint' | 'option'>;
  if (hint !== undefined || EXPLAINED.has(name)) return { message, hint, option };
  const trouble = systemError(error);
  if (trouble) return trouble;
  return {
    message: `this is a bug in tunesmith: ${message ?? String(error)}`,
    hint: 'Please report it with the log of this cell.',
    detail: stack,
  };
}

/** The position of an invalid option or input in the pipeline. */
export function placeOf(option: readonly string[], { step, action }: Cell, pipeline: Pipeline, message: string): Promise<Diagnostic> {
  return pipeline.locate(step, [action.kind === 'shell' ? 'inputs' : 'with', ...option], message);
}

const EXPLAINED = new Set(['StepError', 'CacheError', 'MissingObjectError', 'UnreadableError', 'CodeError']);

function signalOfExitCode(code: number | undefined): string | undefined {
  if (code === undefined || code <= 128) return undefined;
  return Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0];
}

function limit(): string {
  const bytes = memoryLimit();
  return `the memory limit is ${bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`}`;
}
