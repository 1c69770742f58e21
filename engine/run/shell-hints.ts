/** What to do about a shell command that failed in one of the ways that people meet most: bash under sh, and `cd` before a path. */
import type { ShellAction } from '../pipeline/pipeline.ts';

/** `message`: how it failed. `tail`: the last lines that it wrote. Undefined where there is nothing to say. */
export function shellHint({ commands, shell }: ShellAction, message: string, tail: string[]): string | undefined {
  if (!/^(exited with|did not make)/.test(message)) return undefined;
  const said = tail.join('\n');
  const command = commands.join('\n');
  if (shell === 'sh' && (BASH_COMPLAINTS.test(said) || (SYNTAX_COMPLAINTS.test(said) && BASH_SYNTAX.test(command))))
    return 'That is bash, and the command runs by /bin/sh: write `shell: bash` beside `run`.';
  if (CHANGES_FOLDER.test(command) && (message.startsWith('did not make') || LOST_PATH.test(said)))
    return (
      "Paths of inputs and outputs begin at the pipeline's folder, and `cd` leaves it. Write `(cd sub && command) > ${{ outputs.o }}`,\n" +
      'or put `"$OLDPWD"/` before the path.'
    );
  return undefined;
}

/** What dash, busybox and others say of words and expansions that only bash has. */
const BASH_COMPLAINTS =
  /(^|[\s:])(\[\[|source|declare|typeset|let|pushd|popd|shopt|mapfile|readarray|coproc|function): (not found|command not found)|[Bb]ad substitution|[Ii]llegal option -?o? ?pipefail|invalid option name: pipefail|Bad for loop variable/;

const SYNTAX_COMPLAINTS = /[Ss]yntax error/;

/** `a=(…)`, `<(…)`, `<<<`, `for ((`, `((…))`, `function f {`, `[[`. */
const BASH_SYNTAX = /\w\+?=\(|[<>]\(|<<<|for\s*\(\(|(^|[;&|]\s*)\(\(|\bfunction\s+\w+|\[\[|&>|\|&/m;

const CHANGES_FOLDER = /(^|[;&|({]\s*)(cd|pushd)\s+(?!["']?\$\{?OLDPWD)[^\s;&|]/m;
const LOST_PATH = /No such file or directory|nonexistent|cannot create|can't open|cannot open/i;
