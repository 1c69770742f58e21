/**
 * What a child and all that it starts use of the machine: seconds of CPU and the most memory, looked up in /proc a few
 * times a second, since whoever waits for a child is not told. A child that lives for a few milliseconds is not measured,
 * and neither is any on a system without /proc.
 */
import { readFileSync } from 'node:fs';

export interface Usage {
  cpuSeconds: number;
  /** Resident, of all its processes together. */
  peakBytes: number;
}

/** Of all children of a cell, one after the other. */
export class Meter {
  #total: Usage | undefined;

  get usage(): Usage | undefined {
    return this.#total;
  }

  /** Looks at the child until the returned function is called; what it did before is not counted. */
  watch(pid: number): () => void {
    if (process.platform !== 'linux') return () => {};
    const before = lookAt(pid, undefined)?.cpuSeconds ?? 0;
    let seen: Usage | undefined;
    let timer: NodeJS.Timeout;
    const look = (pause: number) => {
      seen = lookAt(pid, seen);
      timer = setTimeout(() => look(Math.min(SLOWEST, pause * 2)), pause).unref();
    };
    timer = setTimeout(() => look(FIRST), FIRST).unref();
    return () => {
      clearTimeout(timer);
      // It may have worked for less than the first pause, and live on.
      seen = lookAt(pid, seen);
      if (!seen) return;
      const { cpuSeconds = 0, peakBytes = 0 } = this.#total ?? {};
      this.#total = { cpuSeconds: cpuSeconds + seen.cpuSeconds - before, peakBytes: Math.max(peakBytes, seen.peakBytes) };
    };
  }
}

const FIRST = 15;
const SLOWEST = 250;

function lookAt(pid: number, before: Usage | undefined): Usage | undefined {
  const sum = { ticks: 0, bytes: 0, highest: 0 };
  if (!addUp(pid, sum)) return before;
  const { cpuSeconds = 0, peakBytes = 0 } = before ?? {};
  return {
    // A process whose parent does not wait for it takes its time with it.
    cpuSeconds: Math.max(cpuSeconds, sum.ticks / TICKS_PER_SECOND),
    peakBytes: Math.max(peakBytes, sum.bytes, sum.highest),
  };
}

/** Adds a process with what it has waited for, and all that runs below it. False when it is gone. */
function addUp(pid: number, sum: { ticks: number; bytes: number; highest: number }): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // After the command in parentheses, which may hold anything: field 3, the state, and so on.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    for (const field of [14, 15, 16, 17]) sum.ticks += Number(fields[field - 3]);
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    sum.bytes += kilobytes(status, 'VmRSS');
    sum.highest = Math.max(sum.highest, kilobytes(status, 'VmHWM'));
  } catch {
    return false;
  }
  for (const child of childrenOf(pid)) addUp(child, sum);
  return true;
}

/** None where the kernel was built without telling. */
function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function kilobytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1024;
}

/** The unit of /proc, the same on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;
