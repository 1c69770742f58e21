/**
 * The memory that processes can have here, and how many the kernel has ended for want of it. In a container both are its own: every
 * control group from that of this process up to the root sets a limit, and the lowest one counts.
 */
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { posix } from 'node:path';

/** In bytes: the lowest limit of a container, or else what the machine has. `root`: where `proc` and `sys` lie. */
export function memoryLimit(root = '/'): number {
  const limits = [...controlFiles(root, 'memory.max', 'memory.limit_in_bytes')].map(Number); // "max" is no number
  return Math.min(totalmem(), ...limits.filter((limit) => limit > 0));
}

/** How many processes the kernel has killed for memory in this control group so far; 0 where it does not count them. */
export function memoryKills(root = '/'): number {
  for (const file of controlFiles(root, 'memory.events', 'memory.oom_control')) {
    const count = /^oom_kill (\d+)$/m.exec(file)?.[1];
    if (count !== undefined) return Number(count);
  }
  return 0;
}

/**
 * A file of our control group and of those above it, the own one first, in version 2 and version 1 of the kernel's interface. Inside a
 * container the group may be named as its host sees it, with only the last folders of that path in sight, or none: the root is then its own.
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
