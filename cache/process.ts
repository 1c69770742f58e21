/**
 * Who a process is, so that another one can tell whether it is still there. A pid alone is handed out again; a pid
 * with its start time is not. Pids mean something only within one boot of one host and one pid namespace.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

export interface ProcessIdentity {
  /** Host and pid namespace, as one word. */
  host: string;
  /** This boot of the host; empty where it cannot be told. */
  boot: string;
  pid: number;
  /** When it started; empty where it cannot be told. */
  start: string;
}

let own: ProcessIdentity | undefined;

export function thisProcess(): ProcessIdentity {
  own ??= {
    host: word(hostname(), attempt(() => readlinkSync('/proc/self/ns/pid')) ?? ''),
    boot: word(attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')) ?? ''),
    pid: process.pid,
    start: startOf(process.pid) ?? '',
  };
  return own;
}

/** Whether that process still runs; undefined when it cannot be told from here. */
export function isAlive(other: ProcessIdentity): boolean | undefined {
  const here = thisProcess();
  if (other.host !== here.host) return undefined;
  if (other.boot !== here.boot) return false;
  if (other.pid === here.pid) return other.start === here.start;
  if (!exists(other.pid)) return false;
  const start = startOf(other.pid);
  if (start === undefined || other.start === '') return exists(other.pid) ? undefined : false;
  return start === other.start;
}

/** Tells a process from a later one that was given the same pid; undefined where it cannot. */
function startOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
    if (stat === undefined) return undefined;
    // The second field, the command in parentheses, may hold spaces and parentheses itself.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // Z and X: dead, only not yet waited for by its parent.
    return fields[0] === 'Z' || fields[0] === 'X' ? 'dead' : fields[19];
  }
  if (process.platform === 'win32') return undefined;
  // The same words whatever this process's language and time zone.
  const env = { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' };
  const started = attempt(() => execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { env, stdio: ['ignore', 'pipe', 'ignore'] }));
  return started && word(started.toString().trim());
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Short, and fit for a file name. */
function word(...parts: string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 12);
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
