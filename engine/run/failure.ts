/**
 * What the death of a child process means, in one line for a person. A process that was killed for memory cannot say so
 * itself; the kernel's counters and the way it died can.
 */
import { constants } from 'node:os';
import { systemError } from '../../cache/error.ts';
import type { Diagnostic } from '../diagnostic.ts';
import { memoryKills, memoryLimit } from '../memory-limit.ts';
import type { Cell, Pipeline } from '../pipeline/pipeline.ts';
import type { Frame } from '../user-stack.ts';

/** How a child process ended, without our doing. */
export interface Death {
  exitCode?: number;
  signal?: string;
}

export interface Verdict {
  message: string;
  hint?: string;
  /** Where in `with` the mistake lies. */
  option?: readonly string[];
  /** Where a user's own step threw. */
  stack?: Frame[];
  /** For the log alone. */
  detail?: string;
}

/** `kills`: what `memoryKills()` said before the child started. `tail`: the last lines that it wrote. */
export function meaningOf(death: Death, kills: number, tail: string[]): Verdict {
  const code = death.exitCode;
  const signal = death.signal ?? signalOfExitCode(code);
  if (tail.some((line) => /JavaScript heap out of memory/.test(line))) {
    return {
      message: "memory ran out: it used up Node's heap",
      hint: `hold less in memory at once, or raise the heap's limit with \`env: { NODE_OPTIONS: --max-old-space-size=8192 }\` (megabytes; ${LIMIT} is ${inWords(memoryLimit())})`,
    };
  }
  // Children of a shell die inside it; it then reports 128 + the signal's number as its own exit code.
  if (signal === 'SIGKILL' && (memoryKills() > kills || death.signal === 'SIGKILL' || code === 137)) {
    const how =
      memoryKills() > kills
        ? "killed because memory ran out: the kernel's out-of-memory killer ended it"
        : 'killed, probably because memory ran out: nobody here sent SIGKILL';
    return { message: `${how} (${LIMIT} is ${inWords(memoryLimit())})`, hint: LESS };
  }
  if (
    signal &&
    (signal === 'SIGABRT' || signal === 'SIGSEGV') &&
    tail.some((line) => /bad_alloc|[Oo]ut of memory|Cannot allocate memory/.test(line))
  ) {
    return {
      message: `killed by ${signal}, probably because memory ran out: it could not get any more (${LIMIT} is ${inWords(memoryLimit())})`,
      hint: LESS,
    };
  }
  if (code === 126 && tail.some((line) => /[Aa]rgument list too long/.test(line)))
    return { message: 'a command has more arguments than this system takes', hint: LIST_FILE };
  if (death.signal) return { message: `killed by ${death.signal}` };
  if (code === 127)
    return { message: 'exited with 127: a command was not found', hint: 'a step finds commands on PATH, as this shell does' };
  if (code === 126) return { message: 'exited with 126: a command could not be executed', hint: 'is it executable? chmod +x' };
  const ended = `exited with ${code ?? 'no exit code'}`;
  // A program often reports the end of a process that it started with an exit code of its own.
  if (memoryKills() > kills) return { message: `${ended}; ${killedMeanwhile()}`, hint: LESS };
  return { message: ended };
}

/** The kernel does not tell which process it was. */
export const killedMeanwhile = () => `memory ran out meanwhile, and the kernel killed a process (${LIMIT} is ${inWords(memoryLimit())})`;

const LIMIT = 'the limit here';
const LESS = 'hold less in memory at once, or run fewer cells at once: -j 1, or `resources: { memory: 4GB }`';

/** For thousands of paths. */
export const LIST_FILE =
  'name the files as an input NAME, and read them from a list: xargs -0 PROGRAM < "$TUNESMITH_INPUTS/NAME.0" (NAME.txt has one a line)';

/** An error as the cell's failure. What nobody foresaw fails its cell, too: the other cells go on, and the log has the details. */
export function explained(error: unknown): Verdict {
  const { message, name, hint, option, stack } = Object(error) as Error & Pick<Verdict, 'hint' | 'option'>;
  if (hint !== undefined || EXPLAINED.has(name)) return { message, hint, option };
  const trouble = systemError(error);
  if (trouble) return trouble;
  return {
    message: `tunesmith hit a bug of its own: ${message ?? String(error)}`,
    hint: 'please report it with the log of this cell',
    detail: stack,
  };
}

/** Where the option or input at fault stands in the pipeline. */
export function placeOf(option: readonly string[], { step, action }: Cell, pipeline: Pipeline, message: string): Promise<Diagnostic> {
  return pipeline.locate(step, [action.kind === 'shell' ? 'inputs' : 'with', ...option], message);
}

const EXPLAINED = new Set(['StepError', 'CacheError', 'MissingObjectError', 'UnreadableError', 'CodeError']);

function signalOfExitCode(code: number | undefined): string | undefined {
  if (code === undefined || code <= 128) return undefined;
  return Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0];
}

const inWords = (bytes: number) => (bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
