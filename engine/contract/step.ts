/**
 * The step contract: what a step declares, and what it receives when it runs. Built-in steps and custom steps use the same
 * contract, without privileges. A step runs in a child process, which exchanges only JSON and paths with the engine.
 */
import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import type { Json } from '../format/scalars.ts';

/** The most similar word to a misspelt one. */
export { nearest } from '../format/did-you-mean.ts';
export type { Json } from '../format/scalars.ts';
/** HTTP requests with retries. */
export { sendRequest, Unreachable } from './http.ts';
/** The hub and the account on it. */
export { hubAccount, hubEndpoint } from './hub-account.ts';
/** The memory limit of this container, otherwise the memory of this machine, in bytes. */
export { memoryLimit } from './memory-limit.ts';
export { StepError } from './step-error.ts';

/** The kind of an input or output. */
export type ArtifactKind = 'file' | 'folder' | 'any';

export interface InputDeclaration {
  /** The kind that the path must have. Other kinds are refused before the step runs. */
  kind: ArtifactKind;
  /** Accepts several paths: a list, a glob, or the outputs of all cells of a step, as in `${{ steps.train[*].model }}`. */
  many?: boolean;
  /** May be omitted from `with`. `inputs` then has no such key. */
  optional?: boolean;
  /**
   * Accepts a database query, `{ url, query }`. The step receives a file of JSON lines with its rows. The content of the rows
   * enters the fingerprint, so the query runs whenever tunesmith checks whether the step is fresh.
   */
  query?: boolean;
  /**
   * For a step whose result depends on which cells made the input: their names enter the fingerprint, and `names` of the context
   * has them, `steps.CELL.OUTPUT`. For built-in steps only.
   */
  named?: boolean;
  /** Appears in help, in editors and in the generated reference. */
  description?: string;
}

export interface OutputDeclaration {
  /** The kind of file that the step must create at the path. */
  kind: ArtifactKind;
  /** Appears in help, in editors and in the generated reference. */
  description?: string;
}

/** JSON Schema of each option, by name. An option without `default` is required unless `optional` names it. */
export type OptionSchemas = Record<string, JSONSchema & OptionNotes>;

export interface OptionNotes {
  /** Appears in help, in editors and in the generated reference. */
  description?: string;
  /** The value if `with` does not set the option. */
  default?: unknown;
  /** A different default for cells of a matrix. */
  defaultInMatrix?: unknown;
  /**
   * `false` for an option that cannot change any output, such as how often progress is logged. It does not enter the
   * fingerprint, so changing it runs no cell again and stored results stay valid.
   */
  fingerprint?: false;
}

/**
 * Each input, by its role. A kind alone means `{ kind }`. The input `option.key` is a key in the map of an option, and required
 * if this map is given.
 */
export type InputDeclarations = Record<string, ArtifactKind | InputDeclaration>;
/** Each output, by its role. A kind alone means `{ kind }`. */
export type OutputDeclarations = Record<string, ArtifactKind | OutputDeclaration>;

/** The options that `run` receives: validated, with defaults filled in. */
export type OptionsOf<O extends OptionSchemas> = string extends keyof O
  ? Record<string, any> // The names are unknown, and TypeScript before 7 would expand all possible schemas.
  : { -readonly [K in keyof O]: O[K] extends JSONSchema ? FromSchema<O[K]> : never };

/** The inputs that `run` receives: one path, or a list if the declaration has `many`. */
export type InputsOf<I extends InputDeclarations> = string extends keyof I
  ? Record<string, any> // The names are unknown.
  : {
      -readonly [K in keyof I]:
        | (I[K] extends { many: true } ? string[] : string)
        | (I[K] extends { optional: true } ? undefined : never)
        | (K extends `${string}.${string}` ? undefined : never);
    };

/** The paths to write to, by role. */
export type OutputsOf<P extends OutputDeclarations> = { -readonly [K in keyof P]: string };

export interface OptionProblem {
  /** The invalid option, e.g. `early_stopping.patience`. Keys of a map may contain dots: `limits.gap.source`. */
  option: string;
  /** What is wrong with its value, and which values are valid. */
  message: string;
  /** What to do. */
  hint?: string;
}

/** The output of another step that an input refers to, for `foresee`. */
export interface Upstream {
  /** The cell that makes it. */
  cell: string;
  /** The step that it uses; absent for a command. */
  uses?: string;
  /** Its options with defaults filled in. */
  options: Record<string, Json>;
  /** The output's name. */
  output: string;
  /** Path of the output; absent until it exists. */
  path?: string;
  /** The outputs that this cell itself reads from other steps, by input. */
  readonly inputs: Record<string, Upstream[]>;
}

/** An error that `foresee` found. */
export interface ForeseenProblem extends OptionProblem {
  /** The cell whose option is invalid, if it is not an option of this step. */
  upstream?: string;
}

/** Everything about a step but its code. */
export interface StepDeclaration<
  O extends OptionSchemas = OptionSchemas,
  I extends InputDeclarations = InputDeclarations,
  P extends OutputDeclarations = OutputDeclarations,
> {
  /** A short name in lower case, e.g. `drop-short-lines`. */
  name: string;
  /** Enters the fingerprint. Raise it when the same inputs and options give a different result. */
  version: number;
  /** One sentence, which editors show for `uses`. */
  description?: string;
  /** The options in `with`. An option and an input cannot have the same name. */
  options?: O;
  /** Options without a default that may be omitted. */
  optional?: readonly (keyof O & string)[];
  /**
   * Hints for option names of other tools: the name of the option here, `{ num_train_epochs: 'epochs' }`, the YAML to write,
   * `{ lora_alpha: 'lora: { alpha: … }' }`, or a sentence if there is no such option.
   */
  aliases?: Readonly<Record<string, string>>;
  /** Files and folders that the step reads. `with` gives their paths. */
  inputs?: I;
  /** Files and folders that the step creates. Other steps read them as `${{ steps.STEP.ROLE }}`. */
  outputs: P;
  /** npm packages that the result depends on. Their installed versions enter the fingerprint. */
  libraries?: readonly string[];
  /** 'all' for a step that uses all cores and therefore runs alone. Default 'one'. */
  threads?: 'one' | 'all';
  /**
   * Whether the next cell may run in the same process. It may not after a step that loads a tensor library, which holds a device,
   * its settings and its memory until the process ends. Does not enter the fingerprint. For built-in steps only.
   */
  reusableProcess?: boolean;
  /**
   * What the step reads or changes besides its inputs and outputs, such as `a pointer`. `verify` does not execute such a step. Does
   * not enter the fingerprint. For built-in steps only.
   */
  outside?: string;
  /**
   * The step writes to the hub if this option has this value. It then receives the variables of the hub, fails before the run if
   * there is no token, and is not executed by `verify`. Neither variables nor token enter the fingerprint. For built-in steps only.
   */
  writesToHub?: { option: string; value: string };
  /** Checks what a schema cannot express, such as options that exclude each other. Pure and fast. For built-in steps only. */
  check?(options: OptionsOf<O>): OptionProblem[];
  /**
   * Finds errors that follow from the steps before or from small files, such as a metric that does not exist for their task. It is called when a
   * pipeline is read. During a run, it is called again when all outputs in `reads` exist, before longer cells start. It must
   * be fast and read only small files. For built-in steps only.
   */
  foresee?: {
    /** Inputs whose content it needs, also those of the steps before: `tokens`, `from.tokens`. */
    reads: readonly string[];
    check(
      options: OptionsOf<O>,
      inputs: Record<string, Upstream[]>,
      /** For each input that is given: those of its local files and folders that exist, also outputs of steps that have run. */
      paths: Record<string, string[]>,
      /** The inputs that refer only to outputs of steps, not to files, globs or downloads. */
      onlySteps: ReadonlySet<string>,
    ): ForeseenProblem[] | Promise<ForeseenProblem[]>;
  };
}

export interface StepDefinition<
  O extends OptionSchemas = OptionSchemas,
  I extends InputDeclarations = InputDeclarations,
  P extends OutputDeclarations = OutputDeclarations,
> extends StepDeclaration<O, I, P> {
  /** Runs the step. It succeeds if this returns, or its promise resolves, and every output exists. */
  run(context: StepContext<O, I, P>): Promise<void> | void;
}

/** The cell that made an input, for an input that refers to several cells of a matrix. */
export interface CellOrigin {
  /** Its name, e.g. `train[learning_rate=0.001]`. */
  cell: string;
  /** Its matrix values; empty for a step without a matrix. */
  matrix: Record<string, Json>;
}

export interface StepContext<
  O extends OptionSchemas = OptionSchemas,
  I extends InputDeclarations = InputDeclarations,
  P extends OutputDeclarations = OutputDeclarations,
> {
  /** The options from `with`: validated, with defaults filled in. */
  options: OptionsOf<O>;
  /** Absolute paths by role: a string, or a list for an input with `many`; absent if optional and not given. */
  inputs: InputsOf<I>;
  /** For each input that refers to steps: the cell that made each of its paths, null for a path that no step made. */
  origins: Record<string, (CellOrigin | null)[]>;
  /** The addresses of downloaded inputs, by path. Use them in messages instead of paths in the cache. */
  addresses: Record<string, string>;
  /** The names of inputs in the fingerprint, by path. They are equal on every machine: only the last part of an absolute path. */
  names: Record<string, string>;
  /**
   * The repositories of inputs that were downloaded from a hub, with the commit or version that was read, by path:
   * `hf://datasets/owner/name@COMMIT`.
   */
  repositories: Record<string, string>;
  /** Absolute paths to write to. They do not exist yet, but their parent folders do. */
  outputs: OutputsOf<P>;
  /**
   * A folder for checkpoints. A later attempt of the same cell, with the same options, inputs and code, finds it unchanged if
   * this attempt fails, times out or is killed. Create it before you write to it. Write files atomically (under a new name,
   * then rename), because a kill may come at any moment. It is removed when the cell succeeds.
   */
  checkpoints: string;
  /**
   * Files and folders (absolute paths) that do not count in inputs with several paths: by-products such as `__pycache__`, and
   * matches of `exclude`. A step that lists such a folder must skip them and everything in them, because they are not in the
   * fingerprint. An input that is one folder does not contain them.
   */
  leftOut: readonly string[];
  /** The folder of the pipeline file. Write paths in messages relative to it. */
  folder: string;
  /** The name of the cell. */
  cell: CellOrigin;
  /** Aborts on Ctrl-C, timeout and kill. */
  signal: AbortSignal;
  /** The option `seed` if there is one, otherwise a number derived from the fingerprint. */
  seed: number;
  /** Number of CPU cores that the cell may use. */
  threads: number;
  /** Writes a line to the log and, with --plain, to the screen. */
  log(message: string): void;
  /** Reports something that the user should not miss. It is repeated below the summary. */
  warn(message: string): void;
  /**
   * Sets the result line, which is printed with the finished cell and below the summary, also by later runs in which the cell
   * is fresh. The summary keeps line breaks. The last call counts.
   */
  result(message: string): void;
  /** Reports progress. `values` are printed with it, e.g. `{ loss: 0.31, 'tokens/s': 5210 }`. */
  progress(done: number, total?: number, values?: Record<string, number | string>): void;
  /**
   * Records a metric. With `step`, it is one point of a curve; without, it is a final metric, which the summary prints. The
   * table of a sweep marks its best value if `better` says which one is best. A number as third argument is the `step`.
   */
  metric(name: string, value: number, more?: number | MetricNotes): void;
}

/** Which values of a metric are better. */
export type MetricDirection = 'higher' | 'lower';

export interface MetricNotes {
  /** The optimizer step, or another position on the x-axis of a curve. */
  step?: number;
  /** Which values are better. Tables mark the best value; without a direction they mark none. */
  better?: MetricDirection;
  /** The lower end of a confidence interval, which is printed with the value: `f1 0.955 [0.931, 0.975]`. */
  low?: number;
  /** The upper end. */
  high?: number;
}

/** Declares a step. Returns its argument; the function only adds the types. */
export function defineStep<
  const O extends OptionSchemas = Record<never, never>,
  const I extends InputDeclarations = Record<never, never>,
  const P extends OutputDeclarations = OutputDeclarations,
>(definition: StepDefinition<O, I, P>): StepDefinition<O, I, P> {
  return definition;
}

/** Declares a built-in step. steps/registry.ts names the function that runs it. */
export function declareStep<
  const O extends OptionSchemas = Record<never, never>,
  const I extends InputDeclarations = Record<never, never>,
  const P extends OutputDeclarations = OutputDeclarations,
>(declaration: StepDeclaration<O, I, P>): StepDeclaration<O, I, P> {
  return declaration;
}

/** What a declared step is given when it runs. */
export type ContextOf<D> = D extends StepDeclaration<infer O, infer I, infer P> ? StepContext<O, I, P> : never;

/**
 * The `aliases` of a step. `names`: by the option that they stand for, `{ epochs: 'num_train_epochs num_epochs' }`. `written`:
 * names without an option of the same form.
 */
export function aliasesOf(names: Record<string, string>, written: Record<string, string> = {}): Record<string, string> {
  const options = Object.entries(names).flatMap(([option, others]) => others.split(' ').map((name) => [name, option]));
  return { ...Object.fromEntries(options), ...written };
}
