/** Hints for a command that failed or did not create an output, derived from its text and its output. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Syntax that only bash supports, with its name. */
const BASHISMS: [what: string, pattern: RegExp][] = [
  ['[[ … ]]', /(^|[\s;&|(!])\[\[\s/],
  ['<( … )', /[<>]\(/],
  ['<<<', /<<</],
  ['an array', /(^|[\s;&|])\w+\+?=\(/],
  ['&>', /&>/],
  ['pipefail', /\bset\s+-[a-z]*o\s+pipefail|\bpipefail\b/],
  ['source', /(^|[\s;&|(])source\s/],
  ['$' + '{x//…}', /\$\{!?\w+(\/|\^|,|:\d|\[)/],
  ["$'…'", /\$'/],
  ['declare', /(^|[\s;&|(])(declare|typeset|shopt|mapfile|readarray)\s/],
  ['let', /(^|[\s;&|(])let\s/],
  ['pushd', /(^|[\s;&|(])(pushd|popd)\b/],
  ['for ((…))', /\bfor\s*\(\(/],
  ['function', /(^|[\s;&|])function\s+\w+/],
];

/** How a shell other than bash reports such syntax. */
const COMPLAINT = /^[^:]*sh: .*(not found|[Ss]yntax error|[Bb]ad substitution|[Ii]llegal option|unexpected|bad variable|cannot open)/;

/** `tail`: the last lines of its output. `paths`: of its inputs and outputs as in the command. */
export function commandHint(command: string, shell: 'sh' | 'bash', tail: readonly string[], paths: readonly string[]): string | undefined {
  const [bashism] = BASHISMS.find(([, pattern]) => pattern.test(command)) ?? [];
  if (shell === 'sh' && bashism !== undefined && tail.some((line) => COMPLAINT.test(line)))
    return `${bashism} needs bash, but commands run in /bin/sh. Write \`shell: bash\` in this step.`;
  const folder = folderIn(command);
  const lost = paths.find((path) =>
    tail.some((line) => line.includes(path) && /no such file|nonexistent|not found|cannot (open|create)/i.test(line)),
  );
  return folder !== undefined && lost !== undefined ? afterChange(folder, lost) : undefined;
}

/** The hint for a missing output. `path`: relative to the pipeline's folder `at`. */
export function misplacedHint(commands: readonly string[], path: string, at: string): string | undefined {
  const folder = commands.map(folderIn).find((folder) => folder !== undefined && existsSync(join(at, folder, path)));
  return folder === undefined ? undefined : `It was created at ${join(folder, path)}. ${afterChange(folder, path)}`;
}

function afterChange(folder: string, path: string): string {
  return `Paths are relative to the pipeline's folder, so ${path} is wrong after \`cd ${folder}\`. Change the folder in a subshell that does not use the path, as in \`(cd ${folder} && make)\`, or write \`"$OLDPWD"/\` before the path.`;
}

/** The folder that a command changes to outside of a subshell. */
function folderIn(command: string): string | undefined {
  const [, before = '', folder] = /^((?:[^(]*[\s;&|])?)cd\s+["']?([^\s;&|"')]+)/.exec(command) ?? [];
  return folder === undefined || before.includes('(') || folder.startsWith('-') ? undefined : folder;
}
