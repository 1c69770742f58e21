/** Files that are not YAML or not a pipeline: the screens. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';
import { refusal, refusalIn } from './rig.ts';

test('bad YAML: an unclosed bracket', async () => {
  expect(await refusal('steps:\n  a:\n    run: [echo, x\n  b:\n    run: echo\n')).toMatchInlineSnapshot(`
    "
    p.yaml:3:10: error: bad YAML: this [ is never closed
      3 |     run: [echo, x
        |          ^
      = Close it with ].
    "
  `);
});

test('bad YAML: an unclosed quote', async () => {
  expect(await refusal('name: p\nsteps:\n  a:\n    run: "echo x\n  b:\n    run: echo y\n')).toMatchInlineSnapshot(`
    "
    p.yaml:4:10: error: bad YAML: this quote is never closed
      4 |     run: "echo x
        |          ^^^^^^^
      = Close it with ".
    "
  `);
});

test('bad YAML: indentation with a tab', async () => {
  expect(await refusal('steps:\n  a:\n\trun: echo\n')).toMatchInlineSnapshot(`
    "
    p.yaml:3:1: error: bad YAML: this line is indented with a tab
      3 |   run: echo
        | ^^
      = Indent it with spaces.
    "
  `);
});

test('bad YAML: text with a colon', async () => {
  expect(await refusal('steps:\n  a:\n    run: echo a: b\n')).toMatchInlineSnapshot(`
    "
    p.yaml:3:10: error: bad YAML: text that contains ": " must be quoted
      3 |     run: echo a: b
        |          ^^^^^^^^^
      = Quote it: "echo a: b"
    "
  `);
});

test('bad YAML: wrong indentation', async () => {
  expect(await refusal('steps:\n  a:\n      run: echo\n    outputs: { o: o.txt }\n')).toMatchInlineSnapshot(`
    "
    p.yaml:4:5: error: bad YAML: this line is not indented like the lines before it
      4 |     outputs: { o: o.txt }
        |     ^^^^^^^^^^^^^^^^^^^^^
      = All entries of a map or list begin in the same column.
    "
  `);
});

test('bad YAML: a merge conflict', async () => {
  expect(
    await refusal('steps:\n<<<<<<< HEAD\n  a: { run: echo 1 }\n=======\n  a: { run: echo 2 }\n>>>>>>> other\n'),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:2:1: error: this file contains a merge conflict
      2 | <<<<<<< HEAD
        | ^^^^^^^^^^^^
      = Choose one side and remove the conflict markers.
    "
  `);
});

test('bad YAML: a missing anchor, and one that contains itself', async () => {
  expect(await refusal('steps:\n  a: { run: echo, inputs: { x: *all } }\n  b: &b { run: echo, env: *b }\n')).toMatchInlineSnapshot(`
    "
    p.yaml:2:32: error: there is no anchor named all
      2 |   a: { run: echo, inputs: { x: *all } }
        |                                ^^^^
      = Text that begins with * must be quoted: "*all". An alias needs its anchor before it: &all.

    p.yaml:3:9: error: this value contains itself through an alias
      3 |   b: &b { run: echo, env: *b }
        |         ^^^^^^^^^^^^^^^^^^^^^^
      = Remove the alias.
    "
  `);
});

test('bad YAML: a number that JSON cannot represent', async () => {
  expect(await refusal('params: { big: 123456789012345678901, odd: .nan }\nsteps:\n  a: { run: echo }\n')).toMatchInlineSnapshot(`
    "
    p.yaml:1:44: error: a pipeline cannot contain the value .nan
      1 | params: { big: 123456789012345678901, odd: .nan }
        |                                            ^^^^
      = Remove it, or quote it to make it text.
    "
  `);
});

test('an unquoted ${{ in a flow map', async () => {
  expect(
    await refusal(
      'params: { n: 1, m: 2 }\nsteps:\n  a:\n    run: echo\n    inputs: { x: ${{ params.n }} }\n    outputs: { y: ${{ params.m }}.txt }\n',
    ),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:5:18: error: an expression must be quoted inside { } and [ ]
      5 |     inputs: { x: \${{ params.n }} }
        |                  ^^^^^^^^^^^^^^^
      = Quote it: "\${{ params.n }}"

    p.yaml:6:19: error: an expression must be quoted inside { } and [ ]
      6 |     outputs: { y: \${{ params.m }}.txt }
        |                   ^^^^^^^^^^^^^^^^^^^
      = Quote it: "\${{ params.m }}.txt"
    "
  `);
});

test('duplicate keys, all of them', async () => {
  expect(await refusal('name: p\nname: q\nsteps:\n  a:\n    run: echo\n    run: date\n  a: { run: echo }\n')).toMatchInlineSnapshot(`
    "
    p.yaml:2:1: error: duplicate key "name"
      2 | name: q
        | ^^^^
      = It is already set in line 1. Remove one of them.

    p.yaml:6:5: error: duplicate key "run"
      6 |     run: date
        |     ^^^
      = It is already set in line 5. Remove one of them.

    p.yaml:7:3: error: duplicate key "a"
      7 |   a: { run: echo }
        |   ^
      = It is already set in line 4. Remove one of them.
    "
  `);
});

test('an empty file', async () => {
  expect(await refusal('')).toMatchInlineSnapshot(`
    "
    p.yaml:1:1: error: p.yaml is empty
      = A pipeline is a map with \`steps:\`. \`tunesmith init\` creates an example.
    "
  `);
});

test('only comments', async () => {
  expect(await refusal('# nothing yet\n')).toMatchInlineSnapshot(`
    "
    p.yaml:1:1: error: p.yaml is empty
      1 | # nothing yet
        | ^
      = A pipeline is a map with \`steps:\`. \`tunesmith init\` creates an example.
    "
  `);
});

test('not a map', async () => {
  expect(await refusal('- run: echo\n')).toMatchInlineSnapshot(`
    "
    p.yaml:1:1: error: a pipeline is a map
      1 | - run: echo
        | ^
      = Write \`steps:\` with a map of steps. \`tunesmith init\` creates an example.
    "
  `);
});

test('no steps', async () => {
  expect(await refusal('name: p\n')).toMatchInlineSnapshot(`
    "
    p.yaml:1:1: error: this pipeline has no \`steps\`
      1 | name: p
        | ^
      = Write \`steps:\` with a map of steps.
    "
  `);
});

test('steps: {}', async () => {
  expect(await refusal('name: p\nsteps: {}\n')).toMatchInlineSnapshot(`
    "
    p.yaml:2:8: error: "steps" cannot be empty
      2 | steps: {}
        |        ^^
      = Write a step below it: its name, and below that \`uses:\` or \`run:\`.
    "
  `);
});

test('steps without a value', async () => {
  expect(await refusal('name: p\nsteps:\n')).toMatchInlineSnapshot(`
    "
    p.yaml:2:1: error: "steps" takes a map, found null
      2 | steps:
        | ^^^^^
      = Write a step below it: its name, and below that \`uses:\` or \`run:\`.
    "
  `);
});

test('two documents', async () => {
  expect(await refusal('steps:\n  a: { run: echo }\n---\nsteps:\n  b: { run: echo }\n')).toMatchInlineSnapshot(`
    "
    p.yaml:3:1: error: a second YAML document begins here
      3 | ---
        | ^^^
      = A pipeline is one document. Remove the \`---\`.
    "
  `);
});

test('a pipeline that is not UTF-8', async () => {
  expect(await refusal(Buffer.from('name: p\nsteps:\n  a:\n    run: echo caf\xe9\n', 'latin1'))).toMatchInlineSnapshot(`
    "
    p.yaml:4:18: error: this file is not UTF-8
      = Save it as UTF-8.
    "
  `);
});

test('a pipeline in UTF-16', async () => {
  expect(await refusal(Buffer.from('\ufeffsteps:\n  a: { run: echo }\n', 'utf16le'))).toMatchInlineSnapshot(`
    "
    p.yaml:1:1: error: this file is not UTF-8
      = Save it as UTF-8.
    "
  `);
});

test('a binary file', async () => {
  expect(await refusal(Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13]))).toMatchInlineSnapshot(`
    "
    p.yaml:1:1: error: this file is not UTF-8
      = Save it as UTF-8.
    "
  `);
});

test('a missing pipeline', async () => {
  const p = project({ 'spam.yaml': 'steps:\n  a: { run: echo }\n' });
  expect(await refusalIn(p, 'run', 'spma.yaml')).toMatchInlineSnapshot(`
    "
    spma.yaml: error: there is no such file
      = did you mean spam.yaml?
    "
  `);
});

test('a folder instead of a pipeline', async () => {
  const p = project({ 'pipelines/spam.yaml': 'steps:\n  a: { run: echo }\n' });
  expect(await refusalIn(p, 'run', 'pipelines')).toMatchInlineSnapshot(`
    "
    pipelines: error: this is a folder, not a file
      = It contains: pipelines/spam.yaml
    "
  `);
});

test('a broken link instead of a pipeline', async () => {
  const p = project();
  symlinkSync('gone.yaml', p.path('p.yaml'));
  expect(await refusalIn(p, 'run', 'p.yaml')).toMatchInlineSnapshot(`
    "
    p.yaml: error: this is a broken link to gone.yaml
      = Repair the link, or replace it by a file.
    "
  `);
});

test('a params file: missing, a folder, bad YAML, not a map, unknown and duplicate keys', async () => {
  const p = project({
    'p.yaml': 'params: { n: 1 }\nsteps:\n  a: { run: "echo ${{ params.n }}" }\n',
    'bad.yaml': 'n: [1\n',
    'list.json': '[1, 2]',
    'unknown.yaml': 'm: 1\nn: 2\nn: 3\n',
  });
  mkdirSync(p.path('folder'));
  const all = [];
  for (const file of ['gone.yaml', 'folder', 'bad.yaml', 'list.json', 'unknown.yaml']) {
    all.push(await refusalIn(p, 'run', 'p.yaml', '--params', file));
  }
  expect(all.join('')).toMatchInlineSnapshot(`
    "
    gone.yaml: error: there is no such file
      = The folder contains: bad.yaml, p.yaml, unknown.yaml

    folder: error: this is a folder, not a file
      = Name a .yaml file.

    bad.yaml:1:4: error: bad YAML: this [ is never closed
      1 | n: [1
        |    ^
      = Close it with ].

    list.json:1:1: error: a params file is a map
      1 | [1, 2]
        | ^
      = Write \`name: value\` lines, or a JSON object.

    unknown.yaml:1:1: error: there is no parameter "m"
      1 | m: 1
        | ^
      = parameters declared under \`params\`: n

    unknown.yaml:3:1: error: duplicate key "n"
      3 | n: 3
        | ^
      = It is already set in line 2. Remove one of them.
    "
  `);
});

test('messages name the params file: empty, an unsupported type, invalid JSON', async () => {
  const p = project({
    'p.yaml': 'params: { n: 1, day: today }\nsteps:\n  a: { run: "echo ${{ params.n }} ${{ params.day }}" }\n',
    'empty.yaml': '',
    'typed.yaml': 'day: !!timestamp 2020-01-01\n',
    'broken.json': '{ "n": [1 }\n',
  });
  const all = [];
  for (const file of ['empty.yaml', 'typed.yaml', 'broken.json']) all.push(await refusalIn(p, 'run', 'p.yaml', '--params', file));
  expect(all.join('')).toMatchInlineSnapshot(`
    "
    empty.yaml:1:1: error: empty.yaml is empty
      = A params file is a map of values for the parameters that the pipeline declares: \`name: value\` lines, or a JSON object.

    typed.yaml:1:6: error: a params file has no type !!timestamp
      1 | day: !!timestamp 2020-01-01
        |      ^^^^^^^^^^^
      = Remove the tag. Write a date, like any other text, without one.

    broken.json:1:8: error: bad JSON: this [ is never closed
      1 | { "n": [1 }
        |        ^
      = Close it with ].
    "
  `);
});
