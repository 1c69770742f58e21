/**
 * The step contract: what a step declares and what it is given when it runs.
 * Built-in steps and a user's own steps go through this one contract, with no privileges.
 *
 * A step runs in a child process. Only JSON and paths cross the border.
 */
import type { FromSchema, JSONSchema } from 'json-schema-to-ts';

/** The bytes of memory that processes can have here: what the container may use, or else what the machine has. */
export { memoryLimit } from './memory-limit.ts';
/** The word of several that a mistyped one is nearest to. */
export { nearest } from './suggest.ts';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** What may stand at an input's or output's path. */
export type ArtifactKind = 'file' | 'folder' | 'any';

export interface InputDeclaration {
  /** What the path may lead to; anything else is refused before the step runs. */
  kind: ArtifactKind;
  /** Takes a list: several paths, globs, or a gather such as `${{ steps.train[*].model }}`. */
  many?: boolean;
  /** May be left out of `with`; `inputs` then has no such key. */
  optional?: boolean;
  /**
   * Takes a query of a database, `{ url, query }`, and gives a file of JSON lines with its rows. The content of the rows enters the
   * fingerprint, so they are read whenever it is asked whether the step is fresh.
   */
  query?: boolean;
  /** Shown in help, in editors and in the generated reference. */
  description?: string;
}

export interface OutputDeclaration {
  /** What the step must have made at the path when it returns. */
  kind: ArtifactKind;
  /** Shown in help, in editors and in the generated reference. */
  description?: string;
}

/** JSON Schema of each option, by name. An option without `default` is required unless `optional` names it. */
export type OptionSchemas = Record<string, JSONSchema & OptionNotes>;

export interface OptionNotes {
  /** Shown in help, in editors and in the generated reference. */
  description?: string;
  /** What the option is where `with` does not set it. */
  default?: unknown;
  /** The default in a cell of a matrix, where it is another one. */
  defaultInMatrix?: unknown;
  /**
   * `false` for an option that cannot change a byte of any output, such as how often progress is logged. It enters no fingerprint:
   * another value of it reruns nothing, and a stored result counts whatever it was made with.
   */
  fingerprint?: false;
}

/** Each input, by its role. A kind alone is short for `{ kind }`. */
export type InputDeclarations = Record<string, ArtifactKind | InputDeclaration>;
/** Each output, by its role. A kind alone is short for `{ kind }`. */
export type OutputDeclarations = Record<string, ArtifactKind | OutputDeclaration>;

/** The options as `run` gets them: defaults filled in, validated. */
export type OptionsOf<O extends OptionSchemas> = string extends keyof O
  ? Record<string, any> // their names are not known, and compilers before 7 would follow all schemas that there can be
  : { -readonly [K in keyof O]: O[K] extends JSONSchema ? FromSchema<O[K]> : never };

/** The inputs as `run` gets them: one path, or a list where the declaration says `many`. */
export type InputsOf<I extends InputDeclarations> = string extends keyof I
  ? Record<string, any> // their names are not known
  : {
      -readonly [K in keyof I]: (I[K] extends { many: true } ? string[] : string) | (I[K] extends { optional: true } ? undefined : never);
    };

/** The paths to write at, by role. */
export type OutputsOf<P extends OutputDeclarations> = { -readonly [K in keyof P]: string };

export interface OptionProblem {
  /** The option at fault, e.g. `early_stopping.patience`. */
  option: string;
  /** What is wrong with its value, and what would be right. */
  message: string;
  /** What to do. */
  hint?: string;
}

/** An output of another step behind an input, as `foresee` sees it. */
export interface Upstream {
  /** The cell that makes it. */
  cell: string;
  /** The step that it uses; absent for a command. */
  uses?: string;
  /** Its options, defaults filled in. */
  options: Record<string, Json>;
  /** The output's name. */
  output: string;
  /** Where the output lies; absent until it exists. */
  path?: string;
  /** What the cell itself reads from other steps, by input. */
  readonly inputs: Record<string, Upstream[]>;
}

/** What `foresee` found. */
export interface ForeseenProblem extends OptionProblem {
  /** The cell above whose option it is, where it is none of the step's own. */
  upstream?: string;
}

export interface StepDefinition<
  O extends OptionSchemas = OptionSchemas,
  I extends InputDeclarations = InputDeclarations,
  P extends OutputDeclarations = OutputDeclarations,
> {
  /** A short name in lower case, e.g. `drop-short-lines`. */
  name: string;
  /** Enters the fingerprint: raise it when the same inputs and options would give another result. */
  version: number;
  /** One sentence, shown in editors beside `uses`. */
  description?: string;
  /** What `with` takes beside inputs. An option and an input cannot share a name. */
  options?: O;
  /** Options that may be left out although they have no default. */
  optional?: readonly (keyof O & string)[];
  /**
   * Names that people bring from elsewhere, each with what it is called here: `{ num_train_epochs: 'epochs' }`, or how it is written
   * here: `{ lora_alpha: 'lora: { alpha: … }' }`, or a sentence where it is no option. The hint for an unknown option shows it.
   */
  aliases?: Readonly<Record<string, string>>;
  /** Files and folders that the step reads, each from `with`. */
  inputs?: I;
  /** Files and folders that the step makes; later steps read them as `${{ steps.STEP.ROLE }}`. */
  outputs: P;
  /** npm packages that decide the result: their installed versions enter the fingerprint. */
  libraries?: readonly string[];
  /** 'all' for a step that keeps every core busy by itself; it then runs alone. Default 'one'. */
  threads?: 'one' | 'all';
  /** What the schema cannot say, e.g. an option that another one makes meaningless. Pure and quick. Built-in steps only. */
  check?(options: OptionsOf<O>): OptionProblem[];
  /**
   * Finds what the steps above make impossible, e.g. a metric that their task does not have. It is called when a pipeline is read, and once
   * more in a run, before longer cells begin, when all outputs exist that `reads` names. Quick: it reads small files at most. As with
   * `check`, only that of a built-in step is called.
   */
  foresee?: {
    /** Inputs, or inputs of the steps behind them, whose content decides: `tokens`, `from.tokens`. */
    reads: readonly string[];
    check(options: OptionsOf<O>, inputs: Record<string, Upstream[]>): ForeseenProblem[];
  };
  /** The work. It has succeeded when this returns, or its promise resolves, and every output is there. */
  run(context: StepContext<O, I, P>): Promise<void> | void;
}

/** The cell that made an input, for an input that gathers cells of a matrix. */
export interface CellOrigin {
  /** Its name, e.g. `train[learning_rate=0.001]`. */
  cell: string;
  /** Its point of the matrix; empty for a step without one. */
  matrix: Record<string, Json>;
}

export interface StepContext<
  O extends OptionSchemas = OptionSchemas,
  I extends InputDeclarations = InputDeclarations,
  P extends OutputDeclarations = OutputDeclarations,
> {
  /** From `with`: checked against the schemas, with defaults filled in. */
  options: OptionsOf<O>;
  /** Absolute paths by role: a string, or a list for an input declared `many`; absent when optional and not given. */
  inputs: InputsOf<I>;
  /** For each input that refers to steps: the cells behind it, in the order of its paths. */
  origins: Record<string, CellOrigin[]>;
  /** Of inputs that were fetched from elsewhere: where from, by their paths. Say this instead of a path in the cache. */
  addresses: Record<string, string>;
  /** What inputs are called in the fingerprint, by their paths: the same on every machine. Of an absolute path it is the last part. */
  names: Record<string, string>;
  /**
   * Of inputs that were fetched from a hub: the model or data set that they are a part of and the commit or version that was read, such
   * as `hf://datasets/owner/name@COMMIT`, by their paths.
   */
  repositories: Record<string, string>;
  /** Absolute paths to write at. Nothing is there yet; the parent folder exists. */
  outputs: OutputsOf<P>;
  /**
   * A folder for what must outlast this attempt: a later one of the same cell, with the same options, inputs and code, finds it as it
   * was left, whether this one failed, timed out, or was interrupted or killed. Make it before you write there, and write so that a
   * kill at any moment leaves something whole (a new name, then rename). It is removed when the cell has succeeded.
   */
  checkpoints: string;
  /**
   * What does not count in the folders of inputs of several paths: by-products such as `__pycache__`, and what `exclude` names. A step
   * that lists such a folder passes over these (absolute paths; of folders with all that is in them), since they are not in the
   * fingerprint. An input of one folder does not have them.
   */
  leftOut: readonly string[];
  /** The pipeline file's folder: say paths relative to it in messages. */
  folder: string;
  /** The cell that runs. */
  cell: CellOrigin;
  /** Aborted on Ctrl-C, timeout and kill. */
  signal: AbortSignal;
  /** The option `seed` where there is one, else a number that the fingerprint alone decides. */
  seed: number;
  /** Cores this cell may use. */
  threads: number;
  /** A line for the log and the plain screen. */
  log(message: string): void;
  /** A line that the user should not miss; repeated below the summary. */
  warn(message: string): void;
  /**
   * What came of it, in one line: shown with the finished cell and below the summary, also by later runs in which the cell need not run
   * again. The last one counts.
   */
  result(message: string): void;
  /** How far it is. `values` are shown beside it, e.g. `{ loss: 0.31, 'tokens/s': 5210 }`. */
  progress(done: number, total?: number, values?: Record<string, number | string>): void;
  /** A figure for the run's records; with `step`, one point of a curve. Final figures (no `step`) are printed in the summary. */
  metric(name: string, value: number, step?: number): void;
}

/**
 * An error that the user can mend: it is shown without a stack trace, and its message says what is wrong, where, and what to do.
 * Any other error counts as a mistake in the step: it is shown with the file and line that threw it and a short stack.
 */
export class StepError extends Error {
  override name = 'StepError';
  constructor(
    message: string,
    /** What to do about it. */
    readonly hint?: string,
    /** Where in `with` the mistake lies, `['select', 'label']`: the user is shown that place in the pipeline file. */
    readonly option?: readonly string[],
  ) {
    super(message);
  }
}

/** Declares a step. Returns its argument: it is here for the types. */
export function defineStep<
  const O extends OptionSchemas = Record<never, never>,
  const I extends InputDeclarations = Record<never, never>,
  const P extends OutputDeclarations = OutputDeclarations,
>(definition: StepDefinition<O, I, P>): StepDefinition<O, I, P> {
  return definition;
}
