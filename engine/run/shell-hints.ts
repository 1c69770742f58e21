/** What probably went wrong in a command that failed, or that left out an output, where its text and its words show it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** What only bash knows, by how it is written. */
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

/** How a shell that is not bash complains about it. */
const COMPLAINT = /^[^:]*sh: .*(not found|[Ss]yntax error|[Bb]ad substitution|[Ii]llegal option|unexpected|bad variable|cannot open)/;

/** `tail`: the last lines that it wrote. `paths`: of its inputs and outputs, as they stand in the command. */
export function commandHint(command: string, shell: 'sh' | 'bash', tail: readonly string[], paths: readonly string[]): string | undefined {
  const [bashism] = BASHISMS.find(([, pattern]) => pattern.test(command)) ?? [];
  if (shell === 'sh' && bashism !== undefined && tail.some((line) => COMPLAINT.test(line)))
    return `${bashism} is bash, and commands run in /bin/sh: write \`shell: bash\` in this step`;
  const folder = folderIn(command);
  const lost = paths.find((path) =>
    tail.some((line) => line.includes(path) && /no such file|nonexistent|not found|cannot (open|create)/i.test(line)),
  );
  return folder !== undefined && lost !== undefined ? afterChange(folder, lost) : undefined;
}

/** For an output that was not made. `path`: from the pipeline's folder, `at`. */
export function misplacedHint(commands: readonly string[], path: string, at: string): string | undefined {
  const folder = commands.map(folderIn).find((folder) => folder !== undefined && existsSync(join(at, folder, path)));
  return folder === undefined ? undefined : `it was made at ${join(folder, path)}: ${afterChange(folder, path)}`;
}

function afterChange(folder: string, path: string): string {
  return `after \`cd ${folder}\` the path ${path}, which begins at the pipeline's folder, leads elsewhere: change the folder in a subshell that uses no such path, as in \`(cd ${folder} && make)\`, or write \`"$OLDPWD"/\` before it`;
}

/** The folder that a command changes to for the rest of it, and not in a subshell. */
function folderIn(command: string): string | undefined {
  const [, before = '', folder] = /^((?:[^(]*[\s;&|])?)cd\s+["']?([^\s;&|"')]+)/.exec(command) ?? [];
  return folder === undefined || before.includes('(') || folder.startsWith('-') ? undefined : folder;
}
