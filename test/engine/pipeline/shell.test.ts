/** Values in commands: quoting is tested with real shells. */
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { parseCommand, withMatches, word } from '../../../engine/pipeline/shell.ts';
import { byName, commands, Project, text } from './project.ts';

const NASTY = [
  'a',
  '',
  ' ',
  "it's",
  '"',
  '$HOME',
  '`id`',
  '$(id)',
  'a\nb',
  '\\',
  "\\'",
  '*',
  '~',
  '!x',
  '#no',
  'a;b',
  'a&b',
  '-n',
  '{a,b}',
  'é 日本',
  '2',
  'A=1',
  'if',
  '\t',
  "''",
  '%s',
  '=ls',
];

test.each(['/bin/sh', 'bash'])('every value is one word for %s', (shell) => {
  const script = `printf '%s\\0' ${NASTY.map((value) => word(value)).join(' ')}`;
  const printed = execFileSync(shell, ['-c', script], { encoding: 'utf8' });
  expect(printed.split('\0').slice(0, -1)).toEqual(NASTY);
});

test.each(['/bin/sh', 'bash'])('at the start of a command and before a redirection, a value is one word for %s', (shell) => {
  const { folder } = new Project();
  const run = (script: string) => execFileSync(shell, ['-c', `${script} 2>&1 || true`], { cwd: folder, encoding: 'utf8' });
  expect(run(word('A=1'))).toContain('A=1');
  for (const keyword of ['if', 'while', 'case', 'for']) expect(run(word(keyword))).toContain('not found');
  expect(run(`echo ${word('2', true)}>file; cat file`)).toBe('2\n');
});

test('only values that need quotes are quoted', () => {
  const bare = ['abc', '0.0001', 'out/a-b_c.txt', '--lr=0.1', 'a@b', 'x,y:z', '+1', '100%'];
  expect(bare.map((value) => word(value))).toEqual(bare);
  expect(word('a b')).toBe("'a b'");
  expect(word("it's")).toBe(`'it'\\''s'`);
  expect(word('')).toBe("''");
});

/** The quoting context of each expression of a command. */
function contexts(command: string, shell: 'sh' | 'bash' = 'sh'): string[] {
  return parseCommand(command, shell).parts.flatMap((part) => (typeof part === 'string' ? [] : [part.context]));
}

const X = '${{ params.x }}';

test.each([
  [`echo ${X}`, ['word']],
  [`echo a${X}b ${X}${X}`, ['word', 'word', 'word']],
  [`echo '${X}' ${X}`, ['single', 'word']],
  [`echo "${X}" ${X}`, ['double', 'word']],
  [`echo "\\"${X}" ${X}`, ['double', 'word']],
  [`echo \\"${X}`, ['word']],
  [`echo 'it'\\''s' ${X}`, ['word']],
  [`echo "it's ${X}" ${X}`, ['double', 'word']],
  [`echo "$(cat ${X})" ${X}`, ['word', 'word']],
  [`echo "$(cat "${X}" '${X}' ${X})" ${X}`, ['double', 'single', 'word', 'word']],
  [`echo "$(echo ")" ${X}) ${X}"`, ['word', 'double']],
  [`echo $(echo ')' ${X}) ${X}`, ['word', 'word']],
  [`(cd ${X} && ls) | cat ${X}`, ['word', 'word']],
  [`echo "$(case a in a) echo ${X};; esac) ${X}"`, ['word', 'double']],
  [`echo \`cat ${X}\` ${X}`, ['backtick', 'word']],
  [`echo "\`cat ${X}\`"`, ['backtick']],
  [`echo \${HOME:-${X}} ${X}`, ['word', 'word']],
  [`echo "\${HOME:-${X}} ${X}" ${X}`, ['double', 'double', 'word']],
  [`echo "\${A:-"b"}" ${X}`, ['word']],
  [`echo \${#A} \${A#b} \${A%'}'} ${X}`, ['word']],
  [`echo $((1 + ${X})) ${X}`, ['arithmetic', 'word']],
  [`echo $(( (1 + 2) * ${X} )) ${X}`, ['arithmetic', 'word']],
  [`echo "$((${X} << 2))" ${X}`, ['arithmetic', 'word']],
  [`echo \\${X}`, ['escaped']],
  [`echo $${X} ${X}`, ['dollar', 'word']],
  [`# it's a comment\necho ${X}`, ['word']],
  [`# "${X}\necho ${X}`, ['word']],
  [`echo a # don't ${X}\necho ${X}`, ['word']],
  [`echo a#b ${X} $# ${X}`, ['word', 'word']],
  [`cat <<EOF\n${X} it's "\nEOF\necho ${X}`, ['here-document', 'word']],
  [`cat <<'EOF' ${X}\n${X}\nEOF\necho ${X}`, ['word', 'here-document', 'word']],
  [`cat <<-"E F"\n\t'\n\tE F\necho ${X}`, ['word']],
  [`cat <<A <<B\n'\nA\n"${X}\nB\necho ${X}`, ['here-document', 'word']],
  [`cat <<\\EOF\n'$(\nEOF\necho ${X}`, ['word']],
  [`if [ 1 -lt ${X} ]; then echo ${X}; fi`, ['word', 'word']],
  [`for f in ${X}; do echo "$f" ${X}; done`, ['word', 'word']],
  [`a() { echo ${X}; }; a ${X}`, ['word', 'word']],
])('%s', (command, expected) => {
  expect(contexts(command)).toEqual(expected);
});

test('contexts that only bash has', () => {
  expect(contexts(`echo $'it\\'s' ${X}`, 'bash')).toEqual(['word']);
  expect(contexts(`echo $'${X}' ${X}`, 'bash')).toEqual(['single', 'word']);
  expect(contexts(`cat <<< ${X} ; echo ${X}`, 'bash')).toEqual(['word', 'word']);
  expect(contexts(`(( n > ${X} )) && echo ${X}`, 'bash')).toEqual(['arithmetic', 'word']);
});

test('values, lists, paths and globs in commands', async () => {
  const project = new Project({ '-x.txt': '', 'data/a b.txt': '', 'data/c.txt': '', 'data/.hidden': '', 'e.txt': '' });
  const pipeline = await project.read(
    text`
    params: { text: "it's", list: [1, "a b", true, 2e-5], n: 2, empty: [] }
    steps:
      a:
        run: |
          # not used: $\{{ params.list }} and $\{{ steps.b.o }}
          echo $\{{ params.text }} $\{{ params.list }} $\{{ params.n }}>$\{{ outputs.o }} $((1+$\{{ params.n }})) --n=$\{{ params.n }} $\{{ params.empty }}.
          # kept
        outputs: { o: "-out" }
      b:
        run: cat $\{{ inputs.one }} $\{{ inputs.all }} $\{{ inputs.many }} $\{{ steps.a.o }}
        inputs: { one: "-x.txt", all: data/*.txt, many: [e.txt, "$\{{ steps.a.o }}"] }
        outputs: { o: out/b }
  `.replace(' ${{ params.empty }}.', ''),
  );
  const { a, b } = byName(pipeline);
  expect(commands(a!)).toEqual([`\necho 'it'\\''s' 1 'a b' true 2e-5 '2'>./-out $((1+2)) --n=2\n# kept\n`]);
  expect(commands(b!)).toEqual(['cat ./-x.txt ${{ inputs.all }} e.txt ./-out ./-out']);
  expect(Object.keys(a!.inputs)).toEqual([]);
  expect(withMatches(commands(b!)[0]!, () => ['data/a b.txt', '-c.txt'])).toBe("cat ./-x.txt 'data/a b.txt' ./-c.txt e.txt ./-out ./-out");
});

test('values that are not allowed in a command', async () => {
  const project = new Project({ 'data/a.txt': '' });
  const screen = await project.screen(
    text`
    params: { list: [1, 2], map: { a: 1 }, none: null, text: a b, nul: "a\\0b", mixed: [1, [2]] }
    steps:
      a:
        inputs: { all: data/*.txt }
        run:
          - echo "$\{{ params.text }}" '$\{{ params.text }}' \`$\{{ params.text }}\`
          - |
            cat <<EOF
            $\{{ params.text }}
            EOF
          - echo --all=$\{{ params.list }} x$\{{ inputs.all }}
          - echo $\{{ params.map }} $\{{ params.none }} $\{{ params.mixed }}
          - echo $(( 1 + $\{{ params.text }} )) \\$\{{ params.text }} $$\{{ params.text }}
          - echo $\{{ params.nul }}
  `.replace('\\\\0', '\\0'),
  );
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:6:15: error: an expression cannot be inside shell quotes
      6 |       - echo "\${{ params.text }}" '\${{ params.text }}' \`\${{ params.text }}\`
        |               ^^^^^^^^^^^^^^^^^^
      = Move it out of the quotes, because \${{ params.text }} becomes a safely quoted word itself.

    p.yaml:6:36: error: an expression cannot be inside shell quotes
      6 |       - echo "\${{ params.text }}" '\${{ params.text }}' \`\${{ params.text }}\`
        |                                    ^^^^^^^^^^^^^^^^^^
      = Move it out of the quotes, because \${{ params.text }} becomes a safely quoted word itself.

    p.yaml:6:57: error: an expression cannot be inside backticks
      6 |       - echo "\${{ params.text }}" '\${{ params.text }}' \`\${{ params.text }}\`
        |                                                         ^^^^^^^^^^^^^^^^^^
      = Write $(…) instead of \`…\`.

    p.yaml:9:9: error: an expression cannot be inside a here-document
      9 |         \${{ params.text }}
        |         ^^^^^^^^^^^^^^^^^^
      = Declare it as \`env: {NAME: "\${{ params.text }}"}\` and write $NAME.

    p.yaml:11:20: error: params.list is a list, which becomes several words and cannot be part of another word
      11 |       - echo --all=\${{ params.list }} x\${{ inputs.all }}
         |                    ^^^^^^^^^^^^^^^^^^
      = Put a space before and after it.

    p.yaml:11:40: error: inputs.all is a list, which becomes several words and cannot be part of another word
      11 |       - echo --all=\${{ params.list }} x\${{ inputs.all }}
         |                                        ^^^^^^^^^^^^^^^^^
      = Put a space before and after it.

    p.yaml:12:14: error: params.map is a map, which cannot be a word of a command
      12 |       - echo \${{ params.map }} \${{ params.none }} \${{ params.mixed }}
         |              ^^^^^^^^^^^^^^^^^
      = Use text, a number, true or false.

    p.yaml:12:32: error: params.none is null, which cannot be a word of a command
      12 |       - echo \${{ params.map }} \${{ params.none }} \${{ params.mixed }}
         |                                ^^^^^^^^^^^^^^^^^^
      = Use text, a number, true or false.

    p.yaml:12:51: error: params.mixed is a list with a list, which cannot be a word of a command
      12 |       - echo \${{ params.map }} \${{ params.none }} \${{ params.mixed }}
         |                                                   ^^^^^^^^^^^^^^^^^^^
      = Use text, a number, true or false.

    p.yaml:13:22: error: params.text is "a b", which is not a number that the shell can calculate with
      13 |       - echo $(( 1 + \${{ params.text }} )) \\\${{ params.text }} $\${{ params.text }}
         |                      ^^^^^^^^^^^^^^^^^^
      = $((…)) accepts only integers from -2^63 to 2^63 - 1.

    p.yaml:13:45: error: an expression cannot directly follow a backslash
      13 |       - echo $(( 1 + \${{ params.text }} )) \\\${{ params.text }} $\${{ params.text }}
         |                                             ^^^^^^^^^^^^^^^^^^
      = Remove the character before it.

    p.yaml:13:65: error: an expression cannot directly follow a $
      13 |       - echo $(( 1 + \${{ params.text }} )) \\\${{ params.text }} $\${{ params.text }}
         |                                                                 ^^^^^^^^^^^^^^^^^^
      = Remove the character before it.

    p.yaml:14:9: error: a command cannot hold a NUL character
      14 |       - echo \${{ params.nul }}
         |         ^^^^^^^^^^^^^^^^^^^^^^
    "
  `);
});
