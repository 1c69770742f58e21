/** Invalid YAML files and missing files. */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readPipeline } from '../../../engine/pipeline/index.ts';
import { Project, text } from './project.ts';

test('an unquoted expression in a flow map or list', async () => {
  const project = new Project();
  const screen = await project.screen(text`
    steps:
      a:
        uses: clean
        with: { data: $\{{ steps.b.data }}, lowercase: true }
      b:
        run: [echo, $\{{ params.x }}]
        inputs: {
          a: x,
          b: $\{{ params.y }},
        }
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:4:19: error: an expression must be quoted inside { } and [ ]
      4 |     with: { data: \${{ steps.b.data }}, lowercase: true }
        |                   ^^^^^^^^^^^^^^^^^^^
      = Quote it: "\${{ steps.b.data }}"

    p.yaml:6:17: error: an expression must be quoted inside { } and [ ]
      6 |     run: [echo, \${{ params.x }}]
        |                 ^^^^^^^^^^^^^^^
      = Quote it: "\${{ params.x }}"

    p.yaml:9:10: error: an expression must be quoted inside { } and [ ]
      9 |       b: \${{ params.y }},
        |          ^^^^^^^^^^^^^^^
      = Quote it: "\${{ params.y }}"
    "
  `);
});

test('duplicate keys, together with other errors', async () => {
  const project = new Project();
  const screen = await project.screen(text`
    steps:
      a:
        run: echo 1
        run: echo 2
        tmeout: 5s
      a: { run: echo 3 }
      b: { run: echo 4, env: { A: 1, "A": 2 } }
    steps: {}
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:4:5: error: duplicate key "run"
      4 |     run: echo 2
        |     ^^^
      = It is already set in line 3. Remove one of them.

    p.yaml:5:5: error: unknown key "tmeout"
      5 |     tmeout: 5s
        |     ^^^^^^
      = did you mean "timeout"?

    p.yaml:6:3: error: duplicate key "a"
      6 |   a: { run: echo 3 }
        |   ^
      = It is already set in line 2. Remove one of them.

    p.yaml:7:34: error: duplicate key "A"
      7 |   b: { run: echo 4, env: { A: 1, "A": 2 } }
        |                                  ^^^
      = It is already set in line 7. Remove one of them.

    p.yaml:8:1: error: duplicate key "steps"
      8 | steps: {}
        | ^^^^^
      = It is already set in line 1. Remove one of them.
    "
  `);
});

test.each([
  ['a quote that is never closed', 'steps:\n  a:\n    run: "echo\n  b:\n    run: echo\n'],
  ['a tab', 'steps:\n\ta: { run: echo }\n'],
  ['text with a colon', 'steps:\n  a:\n    run: echo a: b\n'],
  ['wrong indentation', 'steps:\n  a:\n    run: echo\n   timeout: 5s\n'],
  ['a reserved character', 'steps:\n  a:\n    run: @echo\n'],
  ['an open bracket', 'steps:\n  a:\n    needs: [b, c\n  b:\n    run: echo\n'],
  ['a tag', 'steps:\n  a:\n    run: !cmd echo\n'],
  ['two documents', 'steps:\n  a:\n    run: echo\n---\nsteps: {}\n'],
  ['a number without end', 'steps:\n  a:\n    run: echo\n    env: { A: .inf, B: 12345678901234567890 }\n'],
  ['a value within itself', 'params: &p { a: [*p] }\nsteps:\n  a:\n    run: echo\n'],
  ['a key that is a map', 'steps:\n  ? { a: b }\n  : { run: echo }\n'],
  ['an empty file', ''],
  ['comments only', '# nothing\n'],
  ['a list', '- a\n'],
  ['text', 'hello\n'],
  ['no steps', 'name: x\nstep: {}\n'],
  ['null steps', 'steps:\n'],
  ['no step', 'steps: {}\n'],
  ['a key of a step at the top', 'run: echo\n'],
])('%s', async (_, yaml) => {
  expect(await new Project().screen(yaml)).toMatchSnapshot();
});

test('aliases that grow exponentially', async () => {
  const lines = Array.from({ length: 12 }, (_, i) => `  a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`);
  const yaml = `params:\n  a0: &a0 x\n${lines.join('\n')}\nsteps: { a: { run: echo } }\n`;
  expect(await new Project().screen(yaml)).toContain('aliases expand this file to more than a million values');
});

test('a file that is not UTF-8', async () => {
  const yaml = Buffer.concat([Buffer.from('name: x\ndescription: caf'), Buffer.from([0xe9]), Buffer.from('\nsteps: {}\n')]);
  expect(await new Project().screen(yaml)).toMatchInlineSnapshot(`
    "p.yaml:2:17: error: this file is not UTF-8
      = Save it as UTF-8.
    "
  `);
  expect(await new Project().screen(Buffer.from('steps: {}\n', 'utf16le'))).toContain('not UTF-8');
  // U+FFFD itself is a valid character.
  expect((await new Project().read('description: "\ufffd"\nsteps: { a: { run: echo } }\n')).description).toBe('\ufffd');
});

test('a file that is missing, a folder, or not readable', async () => {
  const project = new Project({ 'spam.yaml': '', 'other.yml': '' });
  const at = (path: string) => project.shown(() => readPipeline(join(project.folder, path)));
  mkdirSync(join(project.folder, 'empty'));
  expect(await at('span.yaml')).toMatchInlineSnapshot(`
    "span.yaml: error: there is no such file
      = did you mean spam.yaml?
    "
  `);
  expect(await at('spam')).toMatchInlineSnapshot(`
    "spam: error: there is no such file
      = did you mean spam.yaml?
    "
  `);
  expect(await at('nothing-like-it.yaml')).toMatchInlineSnapshot(`
    "nothing-like-it.yaml: error: there is no such file
      = The folder contains: other.yml, spam.yaml
    "
  `);
  expect(await at('none/at/all.yaml')).toMatchInlineSnapshot(`
    "none/at/all.yaml: error: there is no such file
    "
  `);
  expect(await at('.')).toMatchInlineSnapshot(`
    "<project>: error: this is a folder, not a file
      = It contains: other.yml, spam.yaml
    "
  `);
  expect(await at('empty')).toMatchInlineSnapshot(`
    "empty: error: this is a folder, not a file
      = Name a .yaml file.
    "
  `);
  if (process.getuid?.() === 0) return; // root can read everything
  chmodSync(join(project.folder, 'spam.yaml'), 0);
  expect(await at('spam.yaml')).toContain('permission denied');
});

test('property names of JavaScript objects are ordinary names', async () => {
  const project = new Project();
  const pipeline = await project.read(text`
    params: { __proto__: 1, constructor: 2, toString: { hasOwnProperty: 3 } }
    steps:
      __proto__:
        matrix: { constructor: [1] }
        run: echo $\{{ params.__proto__ }} $\{{ params.constructor }} $\{{ params.toString.hasOwnProperty }} $\{{ matrix.constructor }}
        outputs: { __proto__: out/a }
      toString:
        run: cat $\{{ steps.__proto__.__proto__ }}
  `);
  expect(pipeline.cells.map(({ name, action }) => [name, (action as any).commands])).toEqual([
    ['__proto__[constructor=1]', ['echo 1 2 3 1']],
    ['toString[constructor=1]', ['cat out/a']],
  ]);
  expect(({} as any).polluted).toBeUndefined();
  expect(
    await project.screen('steps: { a: { run: "echo ${{ params.toString }}", valueOf: 1 }, b: { uses: constructor } }'),
  ).toMatchInlineSnapshot(`
    "p.yaml:1:37: error: there is no parameter "toString"
      1 | steps: { a: { run: "echo \${{ params.toString }}", valueOf: 1 }, b: { uses: constructor } }
        |                                     ^^^^^^^^
      = parameters: none

    p.yaml:1:51: error: unknown key "valueOf"
      1 | steps: { a: { run: "echo \${{ params.toString }}", valueOf: 1 }, b: { uses: constructor } }
        |                                                   ^^^^^^^
      = valid here: uses, with, run, shell, inputs, outputs, env, secrets, matrix, needs, timeout, retry, … (18)

    p.yaml:1:76: error: there is no step "constructor"
      1 | steps: { a: { run: "echo \${{ params.toString }}", valueOf: 1 }, b: { uses: constructor } }
        |                                                                            ^^^^^^^^^^^
      = steps: collect, clean, split, check, drift, reduce, tokenize, train, calibrate, evaluate, behavior, select, … (18)
        Write a custom step as ./my-step.ts. A package must be installed.
    "
  `);
});
