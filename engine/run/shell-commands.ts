/**
 * Runs the commands of a shell step in order. A command that is too long for one argument is passed to the shell as a file.
 * For thousands of paths there are list files: `$TUNESMITH_INPUTS/NAME.txt` has one path of the input NAME per line, and
 * `NAME.0` has them for `xargs -0`.
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

/** Resolves with the failure; undefined on success. */
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

/** Maximum length of one argument in bytes. Linux allows 128 KiB. */
const LONGEST_ARGUMENT = 100_000;

function scriptOf(command: string, path: string): string {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `${command}\n`);
  return path;
}

function writeLists(folder: string, roles: string[], files: (role: string) => string[]): void {
  mkdirSync(folder, { recursive: true });
  // Outputs of other steps that a command uses directly have no role name.
  for (const role of roles.filter((role) => /^[\w-]+$/.test(role))) {
    const paths = files(role);
    writeFileSync(join(folder, `${role}.txt`), paths.map((path) => `${path}\n`).join(''));
    writeFileSync(join(folder, `${role}.0`), paths.map((path) => `${path}\0`).join(''));
  }
}
