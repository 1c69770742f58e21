/**
 * Measures the CPU time in seconds and the peak memory of a child and its descendants by polling /proc a few times per second,
 * because Node does not report them. A child that lives only a few milliseconds is not measured. On a system without
 * /proc, no child is.
 */

import { readFileSync } from 'node:fs';
import { statFields } from '../../../cache/process.ts';

export interface Usage {
  cpuSeconds: number;
  /** Peak resident memory of all its processes together, in bytes. */
  peakBytes: number;
}

export class Meter {
  /** The sum over all children of a cell, which run in sequence. */
  usage: Usage | undefined;

  /** Measures the child from now until the returned function is called. */
  watch(pid: number): () => void {
    if (process.platform !== 'linux') return () => {};
    const before = measure(pid, undefined)?.cpuSeconds ?? 0;
    let measured: Usage | undefined;
    let timer: NodeJS.Timeout;
    const poll = (pause: number) => {
      measured = measure(pid, measured);
      timer = setTimeout(() => poll(Math.min(SLOWEST, pause * 2)), pause).unref();
    };
    timer = setTimeout(() => poll(FIRST), FIRST).unref();
    return () => {
      clearTimeout(timer);
      // The work may have been shorter than the first pause while the process lives on.
      measured = measure(pid, measured);
      if (!measured) return;
      const { cpuSeconds = 0, peakBytes = 0 } = this.usage ?? {};
      this.usage = { cpuSeconds: cpuSeconds + measured.cpuSeconds - before, peakBytes: Math.max(peakBytes, measured.peakBytes) };
    };
  }
}

const FIRST = 15;
const SLOWEST = 250;

function measure(pid: number, before: Usage | undefined): Usage | undefined {
  const sum = { ticks: 0, bytes: 0, highest: 0 };
  if (!addUp(pid, sum)) return before;
  const { cpuSeconds = 0, peakBytes = 0 } = before ?? {};
  return {
    // The CPU time of a process is lost if its parent does not wait for it.
    cpuSeconds: Math.max(cpuSeconds, sum.ticks / TICKS_PER_SECOND),
    peakBytes: Math.max(peakBytes, sum.bytes, sum.highest),
  };
}

/** Adds a process, the children that it has waited for, and its descendants. False if it no longer exists. */
function addUp(pid: number, sum: { ticks: number; bytes: number; highest: number }): boolean {
  try {
    for (const ticks of statFields(pid).slice(11, 15)) sum.ticks += Number(ticks);
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    sum.bytes += kilobytes(status, 'VmRSS');
    sum.highest = Math.max(sum.highest, kilobytes(status, 'VmHWM'));
  } catch {
    return false;
  }
  for (const child of childrenOf(pid)) addUp(child, sum);
  return true;
}

/** Empty if the kernel does not provide it. */
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

/** Clock ticks per second in /proc, which is the same on every architecture that Node supports. */
const TICKS_PER_SECOND = 100;
