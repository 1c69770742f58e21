/** Hints about probable causes, with what to write instead. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { similarPath } from '../../../engine/files/paths.ts';
import { commandHint, misplacedHint } from '../../../engine/run/attempt.ts';
import { project } from '../../rig.ts';
import { temporary } from '../../steps/rig.ts';

const CD = /^Paths are relative to the pipeline's folder, so out\/o is wrong after `cd sub`\. .*`\(cd sub && make\)`.*`"\$OLDPWD"\/`/;

test.each<[command: string, line: string, what: string]>([
  ['[[ 1 == 1 ]]', '/bin/sh: 1: [[: not found', '[[ … ]]'],
  ['diff <(ls) <(ls a)', 'sh: 1: Syntax error: "(" unexpected', '<( … )'],
  ['cat <<< text', '/bin/sh: 1: Syntax error: redirection unexpected', '<<<'],
  ['a=(1 2); echo ${a[1]}', '/bin/sh: 1: Syntax error: "(" unexpected', 'an array'],
  ['set -o pipefail; ls', '/bin/sh: 1: set: Illegal option -o pipefail', 'pipefail'],
  ['source env.sh', '/bin/sh: 1: source: not found', 'source'],
  ['echo ${x//a/b}', '/bin/sh: 1: Bad substitution', '${x//…}'],
  ['shopt -s globstar', '/bin/sh: 1: shopt: not found', 'shopt'],
  ['mapfile -t x < p.yaml', '/bin/sh: 1: mapfile: not found', 'mapfile'],
  ['function f { ls; }; f', '/bin/sh: 1: Syntax error: "}" unexpected', 'function'],
  ['select x in a b; do break; done', '/bin/sh: 1: Syntax error: "do" unexpected', 'select'],
  ['((x++))', '/bin/sh: 1: x++: not found', '((…))'],
  ['ls |& cat', '/bin/sh: 1: Syntax error: "&" unexpected', '|&'],
  ['a=b; a+=c', '/bin/sh: 1: a+=c: not found', 'x+=…'],
  ['[ "$a" == b ]', '/bin/sh: 1: [: a: unexpected operator', '== in [ … ]'],
  ['read -r -a words < f', '/bin/sh: 1: read: Illegal option -a', 'read -r -a'],
  ['let n=1', '/bin/sh: 1: let: not found', 'let'],
  ['pushd sub', '/bin/sh: 1: pushd: not found', 'pushd'],
  ['for ((i = 0; i < 3; i++)); do ls; done', '/bin/sh: 1: Syntax error: Bad for loop variable', 'for ((…))'],
])('%s under sh', (command, line, what) => {
  expect(commandHint(command, 'sh', [line], [])).toBe(
    `${what} needs bash, but commands run in /bin/sh. Write \`shell: bash\` in this step.`,
  );
  expect(commandHint(command, 'bash', [line], [])).toBeUndefined();
  expect(commandHint(command, 'sh', ['it failed'], [])).toBeUndefined();
});

test('a command that changes the folder and then uses a path of the pipeline', () => {
  const tail = ['/bin/sh: 1: cannot create out/o: Directory nonexistent'];
  expect(commandHint('cd sub && echo > out/o', 'sh', tail, ['out/o'])).toMatch(CD);
  expect(commandHint('cat a; cd sub; cat out/o', 'bash', ['cat: out/o: No such file or directory'], ['out/o'])).toMatch(CD);
  expect(commandHint('(cd sub && ls) && cat out/o', 'sh', ['cat: out/o: No such file or directory'], ['out/o'])).toBeUndefined();
  expect(commandHint('cd sub && cat other', 'sh', ['cat: other: No such file or directory'], ['out/o'])).toBeUndefined();
});

test('no hint without bash syntax or a change of the folder', () => {
  for (const command of [
    '[ 1 = 1 ]',
    "awk 'BEGIN { x+=1 }'",
    'if lss a == b; then ls; fi',
    'read -r a',
    'echo $((1 + 2))',
    'echo "$x"',
    'f() { ls; }',
    'ls 2>&1',
    "echo 'a[[b'",
  ])
    expect(commandHint(command, 'sh', ['/bin/sh: 1: lss: not found'], []), command).toBeUndefined();
  expect(misplacedHint(['echo > out/o'], 'out/o', '/')).toBeUndefined();
});

test('an output that was created in another folder, with the command line', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: "mkdir -p sub/out && cd sub && echo > ${{ outputs.o }}", outputs: { o: out/o } } }' });
  const { stdout } = await p.run('run', 'p.yaml');
  expect(stdout).toContain(
    "did not make output o at out/o\n  It was created at sub/out/o. Paths are relative to the pipeline's folder, so out/o is wrong after `cd sub`.",
  );
});

test('a path that differs by case, Unicode form or a typo', () => {
  const folder = temporary();
  mkdirSync(join(folder, 'Data'));
  for (const name of ['Café.csv', 'mails.jsonl']) writeFileSync(join(folder, 'Data', name.normalize('NFC')), '');
  expect(similarPath('data/mails.jsonl', folder)).toBe('did you mean Data/mails.jsonl? Upper and lower case differ.');
  expect(similarPath('Data/mail.jsonl', folder)).toBe('did you mean Data/mails.jsonl?');
  expect(similarPath(`./Data/${'Café.csv'.normalize('NFD')}`, folder)).toMatch(
    /^did you mean Data\/Café\.csv\? The names look the same but differ in their Unicode form\. /,
  );
  expect(similarPath(join(folder, 'data', 'mails.jsonl'), '/')).toContain(join(folder, 'Data', 'mails.jsonl'));
  for (const path of ['Data/mails.jsonl', 'nothing/at/all', 'Data/quite-another', ''])
    expect(similarPath(path, folder), path).toBeUndefined();
});
