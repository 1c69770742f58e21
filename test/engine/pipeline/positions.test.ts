/** All errors together, each with its position: whole screens. */
import { expect, test } from 'vitest';
import { renderDiagnostics } from '../../../engine/contract/errors.ts';
import { Project, text } from './project.ts';

test('all errors of a file, in its order', async () => {
  const project = new Project({ 'data/a.txt': 'a' });
  const screen = await project.screen(text`
    name: demo
    version: 1
    params: { lr: fast }
    steps:
      clean:
        uses: clean
        with: { data: data, lowercse: true, remove: [htm] }
        resources: { gpus: 1 }
      words:
        run: cat $\{{ inputs.wrds }} $\{{ params.lrr }}
        inputs: { words: data/*.txt }
        timeout: 90
        cache: sometimes
      both:
        uses: clean
        run: echo
        needs: [word]
      nothing:
        description: It does nothing.
      9lives: { run: meow }
      list: []
      train:
        uses: split
        shell: bash
        inputs: { a: b }
        outputs: { a: b }
      shell:
        run: echo $\{{ steps.words.list }}
        with: { a: 1 }
        shell: zsh
        retry: { delay: 3 }
        needs: shell
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:2:1: error: "version" belongs to a step
      2 | version: 1
        | ^^^^^^^
      = Write it below a step's name, below \`steps\`.

    p.yaml:7:25: error: unknown option "lowercse"
      7 |     with: { data: data, lowercse: true, remove: [htm] }
        |                         ^^^^^^^^
      = did you mean "lowercase"?

    p.yaml:7:50: error: "remove[0]" cannot be "htm"
      7 |     with: { data: data, lowercse: true, remove: [htm] }
        |                                                  ^^^
      = did you mean "html"? valid: html, urls, emails, special_characters, numbers

    p.yaml:8:18: error: unknown key "gpus"
      8 |     resources: { gpus: 1 }
        |                  ^^^^
      = did you mean "gpu"? valid here: cpu, gpu, memory

    p.yaml:10:25: error: there is no input "wrds"
      10 |     run: cat \${{ inputs.wrds }} \${{ params.lrr }}
         |                         ^^^^
      = did you mean "words"? inputs of this step: words

    p.yaml:10:44: error: there is no parameter "lrr"
      10 |     run: cat \${{ inputs.wrds }} \${{ params.lrr }}
         |                                            ^^^
      = did you mean "lr"? parameters: lr

    p.yaml:12:14: error: "timeout" takes a time such as 90s, 5m, 2h or 1h30m, found 90
      12 |     timeout: 90
         |              ^^

    p.yaml:13:12: error: "cache" takes true or false, found "sometimes"
      13 |     cache: sometimes
         |            ^^^^^^^^^

    p.yaml:16:5: error: \`uses\` and \`run\` cannot be used together
      16 |     run: echo
         |     ^^^
      = Write two steps, or remove one of the keys.

    p.yaml:17:13: error: there is no step "word"
      17 |     needs: [word]
         |             ^^^^
      = did you mean "words"? steps: clean, words, nothing, 9lives, list, train, shell

    p.yaml:18:3: error: step "nothing" does nothing
      18 |   nothing:
         |   ^^^^^^^
      = Write \`uses:\` with the name of a step, or \`run:\` with a command.

    p.yaml:20:3: error: "9lives" cannot be a name here
      20 |   9lives: { run: meow }
         |   ^^^^^^
      = It takes a name of letters, digits, _ and - that does not begin with a digit.

    p.yaml:21:3: error: step "list" takes a map
      21 |   list: []
         |   ^^^^
      = Write \`uses:\` with the name of a step, or \`run:\` with a command.

    p.yaml:22:3: error: missing input "data" of split
      22 |   train:
         |   ^^^^^
      = Write \`data:\` below \`with\`, with a path or \${{ steps.STEP.OUTPUT }}. A table.

    p.yaml:24:5: error: \`shell\` cannot be used with \`uses\`
      24 |     shell: bash
         |     ^^^^^
      = Remove it. \`shell\` applies only to \`run\`.

    p.yaml:25:5: error: \`inputs\` cannot be used with \`uses\`
      25 |     inputs: { a: b }
         |     ^^^^^^
      = Write the inputs under \`with\`.

    p.yaml:26:5: error: \`outputs\` cannot be used with \`uses\`
      26 |     outputs: { a: b }
         |     ^^^^^^^
      = Remove it. The step itself declares its outputs.

    p.yaml:28:31: error: step "words" has no output "list"
      28 |     run: echo \${{ steps.words.list }}
         |                               ^^^^
      = its outputs: none

    p.yaml:29:5: error: \`with\` cannot be used with \`run\`
      29 |     with: { a: 1 }
         |     ^^^^
      = A command has \`inputs\`, \`outputs\` and \`env\`. Write values in it as \${{ params.NAME }}.

    p.yaml:30:12: error: "shell" cannot be "zsh"
      30 |     shell: zsh
         |            ^^^
      = did you mean "sh"? valid: sh, bash

    p.yaml:31:5: error: missing "retry.times"
      31 |     retry: { delay: 3 }
         |     ^^^^^

    p.yaml:31:21: error: "retry.delay" takes a time such as 90s, 5m, 2h or 1h30m, found 3
      31 |     retry: { delay: 3 }
         |                     ^

    p.yaml:32:12: error: a step cannot need itself
      32 |     needs: shell
         |            ^^^^^
      = Remove it.
    "
  `);
});

test('an error in a referenced value points at its origin', async () => {
  const project = new Project({ 'data/a.txt': 'a', 'p.json': '{"common": {"lowercase": "maybe"}}' });
  const yaml = text`
    params:
      length: short
      alias: $\{{ params.length }}
      common: { lowercase: true, min: 3 }
      grid: [1, two]
      list: [html, htm]
    steps:
      a:
        uses: clean
        with:
          data: data
          min_length: $\{{ params.alias }}
          lowercase: $\{{ params.common.lowercase }}
          remove: $\{{ params.list }}
      b:
        uses: clean
        matrix: { min: [1, none], length: "$\{{ params.grid }}", drop: [[urls], [url]] }
        with: { data: data, min_length: "$\{{ matrix.min }}", max_length: "$\{{ matrix.length }}" }
      c:
        uses: clean
        matrix: { set: [{ lowercase: true }, { lowercase: 1 }] }
        with: { data: data, lowercase: "$\{{ matrix.set.lowercase }}" }
      d:
        uses: clean
        with: { data: data, lowercase: "$\{{ matrix.set.lowercase }}", min_length: "$\{{ params.common.min }}" }
  `;
  expect(await project.screen(yaml, { paramsFile: `${project.folder}/p.json`, set: ['common.min=few'] })).toMatchInlineSnapshot(`
    "p.yaml:2:11: error: "min_length" takes a whole number, found "short"
      2 |   length: short
        |           ^^^^^

    p.yaml:6:16: error: "remove[1]" cannot be "htm"
      6 |   list: [html, htm]
        |                ^^^
      = did you mean "html"? valid: html, urls, emails, special_characters, numbers

    p.yaml:17:68: error: "matrix.drop[0]" takes a scalar or a map, found a list
      17 |     matrix: { min: [1, none], length: "\${{ params.grid }}", drop: [[urls], [url]] }
         |                                                                    ^^^^^^

    p.yaml:17:76: error: "matrix.drop[1]" takes a scalar or a map, found a list
      17 |     matrix: { min: [1, none], length: "\${{ params.grid }}", drop: [[urls], [url]] }
         |                                                                            ^^^^^

    p.yaml:21:55: error: "lowercase" takes true or false, found 1
      21 |     matrix: { set: [{ lowercase: true }, { lowercase: 1 }] }
         |                                                       ^

    p.yaml:25:48: error: there is no matrix.set
      25 |     with: { data: data, lowercase: "\${{ matrix.set.lowercase }}", min_length: "\${{ params.common.min…
         |                                                ^^^
      = This step neither has nor inherits a matrix.

    p.json:1:26: error: "lowercase" takes true or false, found "maybe"
      1 | {"common": {"lowercase": "maybe"}}
        |                          ^^^^^^^

    -p common.min=few: error: "min_length" takes a whole number, found "few"
    "
  `);
});

test('through anchors, aliases and merge keys', async () => {
  const project = new Project({ 'data/a.txt': 'a' });
  const screen = await project.screen(text`
    steps:
      a: &base
        uses: clean
        with: &with
          data: data
          lowercas: true
      b:
        <<: *base
        timeout: &time 5
      c:
        uses: clean
        with:
          <<: [*with]
          lowercase: *time
      d:
        uses: clean
        with: *nothing
      e:
        <<: 3
        uses: clean
        with: { data: *.txt }
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:6:7: error: unknown option "lowercas"
      6 |       lowercas: true
        |       ^^^^^^^^
      = did you mean "lowercase"?

    p.yaml:9:20: error: "timeout" takes a time such as 90s, 5m, 2h or 1h30m, found 5
      9 |     timeout: &time 5
        |                    ^

    p.yaml:14:18: error: "lowercase" takes true or false, found 5
      14 |       lowercase: *time
         |                  ^^^^^

    p.yaml:17:11: error: there is no anchor named nothing
      17 |     with: *nothing
         |           ^^^^^^^^
      = Text that begins with * must be quoted: "*nothing". An alias needs its anchor before it: &nothing.

    p.yaml:19:5: error: << takes a map, or a list of maps
      19 |     <<: 3
         |     ^^
      = For example \`<<: *defaults\`.

    p.yaml:21:19: error: there is no anchor named .txt
      21 |     with: { data: *.txt }
         |                   ^^^^^
      = Text that begins with * must be quoted: "*.txt". An alias needs its anchor before it: &.txt.
    "
  `);
});

test('CRLF and a byte order mark do not shift positions', async () => {
  const project = new Project();
  const yaml = '\ufeffsteps:\r\n  a:\r\n    run: |\r\n      echo one\r\n      echo ${{ params.x }}\r\n    tmeout: 5s\r\n';
  expect(await project.screen(yaml)).toMatchInlineSnapshot(`
    "p.yaml:5:23: error: there is no parameter "x"
      5 |       echo \${{ params.x }}
        |                       ^
      = parameters: none

    p.yaml:6:5: error: unknown key "tmeout"
      6 |     tmeout: 5s
        |     ^^^^^^
      = did you mean "timeout"?
    "
  `);
  const { cells } = await project.read('\ufeffsteps:\r\n  a:\r\n    run: |\r\n      echo one\r\n      echo two\r\n');
  expect(cells[0]!.action).toEqual({ kind: 'shell', commands: ['echo one\necho two\n'], shell: 'sh' });
});

test('the caret is under the right columns', () => {
  const show = (source: string, part: string) => {
    const column = source.indexOf(part) + 1;
    return renderDiagnostics([{ file: 'f', line: 7, column, length: part.length, message: 'm', source }], { color: false });
  };
  expect(show('\ta: wrong', 'wrong')).toBe(text`
    f:7:5: error: m
      7 |   a: wrong
        |      ^^^^^
  `);
  expect(show('日本語: 👩‍👩‍👧 wrong', 'wrong')).toBe(text`
    f:7:15: error: m
      7 | 日本語: 👩‍👩‍👧 wrong
        |            ^^^^^
  `);
  expect(show('é\u0301: 한글', '한글')).toBe('f:7:5: error: m\n  7 | é\u0301: 한글\n    |    ^^^^\n');
  expect(show('a: \u001b[31mred', 'red')).toContain('a: �[31mred');
  const long = show(`${'a'.repeat(300)} wrong ${'b'.repeat(300)}`, 'wrong').split('\n');
  expect(long[1]!.length).toBeLessThan(120);
  expect(long[1]!.slice(long[2]!.indexOf('^'), long[2]!.indexOf('^') + 5)).toBe('wrong');
  expect(show('', '')).toContain('    | ^');
  const start = process.cpuUsage();
  show('x'.repeat(5_000_000) + 'here' + 'y'.repeat(5_000_000), 'here');
  expect(process.cpuUsage(start).user).toBeLessThan(1e6);
  const end = show(`key: ${'x'.repeat(400)}`, 'x'.repeat(400)).split('\n');
  expect(end[2]!.trimEnd().length).toBeLessThan(120);
});

test('a diagnostic without a position, with and without colour', () => {
  const flag = { file: '-p lr=abc', line: 0, column: 0, length: 0, message: 'm', hint: 'h\ni' };
  expect(renderDiagnostics([flag], { color: false })).toBe('-p lr=abc: error: m\n  = h\n    i\n');
  expect(renderDiagnostics([{ ...flag, file: '' }], { color: true })).toContain('\u001b[31m');
});
