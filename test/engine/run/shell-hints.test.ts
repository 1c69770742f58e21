/** What is said of shell commands that fail in the common ways. The complaints are those of dash, bash's own sh and busybox. */
import { expect, test } from 'vitest';
import { shellHint } from '../../../engine/run/shell-hints.ts';
import { project } from '../../rig.ts';

const hint = (run: string, message: string, said: string, shell: 'sh' | 'bash' = 'sh') =>
  shellHint({ kind: 'shell', commands: [run], shell }, message, said === '' ? [] : [said]);

test.each([
  ['if [[ 1 == 1 ]]; then echo x > o; fi', 'did not make output o at o', '/bin/sh: 1: [[: not found'],
  ['a=(1 2); echo x', 'exited with 2', '/bin/sh: 1: Syntax error: "(" unexpected'],
  ['x=abc; echo ${x:0:1}', 'exited with 2', '/bin/sh: 1: Bad substitution'],
  ['source venv/bin/activate', 'exited with 127: a command was not found', '/bin/sh: 1: source: not found'],
  ['source venv/bin/activate', 'exited with 127: a command was not found', '/bin/sh: source: not found'],
  ['set -o pipefail', 'exited with 2', '/bin/sh: 1: set: Illegal option -o pipefail'],
  ['diff <(echo a) <(echo b)', 'exited with 2', '/bin/sh: syntax error: unexpected "("'],
  ['cat <<< hi', 'exited with 2', '/bin/sh: 1: Syntax error: redirection unexpected'],
  ['function f { echo; }; f', 'exited with 2', '/bin/sh: 1: Syntax error: "}" unexpected'],
  ['for ((i=0;i<3;i++)); do echo; done', 'exited with 2', '/bin/sh: 1: Syntax error: Bad for loop variable'],
  ['declare -A m', 'exited with 127: a command was not found', '/bin/sh: 1: declare: not found'],
])('bash under sh: %s', (run, message, said) => {
  expect(hint(run, message, said)).toBe('That is bash, and the command runs by /bin/sh: write `shell: bash` beside `run`.');
  expect(hint(run, message, said, 'bash')).toBeUndefined();
});

test.each([
  ['echo (a', 'exited with 2', '/bin/sh: 1: Syntax error: end of file unexpected'],
  ['pyhton train.py', 'exited with 127: a command was not found', '/bin/sh: 1: pyhton: not found'],
  ['cat x', 'exited with 1', 'cat: x: No such file or directory'],
  ['abcd x', 'exited with 1', 'cat: x: No such file or directory'],
  ['cd sub && make', 'exited with 2', 'make: *** No rule to make target'],
  ['cd sub && make', 'killed by SIGKILL', 'cat: x: No such file or directory'],
])('nothing is said of what is neither: %s, %s', (run, message, said) => {
  expect(hint(run, message, said)).toBeUndefined();
});

test('`cd` before a path of the pipeline: why it is not found, and a way that works', async () => {
  const p = project({
    'p.yaml': `steps:
  wrong: { run: "cd sub && echo hi > \${{ outputs.o }}", outputs: { o: out/wrong.txt } }
  lost: { run: "cd sub; mkdir -p out; cat x.txt > \${{ outputs.o }}", outputs: { o: out/lost.txt } }
  brackets: { run: "(cd sub && cat x.txt) > \${{ outputs.o }}", outputs: { o: out/brackets.txt } }
  old: { run: 'cd sub && cat x.txt > "$OLDPWD"/\${{ outputs.o }}', outputs: { o: out/old.txt } }
`,
    'sub/x.txt': 'x\n',
  });
  const { events } = await p.run('run', 'p.yaml', '--json', '--on-failure', 'continue');
  const ended = Object.fromEntries(events.filter(({ type }) => type === 'cell').map((event) => [event.cell, event]));
  for (const cell of ['wrong', 'lost'])
    expect(ended[cell].failure.hint).toMatch(/^Paths of inputs and outputs begin at the pipeline's folder/);
  expect([ended.brackets.state, ended.old.state]).toEqual(['ran', 'ran']);
  expect([p.read('out/brackets.txt'), p.read('out/old.txt')]).toEqual(['x\n', 'x\n']);
});
