/** One attempt to run a cell in child processes: the commands of a shell step, or a step's `run`. */

import { existsSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import type { Lease } from '../../cache/lease.ts';
import type { Cell, ShellAction, StepAction } from '../contract/cell.ts';
import type { RunEvent } from '../contract/events.ts';
import { memoryKills } from '../contract/memory-limit.ts';
import type { LockfileCheck } from './lockfile.ts';
import type { CellLog } from './process/cell-log.ts';
import { type ChildOptions, childEnvironment, runChild } from './process/child-process.ts';
import { hintOnFullDisk, killedMeanwhile, meaningOf, type Verdict } from './process/failure.ts';
import type { OrphanReaper } from './process/orphan-reaper.ts';
import type { StepProcesses } from './process/process-reuse.ts';
import type { Mask } from './process/secret-masking.ts';
import type { Message, StepJob } from './process/step-process.ts';
import type { Meter } from './process/usage.ts';
import type { Project } from './project.ts';
import type { InputContext, Inputs, ResolvedSource } from './resolve-inputs.ts';

/** What an execution needs from its run. */
export interface ExecutionContext extends InputContext {
  project: Project;
  run: number;
  /** GPUs that the cell has alone. */
  gpus: string[];
  orphanReaper: OrphanReaper;
  stepProcesses: StepProcesses;
  /** Leases on the paths of the cell's outputs. */
  leases: Lease[];
  /** Set with `--locked`. */
  lockfileCheck?: LockfileCheck;
  /** Aborted by Ctrl-C and by `--on-failure kill`. */
  signal: AbortSignal;
  emit(event: RunEvent): void;
}

interface Attempt extends ExecutionContext {
  cell: Cell;
  inputs: Inputs;
  fingerprint: string;
  /** The path where the step writes each output. */
  outputs: Record<string, string>;
  /** A folder of this attempt. Does not exist yet. */
  scratch: string;
  /** The folder for a step's checkpoints, which survive an interrupted attempt. */
  checkpoints: string | undefined;
  log: CellLog;
  mask: Mask;
  meter: Meter;
}

/** Resolves with the failure; undefined on success. */
export async function attempt(work: Attempt): Promise<Verdict | undefined> {
  const { action, name } = work.cell;
  const kills = memoryKills();
  const verdict = await (action.kind === 'shell' ? runCommands(work, action) : runStep(work, action));
  // A pipe of /bin/sh succeeds if its last command does, even if an earlier one was killed.
  if (!verdict && !work.signal.aborted && memoryKills() > kills)
    work.emit({
      type: 'notice',
      cell: name,
      message: `${killedMeanwhile()}. If the process belonged to ${name}, its outputs may be incomplete.`,
    });
  return verdict;
}

async function runStep(work: Attempt, action: StepAction): Promise<Verdict | undefined> {
  const { cell, log, mask, emit } = work;
  const kills = memoryKills();
  let last: Extract<Message, { type: 'done' | 'error' }> | undefined;
  const onMessage = (message: Message) => {
    if (message.type === 'done' || message.type === 'error') last = message;
    else if (message.type === 'log') log.line('step', message.message);
    else if (message.type === 'warn') {
      log.line('step', message.message);
      emit({ type: 'notice', cell: cell.name, message: mask(message.message) });
    } else if (message.type === 'result') {
      log.detail(message.message);
      emit({ type: 'result', cell: cell.name, message: mask(message.message) });
    } else if (message.type === 'progress') {
      const values = Object.entries(message.values).map(([name, value]) => [name, typeof value === 'string' ? mask(value) : value]);
      emit({ type: 'progress', cell: cell.name, done: message.done, total: message.total, values: Object.fromEntries(values) });
    } else if (message.type === 'metric') {
      const { type, ...metric } = message;
      emit({ type, cell: cell.name, ...metric });
    }
  };
  const death = await work.stepProcesses.run({
    setting: {
      folder: work.pipeline.folder,
      environment: childEnvironment(cell, work.gpus),
      threads: cell.resources.cpu ?? (action.definition.threads === 'all' ? availableParallelism() : 1),
    },
    job: jobOf(work, action),
    // A secret goes only to the process of a cell that declares it.
    shared: 'builtin' in action.module && action.definition.reusableProcess === true && cell.secrets.length === 0,
    signal: work.signal,
    meter: work.meter,
    onOutput: (stream, bytes) => log.chunk(stream, bytes),
    onLeftBehind: () => reportLeftBehind(work),
    onMessage,
  });
  if (work.signal.aborted || last?.type === 'done') return undefined;
  if (!last)
    return !death || death.exitCode === 0
      ? {
          message: 'ended its process before it was done',
          hint: 'return from `run` instead of calling process.exit() or process.disconnect()',
        }
      : meaningOf(death, kills, log.tail);
  // The log has the whole stack. The screen shows only the frames in the user's own code.
  const { message, hint, option, stack, frames } = last;
  return { message: mask(message), hint: hint ? mask(hint) : hintOnFullDisk([message]), option, detail: stack, stack: frames };
}

function jobOf(work: Attempt, { module, options }: StepAction): Omit<StepJob, 'mark' | 'threads'> {
  const { cell, pipeline, outputs, checkpoints, fingerprint } = work;
  const inputs = withViews(work);
  const job: Omit<StepJob, 'mark' | 'threads'> = {
    module,
    options,
    inputs: Object.create(null),
    origins: Object.create(null),
    addresses: Object.create(null),
    names: Object.create(null),
    repositories: Object.create(null),
    leftOut: Object.values(inputs).flatMap(({ sources }) => sources.flatMap(({ leftOut = [] }) => leftOut)),
    outputs,
    checkpoints: checkpoints!,
    folder: pipeline.folder,
    cell: { cell: cell.name, matrix: cell.matrix },
    seed: typeof options.seed === 'number' ? options.seed : Number.parseInt(fingerprint.slice(0, 8), 16) >>> 1,
  };
  for (const [role, { sources }] of Object.entries(inputs)) {
    const paths = sources.map(({ path }) => path);
    job.inputs[role] = cell.inputs[role]!.declaration.many ? paths : paths[0]!;
    for (const { path, name, address, repository } of sources) {
      job.names[path] = name;
      if (address !== undefined) job.addresses[path] = address;
      if (repository !== undefined) job.repositories[path] = repository;
    }
    const cells = sources.map(({ origin }) => origin ?? null);
    if (cells.some((cell) => cell !== null)) job.origins[role] = cells;
  }
  return job;
}

/**
 * Replaces a user's folder in which some files do not count by a view: a folder of links to the other files. A step that opens
 * files by name then finds exactly the files in the fingerprint. Inputs with several paths are passed unchanged, with `leftOut`,
 * because the paths of their files matter.
 */
function withViews({ inputs, cell, scratch }: Attempt): Inputs {
  const views: Inputs = Object.create(null);
  for (const [role, input] of Object.entries(inputs)) {
    const [{ leftOut, ...source } = {} as ResolvedSource] = input.sources;
    views[role] = input;
    if (cell.inputs[role]!.declaration.many || !leftOut?.length) continue;
    const path = join(scratch, 'views', role, basename(source.path));
    linkAll(source.path, path, new Set(leftOut));
    views[role] = { ...input, sources: [{ ...source, path }] };
  }
  return views;
}

/** Creates folders instead of linking them, because they may contain files that are left out. */
function linkAll(from: string, to: string, leftOut: Set<string>): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    const path = join(from, name);
    if (leftOut.has(path)) continue;
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) linkAll(path, join(to, name), leftOut);
    else symlinkSync(path, join(to, name));
  }
}

/** Runs the commands of a shell step in order. A command that is too long for one argument is passed to the shell as a file. */
async function runCommands(work: Attempt, { commands, shell }: ShellAction): Promise<Verdict | undefined> {
  const options = childOptions(work);
  const files = (role: string) =>
    (work.inputs[role]?.sources ?? []).map(({ path, pinned }) => (pinned ? path : relative(work.pipeline.folder, path)));
  const outputs = Object.values(work.outputs).map((path) => relative(work.pipeline.folder, path));
  const paths = [...Object.keys(work.inputs).flatMap(files), ...outputs];
  const flags = shell === 'sh' ? ['-e'] : ['-eo', 'pipefail'];
  const lists = join(work.scratch, 'inputs');
  for (const [number, written] of commands.entries()) {
    // Loaded on demand, because it loads the YAML parser.
    const command = written.includes('${{') ? (await import('../pipeline/shell.ts')).withMatches(written, files) : written;
    const wantsLists = command.includes('TUNESMITH_INPUTS');
    if (wantsLists) writeLists(lists, Object.keys(work.inputs), files);
    const args =
      Buffer.byteLength(command) < LONGEST_ARGUMENT ? ['-c', command] : [scriptOf(command, join(work.scratch, `command-${number}`))];
    const kills = memoryKills();
    const environment = wantsLists ? { ...options.environment, TUNESMITH_INPUTS: lists } : options.environment;
    const death = await runChild(shell === 'sh' ? '/bin/sh' : 'bash', [...flags, ...args], { ...options, environment });
    if (work.signal.aborted) return undefined;
    if (death.exitCode !== 0) {
      const verdict = meaningOf(death, kills, work.log.tail);
      return { ...verdict, hint: commandHint(command, shell, work.log.tail, paths) ?? verdict.hint };
    }
  }
  return undefined;
}

/** Maximum length of one argument in bytes. Linux allows 128 KiB. */
const LONGEST_ARGUMENT = 100_000;

function scriptOf(command: string, path: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${command}\n`);
  return path;
}

/**
 * List files are for thousands of paths: `$TUNESMITH_INPUTS/NAME.txt` has one path of the input NAME per line, and `NAME.0` has
 * them for `xargs -0`.
 */
function writeLists(folder: string, roles: string[], files: (role: string) => string[]): void {
  mkdirSync(folder, { recursive: true });
  // Outputs of other steps that a command uses directly have no role name.
  for (const role of roles.filter((role) => /^[\w-]+$/.test(role))) {
    const paths = files(role);
    writeFileSync(join(folder, `${role}.txt`), paths.map((path) => `${path}\n`).join(''));
    writeFileSync(join(folder, `${role}.0`), paths.map((path) => `${path}\0`).join(''));
  }
}

function childOptions(work: Attempt): ChildOptions {
  const { cell, pipeline, gpus, orphanReaper, meter, signal, log } = work;
  return {
    folder: pipeline.folder,
    environment: childEnvironment(cell, gpus),
    signal,
    orphanReaper,
    meter,
    onOutput: (stream, bytes) => log.chunk(stream, bytes),
    onLeftBehind: () => reportLeftBehind(work),
  };
}

function reportLeftBehind({ cell: { name }, emit }: Attempt): void {
  const message = `a process that ${name} started in another session still runs. Its further output is not recorded. If it is meant to stay, redirect its output: setsid PROGRAM > FILE 2>&1 &`;
  emit({ type: 'notice', cell: name, message });
}

/** The hint for a failed command. `tail`: the last lines of its output. `paths`: its inputs and outputs as in the command. */
export function commandHint(command: string, shell: 'sh' | 'bash', tail: readonly string[], paths: readonly string[]): string | undefined {
  const bashism = shell === 'sh' ? bashismIn(command, tail) : undefined;
  if (bashism !== undefined) return `${bashism} needs bash, but commands run in /bin/sh. Write \`shell: bash\` in this step.`;
  const folder = folderIn(command);
  const lost = paths.find((path) =>
    tail.some((line) => line.includes(path) && /no such file|nonexistent|not found|cannot (open|create)/i.test(line)),
  );
  return folder !== undefined && lost !== undefined ? afterChange(folder, lost) : undefined;
}

/** The syntax in a failed command that only bash supports. `tail`: the last lines of its output. */
function bashismIn(command: string, tail: readonly string[]): string | undefined {
  for (const [what, pattern, complaint = COMPLAINT] of BASHISMS) {
    const found = pattern.exec(command);
    if (found && tail.some((line) => complaint.test(line))) return what ?? found.at(-1);
  }
  return undefined;
}

/** Syntax that only bash supports. Without a name, the last group of the pattern is the name. */
const BASHISMS: [what: string | undefined, pattern: RegExp, complaint?: RegExp][] = [
  ['[[ … ]]', /(^|[\s;&|(!])\[\[\s/],
  ['<( … )', /[<>]\(/],
  ['<<<', /<<</],
  ['an array', /(^|[\s;&|])\w+\+?=\(/],
  ['&>', /&>/],
  ['pipefail', /\bset\s+-[a-z]*o\s+pipefail|\bpipefail\b/],
  ['$' + '{x//…}', /\$\{!?\w+(\/|\^|,|:\d|\[)/],
  ["$'…'", /\$'/],
  [undefined, /(?:^|[\s;&|(])(source|declare|typeset|shopt|mapfile|readarray|let|pushd|popd)(?=\s|$)/m],
  [undefined, /(?:^|[\s;&|])(function|select)\s+\w+/m],
  ['for ((…))', /\bfor\s*\(\(/],
  ['((…))', /(^|[\s;&|(])\(\(/m],
  ['|&', /\|&/],
  ['x+=…', /(^|[\s;&|(])\w+\+=/m, /\w\+=.*: not found/],
  ['== in [ … ]', /(^|[\s;&|(!])(\[|test)\s.*\s==\s/m, /sh: .*unexpected operator/],
  [undefined, /(?:^|[\s;&|(])(read\s+(?:-[rp]+\s+)*-\w+)/m, /sh: .*read: [Ii]llegal option/],
];

/** How a shell other than bash reports such syntax. */
const COMPLAINT = /^[^:]*sh: .*(not found|[Ss]yntax error|[Bb]ad substitution|[Ii]llegal option|unexpected|bad variable|cannot open)/;

/** The hint for a missing output. `path`: relative to the pipeline's folder `at`. */
export function misplacedHint(commands: readonly string[], path: string, at: string): string | undefined {
  const folder = commands.map(folderIn).find((folder) => folder !== undefined && existsSync(join(at, folder, path)));
  return folder === undefined ? undefined : `It was created at ${join(folder, path)}. ${afterChange(folder, path)}`;
}

function afterChange(folder: string, path: string): string {
  return `Paths are relative to the pipeline's folder, so ${path} is wrong after \`cd ${folder}\`. Change the folder in a subshell that does not use the path, as in \`(cd ${folder} && make)\`, or write \`"$OLDPWD"/\` before the path.`;
}

/** The folder that a command changes to outside of a subshell. */
function folderIn(command: string): string | undefined {
  const [, before = '', folder] = /^((?:[^(]*[\s;&|])?)cd\s+["']?([^\s;&|"')]+)/.exec(command) ?? [];
  return folder === undefined || before.includes('(') || folder.startsWith('-') ? undefined : folder;
}
