/**
 * Kills the children of an engine that was itself killed. Each run has one small shell in its own session, which reads from a
 * pipe which process groups are alive. When the engine ends in any way, the pipe closes, and the shell kills these groups at
 * once, because the next run may already be recovering their outputs. The children cannot do this themselves: a shell command
 * knows nothing of tunesmith, and a step inside a native library does not react.
 */

import { type ChildProcess, spawn } from 'node:child_process';

export class OrphanReaper {
  #shell?: ChildProcess;

  /** Starts the shell. Call it before a child starts, so that no child can be orphaned. */
  begin(): void {
    if (this.#shell) return;
    this.#shell = spawn('/bin/sh', ['-c', SCRIPT], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
      cwd: '/',
      env: { PATH: process.env.PATH },
    });
    // A shell that cannot start or was killed does not stop the run, because it is only a second safety net.
    this.#shell.on('error', () => {});
    this.#shell.stdin?.on('error', () => {});
    this.#shell.unref();
    (this.#shell.stdin as unknown as { unref(): void } | null)?.unref();
  }

  /** Adds the process group of a new child. */
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
