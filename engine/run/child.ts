/**
 * One child process of a cell, in a process group of its own, so that whatever it starts ends with it:
 * SIGTERM to the group when the signal aborts, SIGKILL to what is left five seconds later or when the child itself has ended.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Options, Subprocess } from 'execa';
import { StepError } from '../step.ts';
import type { Death } from './failure.ts';
import type { Guard } from './guard.ts';
import type { Meter } from './usage.ts';

export interface ChildOptions {
  folder: string;
  environment: Record<string, string>;
  signal: AbortSignal;
  guard: Guard;
  /** Measures it from its start to its end. */
  meter?: Meter;
  onOutput(stream: 'stdout' | 'stderr', bytes: Uint8Array): void;
  /** Extra options of execa, for a child that talks. */
  node?: Pick<Options, 'ipc' | 'serialization'>;
  onStart?(child: Subprocess): void;
}

export async function runChild(command: string, args: string[], options: ChildOptions): Promise<Death> {
  const { execa } = await import('execa');
  options.signal.throwIfAborted();
  options.guard.begin();
  const child = execa(command, args, {
    cwd: options.folder,
    env: options.environment,
    extendEnv: false,
    detached: true,
    // Ended by us as a group; execa would end the child alone.
    cleanup: false,
    reject: false,
    buffer: false,
    stdin: 'ignore',
    ...options.node,
  }) as unknown as Subprocess;
  const group = child.pid;
  // Not started: no such folder, no memory for another process.
  if (group === undefined) {
    const result = await child;
    const reason = (result as { originalMessage?: string }).originalMessage ?? 'unknown reason';
    throw new StepError(`could not start ${command}: ${reason}`, 'is it installed, and on PATH?');
  }
  options.guard.watch(group);
  const measured = options.meter?.watch(group);
  child.stdout?.on('data', (bytes: Uint8Array) => options.onOutput('stdout', bytes));
  child.stderr?.on('data', (bytes: Uint8Array) => options.onOutput('stderr', bytes));
  options.onStart?.(child);

  let patience: NodeJS.Timeout | undefined;
  const end = () => {
    endGroup(group, 'SIGTERM');
    patience = setTimeout(() => endGroup(group, 'SIGKILL'), PATIENCE);
  };
  options.signal.addEventListener('abort', end, { once: true });
  if (options.signal.aborted) end();

  child.once('exit', () => {
    measured?.();
    // What the child left running in the background goes with it, and lets go of the pipes that we read.
    if (!options.signal.aborted) endGroup(group, 'SIGKILL');
    // A process that moved to another session can still hold the pipes: no reason to wait for it.
    setTimeout(() => {
      child.stdout?.destroy();
      child.stderr?.destroy();
    }, PATIENCE + 1000).unref();
  });
  const result = (await child) as Death;
  options.signal.removeEventListener('abort', end);
  // A grandchild may still be saving its work.
  if (options.signal.aborted)
    for (const until = performance.now() + PATIENCE; performance.now() < until && isAlive(group); ) await sleep(50);
  clearTimeout(patience);
  endGroup(group, 'SIGKILL');
  options.guard.release(group);
  return { exitCode: result.exitCode, signal: result.signal };
}

const PATIENCE = 5000;

/** Whether anybody is left in the group. Orphans that nobody has waited for yet are dead, and still count for the kernel. */
function isAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
  } catch {
    return false;
  }
  if (process.platform !== 'linux') return true;
  return readdirSync('/proc').some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // After the command in parentheses, which may hold anything: state, parent, group.
      const [state, , of] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return Number(of) === group && state !== 'Z' && state !== 'X';
    } catch {
      return false;
    }
  });
}

function endGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // Nobody is left in it.
  }
}
