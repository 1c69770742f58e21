/**
 * One child process of a cell. It has its own process group, so that all its descendants end with it. When the signal aborts,
 * the group gets SIGTERM. Processes that are left get SIGKILL five seconds later, or when the child itself has ended.
 * Descendants in other process groups are stopped, too.
 */

import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Options, Subprocess } from 'execa';
import { statFields } from '../../../cache/process.ts';
import { type Cell, writesToHub } from '../../contract/cell.ts';
import { HUB_SECRETS, HUB_VARIABLES } from '../../contract/hub-account.ts';
import { StepError } from '../../contract/step.ts';
import { variableIn } from '../../pipeline/environment.ts';
import { type Death, LIST_FILE } from './failure.ts';
import type { OrphanReaper } from './orphan-reaper.ts';
import type { Meter } from './usage.ts';

export interface ChildOptions {
  folder: string;
  environment: Record<string, string>;
  signal: AbortSignal;
  orphanReaper: OrphanReaper;
  /** Measures the child from its start to its end. */
  meter?: Meter;
  onOutput(stream: 'stdout' | 'stderr', bytes: Uint8Array): void;
  /** Called if a process in another session still holds the output of the child that has ended. */
  onLeftBehind(): void;
  /** Extra options of execa for a child with a message channel. */
  node?: Pick<Options, 'ipc' | 'serialization'>;
  onStart?(child: Subprocess): void;
}

export async function runChild(command: string, args: string[], options: ChildOptions): Promise<Death> {
  const { execa } = await import('execa');
  options.signal.throwIfAborted();
  options.orphanReaper.begin();
  const child = execa(command, args, {
    cwd: options.folder,
    env: options.environment,
    extendEnv: false,
    detached: true,
    // We end the whole group; execa would end only the child.
    cleanup: false,
    reject: false,
    buffer: false,
    stdin: 'ignore',
    ...options.node,
  }) as unknown as Subprocess;
  const group = child.pid;
  // The process did not start, for example because the folder is missing or memory ran out.
  if (group === undefined) {
    const result = await child;
    const reason = (result as { originalMessage?: string }).originalMessage ?? 'unknown reason';
    if (/E2BIG/.test(reason)) throw new StepError('its command and its environment are longer than this system allows', LIST_FILE);
    // The system reports ENOENT in both cases.
    if (!existsSync(options.folder))
      throw new StepError(
        `could not start ${command}: the folder ${options.folder} no longer exists`,
        'Check whether it was moved or removed during the run.',
      );
    throw new StepError(`could not start ${command}: ${reason}`, 'Check that it is installed and on PATH.');
  }
  options.orphanReaper.watch(group);
  const measured = options.meter?.watch(group);
  child.stdout?.on('data', (bytes: Uint8Array) => options.onOutput('stdout', bytes));
  child.stderr?.on('data', (bytes: Uint8Array) => options.onOutput('stderr', bytes));
  options.onStart?.(child);

  let killTimer: NodeJS.Timeout | undefined;
  let stopListening: NodeJS.Timeout | undefined;
  const groups = new Groups(group);
  const end = () => {
    groups.end('SIGTERM');
    killTimer = setTimeout(() => groups.end('SIGKILL'), TERMINATION_GRACE);
  };
  options.signal.addEventListener('abort', end, { once: true });
  if (options.signal.aborted) end();

  child.once('exit', () => {
    measured?.();
    // Kill background processes of the child, which also closes the pipes that we read.
    if (!options.signal.aborted) endGroup(group, 'SIGKILL');
    // Do not wait for a process in another session that still holds the pipes. After an abort, it has time to end.
    let rounds = options.signal.aborted ? (TERMINATION_GRACE + 1000) / ROUND : 10;
    stopListening = setInterval(() => {
      if (--rounds > 0) return;
      clearInterval(stopListening);
      if (!options.signal.aborted) options.onLeftBehind();
      child.stdout?.destroy();
      child.stderr?.destroy();
    }, ROUND).unref();
  });
  const result = (await child) as Death;
  clearInterval(stopListening);
  options.signal.removeEventListener('abort', end);
  // A grandchild may still be saving its data.
  if (options.signal.aborted)
    for (const until = performance.now() + TERMINATION_GRACE; performance.now() < until && groups.areAlive(); ) await sleep(50);
  clearTimeout(killTimer);
  if (options.signal.aborted) groups.end('SIGKILL');
  else endGroup(group, 'SIGKILL');
  options.orphanReaper.release(group);
  return { exitCode: result.exitCode, signal: result.signal };
}

/** Milliseconds between SIGTERM and SIGKILL. */
const TERMINATION_GRACE = 5000;
/** Milliseconds between two reads of the pipes of a child that has ended. Each read takes all that is in them. */
const ROUND = 50;

/** The process group of a child, and the groups that its descendants created (setsid, or a shell with job control). */
class Groups {
  /** Descendants in other groups with their start times, because pids are reused. */
  readonly #others = new Map<number, Process>();

  constructor(private readonly own: number) {}

  /** Sends a signal to all groups. Descendants must be found while the child lives, because afterwards they are orphans. */
  end(signal: NodeJS.Signals): void {
    const processes = allProcesses();
    const below = new Set([this.own]);
    // Repeat, because a parent may have a higher pid than its child.
    for (let grew = true; grew; ) {
      grew = false;
      for (const { pid, parent } of processes.values()) {
        if (!below.has(parent) || below.has(pid)) continue;
        below.add(pid);
        grew = true;
      }
    }
    for (const pid of below) {
      const process = processes.get(pid);
      if (process && process.group !== this.own) this.#others.set(pid, process);
    }
    for (const group of new Set([this.own, ...this.#living(processes)])) endGroup(group, signal);
  }

  areAlive(): boolean {
    try {
      process.kill(-this.own, 0);
    } catch {
      if (this.#others.size === 0) return false;
    }
    if (process.platform !== 'linux') return true;
    const processes = allProcesses();
    return this.#living(processes).length > 0 || [...processes.values()].some(({ group }) => group === this.own);
  }

  /** The other groups that still exist. */
  #living(processes: Map<number, Process>): number[] {
    return [...this.#others].flatMap(([pid, { start }]) => {
      const now = processes.get(pid);
      return now && now.start === start && now.group !== this.own ? [now.group] : [];
    });
  }
}

interface Process {
  pid: number;
  parent: number;
  group: number;
  start: string;
}

/** All live processes by pid, without zombies. Empty if there is no /proc. */
function allProcesses(): Map<number, Process> {
  const processes = new Map<number, Process>();
  if (process.platform !== 'linux') return processes;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const fields = statFields(Number(name));
      const [state, parent, group] = fields;
      if (state !== 'Z' && state !== 'X')
        processes.set(Number(name), { pid: Number(name), parent: Number(parent), group: Number(group), start: fields[19]! });
    } catch {
      // It has just ended.
    }
  }
  return processes;
}

function endGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // The group has no processes any more.
  }
}

/**
 * The environment of a cell's child process: the variables that every program needs, those that the step declares, and its
 * GPUs. Nothing else is passed, so that a result cannot depend on an undeclared variable.
 */
export function childEnvironment(cell: Cell, gpus: string[], from: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const environment: Record<string, string> = Object.create(null);
  const node = cell.action.kind === 'step';
  for (const [name, value] of Object.entries(from)) {
    if (value !== undefined && (isOfTheMachine(name) || (node && OF_NODE.has(name)))) environment[name] = value;
  }
  for (const [name, value] of Object.entries(cell.env)) {
    if (value === undefined) delete environment[name];
    else environment[name] = value;
  }
  // A cell that does not declare GPUs sees the same ones as tunesmith.
  if (cell.resources.gpu !== undefined) environment.CUDA_VISIBLE_DEVICES = gpus.join(',');
  for (const name of [...secretsOf(cell), ...(writesToHub(cell) ? HUB_VARIABLES : [])]) {
    const value = variableIn(from, name);
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}

/** The values of the secrets that are set, for masking. */
export function secretValues(cell: Cell, from: NodeJS.ProcessEnv = process.env): string[] {
  return secretsOf(cell).flatMap((name) => variableIn(from, name) || []);
}

const secretsOf = (cell: Cell): readonly string[] => (writesToHub(cell) ? [...cell.secrets, ...HUB_SECRETS] : cell.secrets);

function isOfTheMachine(name: string): boolean {
  return BY_NAME.has(name) || /^(LC_|CUDA_|NVIDIA_|DYLD_)/.test(name) || /^(https?|ftp|all|no)_proxy$/i.test(name);
}

const BY_NAME = new Set(['PATH', 'HOME', 'USER', 'SHELL', 'LANG', 'TZ', 'TMPDIR', 'LD_LIBRARY_PATH']);

/**
 * Variables with the paths of this machine's certificates, which steps need behind a company proxy, and of the files that
 * `tunesmith setup` has installed.
 */
const OF_NODE = new Set(['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'TUNESMITH_HOME', 'XDG_DATA_HOME']);
