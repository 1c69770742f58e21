/**
 * The commands of a shell step, one after the other. What is too long for one argument of a program is handed to the shell as a file; what
 * is too long for a program, thousands of paths, it finds in list files: `$TUNESMITH_INPUTS/NAME.txt` has a path of the input NAME a line,
 * `NAME.0` the same for `xargs -0`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { memoryKills } from '../memory-limit.ts';
import type { ShellAction } from '../pipeline/pipeline.ts';
import { withMatches } from '../pipeline/shell.ts';
import type { Attempt } from './attempt.ts';
import { type ChildOptions, runChild } from './child.ts';
import { meaningOf, type Verdict } from './failure.ts';
import { commandHint } from './shell-hints.ts';

/** Resolves with what went wrong; undefined when all went well. */
export async function runCommands(work: Attempt, { commands, shell }: ShellAction, options: ChildOptions): Promise<Verdict | undefined> {
  const files = (role: string) =>
    (work.inputs[role]?.sources ?? []).map(({ path, pinned }) => (pinned ? path : relative(work.pipeline.folder, path)));
  const outputs = Object.values(work.outputs).map((path) => relative(work.pipeline.folder, path));
  const paths = [...Object.keys(work.inputs).flatMap(files), ...outputs];
  const flags = shell === 'sh' ? ['-e'] : ['-eo', 'pipefail'];
  const lists = join(work.scratch, 'inputs');
  for (const [number, written] of commands.entries()) {
    const command = withMatches(written, files);
    const wantsLists = command.includes('TUNESMITH_INPUTS');
    if (wantsLists) writeLists(lists, Object.keys(work.inputs), files);
    const given =
      Buffer.byteLength(command) < LONGEST_ARGUMENT ? ['-c', command] : [scriptOf(command, join(work.scratch, `command-${number}`))];
    const kills = memoryKills();
    const environment = wantsLists ? { ...options.environment, TUNESMITH_INPUTS: lists } : options.environment;
    const death = await runChild(shell === 'sh' ? '/bin/sh' : 'bash', [...flags, ...given], { ...options, environment });
    if (work.signal.aborted) return undefined;
    if (death.exitCode !== 0) {
      const verdict = meaningOf(death, kills, work.log.tail);
      return { ...verdict, hint: commandHint(command, shell, work.log.tail, paths) ?? verdict.hint };
    }
  }
  return undefined;
}

/** Linux takes 128 KiB. */
const LONGEST_ARGUMENT = 100_000;

function scriptOf(command: string, path: string): string {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `${command}\n`);
  return path;
}

function writeLists(folder: string, roles: string[], files: (role: string) => string[]): void {
  mkdirSync(folder, { recursive: true });
  // What a command takes from other steps directly has no name of its own.
  for (const role of roles.filter((role) => /^[\w-]+$/.test(role))) {
    const paths = files(role);
    writeFileSync(join(folder, `${role}.txt`), paths.map((path) => `${path}\n`).join(''));
    writeFileSync(join(folder, `${role}.0`), paths.map((path) => `${path}\0`).join(''));
  }
}
