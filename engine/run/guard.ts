/**
 * Ends the children of an engine that was itself killed too hard to do it. One tiny shell per run, in a session of its
 * own, reads on a pipe which process groups are alive; when the engine is gone, however it went, the pipe closes and the
 * guard ends those groups, at once: the next run may already be putting their outputs in order. Children cannot be trusted with this: a shell step knows nothing of us, and a step that is deep
 * in a native library hears nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process';

export class Guard {
  #shell?: ChildProcess;

  /** Call it before a child starts: an engine that is killed right then would leave that child to nobody. */
  begin(): void {
    if (this.#shell) return;
    this.#shell = spawn('/bin/sh', ['-c', SCRIPT], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
      cwd: '/',
      env: { PATH: process.env.PATH },
    });
    // Neither a guard that cannot start nor one that was killed may end a run: it is only the second net.
    this.#shell.on('error', () => {});
    this.#shell.stdin?.on('error', () => {});
    this.#shell.unref();
    (this.#shell.stdin as unknown as { unref(): void } | null)?.unref();
  }

  /** The group of a child that just started. */
  watch(group: number): void {
    this.#shell?.stdin?.write(`+ ${group}\n`);
  }

  release(group: number): void {
    this.#shell?.stdin?.write(`- ${group}\n`);
  }

  close(): void {
    this.#shell?.stdin?.end();
  }
}

const SCRIPT = `
alive=' '
while read -r change group; do
  case $change in
    +) alive="$alive$group " ;;
    -) before=\${alive%% $group *}; after=\${alive#* $group }; alive="$before $after" ;;
  esac
done
for group in $alive; do kill -KILL -$group; done
`;
