/**
 * Identifies a process, so that another one can check whether it is alive. Pids are reused, but a pid with its start time is
 * unique within one boot of one host and one pid namespace.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

export interface ProcessIdentity {
  /** Host and pid namespace in one word. */
  host: string;
  /** Id of the host's current boot; empty if unknown. */
  boot: string;
  pid: number;
  /** Start time; empty if unknown. */
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

/** The identity of this process in one word. Other words may follow after a hyphen. */
export function processId(): string {
  const { host, boot, pid, start } = thisProcess();
  return `${host}-${boot}-${pid}-${start}`;
}

export function processOf(id: string): ProcessIdentity {
  const [host = '', boot = '', pid = '', start = ''] = id.split('-');
  return { host, boot, pid: Number(pid), start };
}

/** Whether the process is alive; undefined if it cannot be checked from here. */
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

/** The start time of a process, which distinguishes it from a later one with the same pid; undefined if unknown. */
function startOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    const fields = attempt(() => statFields(pid));
    // Z and X: dead, but the parent has not waited for it yet.
    return fields?.[0] === 'Z' || fields?.[0] === 'X' ? 'dead' : fields?.[19];
  }
  if (process.platform === 'win32') return undefined;
  // Fixed locale and time zone, so that the output is always the same.
  const env = { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' };
  const started = attempt(() => execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { env, stdio: ['ignore', 'pipe', 'ignore'] }));
  return started && word(started.toString().trim());
}

/**
 * The fields of a process in /proc from the third one: state, parent, group … The field before them, the command in parentheses,
 * may contain spaces and parentheses.
 */
export function statFields(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** A short text that is safe in a file name. */
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
