/**
 * The memory limit of this machine or container, and the number of processes that the kernel has killed because of it. Every
 * control group from that of this process up to the root may set a limit; the lowest one counts.
 */
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { posix } from 'node:path';

/** The memory limit in bytes: the lowest limit of the container, otherwise the memory of the machine. `root`: the folder with `proc` and `sys`. */
export function memoryLimit(root = '/'): number {
  const limits = [...controlFiles(root, 'memory.max', 'memory.limit_in_bytes')].map(Number); // "max" is no number
  return Math.min(totalmem(), ...limits.filter((limit) => limit > 0));
}

/** The number of processes in this control group that the kernel has killed because of memory; 0 if unknown. */
export function memoryKills(root = '/'): number {
  for (const file of controlFiles(root, 'memory.events', 'memory.oom_control')) {
    const count = /^oom_kill (\d+)$/m.exec(file)?.[1];
    if (count !== undefined) return Number(count);
  }
  return 0;
}

/**
 * Yields a file of our control group and of its parents, for cgroup v2 and v1. Inside a container, the path of the group may be
 * the host's, of which only the last folders exist, or none; the root is then the container's own group.
 */
function* controlFiles(root: string, v2: string, v1: string): Generator<string> {
  const groups = read(posix.join(root, 'proc/self/cgroup')) ?? '';
  const own = { v2: /^0::(.*)$/m.exec(groups)?.[1], v1: /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(.*)$/m.exec(groups)?.[1] };
  for (const group of upwards(own.v2)) yield* readAll(posix.join(root, 'sys/fs/cgroup', group, v2));
  for (const group of upwards(own.v1)) yield* readAll(posix.join(root, 'sys/fs/cgroup/memory', group, v1));
}

function* upwards(group = '/'): Generator<string> {
  for (let at = posix.join('/', group); ; at = posix.dirname(at)) {
    yield at;
    if (at === '/') return;
  }
}

function* readAll(path: string): Generator<string> {
  const text = read(path);
  if (text !== undefined) yield text;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // no such system, or no such group
  }
}
