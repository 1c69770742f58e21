/** A group of processes with a limit of memory and no swap, as a container is one. It takes the right to make a control group. */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';

export interface Container {
  /** Moves a process into it; what that starts from then on is in it, too. */
  add(pid: number): void;
  /** How many processes the kernel has killed in it. */
  kills(): number;
  /** When nobody is left in it. */
  remove(): void;
}

let made = 0;

/** Undefined where this user or system makes none. */
export function container(bytes: number): Container | undefined {
  const places = [
    ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes', 'memory.memsw.limit_in_bytes', 'memory.oom_control'],
    ['/sys/fs/cgroup', 'memory.max', 'memory.swap.max', 'memory.events'],
  ] as const;
  for (const [root, limit, swap, events] of places) {
    const folder = `${root}/tunesmith-test-${process.pid}-${made++}`;
    try {
      mkdirSync(folder);
    } catch {
      continue; // no such system, or not allowed
    }
    try {
      writeFileSync(`${folder}/${limit}`, String(bytes));
    } catch {
      rmdirSync(folder);
      continue; // another kind of group
    }
    try {
      writeFileSync(`${folder}/${swap}`, limit === 'memory.max' ? '0' : String(bytes));
    } catch {
      // A kernel that does not count swap.
    }
    return {
      add: (pid) => writeFileSync(`${folder}/cgroup.procs`, String(pid)),
      kills: () => Number(/oom_kill (\d+)/.exec(readFileSync(`${folder}/${events}`, 'utf8'))?.[1] ?? 0),
      remove: () => rmdirSync(folder),
    };
  }
  return undefined;
}
