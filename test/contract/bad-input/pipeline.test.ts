/** Invalid pipelines: unknown and missing keys, wrong types, cycles, conflicts. */
import { expect, test } from 'vitest';
import { expectAsJson, refusal } from './rig.ts';

test('unknown keys of the file and of its steps, all at once', async () => {
  expect(
    await refusal(`
nmae: p
author: me
steps:
  a:
    run: echo
    output: { o: o.txt }
    matrx: { x: [1] }
    colour: red
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:2:1: error: unknown key "nmae"
      2 | nmae: p
        | ^^^^
      = did you mean "name"? valid here: name, description, params, steps

    p.yaml:3:1: error: unknown key "author"
      3 | author: me
        | ^^^^^^
      = valid here: name, description, params, steps

    p.yaml:7:5: error: unknown key "output"
      7 |     output: { o: o.txt }
        |     ^^^^^^
      = did you mean "outputs"?

    p.yaml:8:5: error: unknown key "matrx"
      8 |     matrx: { x: [1] }
        |     ^^^^^
      = did you mean "matrix"?

    p.yaml:9:5: error: unknown key "colour"
      9 |     colour: red
        |     ^^^^^^
      = valid here: uses, with, run, shell, inputs, outputs, env, secrets, matrix, needs, timeout, retry, … (18)
    "
  `);
});

test('a key of a step at the top level', async () => {
  expect(await refusal('run: echo\nsteps:\n  a: { run: echo }\n')).toMatchInlineSnapshot(`
    "
    p.yaml:1:1: error: "run" belongs to a step
      1 | run: echo
        | ^^^
      = Write it below a step's name, below \`steps\`.
    "
  `);
});

test('steps under another name', async () => {
  expect(await refusal('step:\n  a: { run: echo }\n')).toMatchInlineSnapshot(`
    "
    p.yaml:1:1: error: unknown key "step"
      1 | step:
        | ^^^^
      = did you mean "steps"? valid here: name, description, params, steps
    "
  `);
});

test('keys of later releases are rejected, never ignored', async () => {
  expect(
    await refusal(`
steps:
  a:
    run: echo
    sweep: { trials: 3 }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:5:5: error: "sweep" is not implemented yet
      5 |     sweep: { trials: 3 }
        |     ^^^^^
      = Remove it.
    "
  `);
});

test('how a step is to be scheduled', async () => {
  expect(
    await refusal(`
params: { m: 8 }
steps:
  a: { run: echo, resources: { gpus: 1, cpu: 0, memory: 8 } }
  b: { run: echo, resources: {}, retry: { times: 2, factor: 2, delay: 1s, max_delay: soon } }
  c: { run: echo, retry: { times: 2, factor: 0.5 }, version: 1.5 }
  d: { run: echo, resources: { memory: "\${{ params.m }}" }, frozen: "\${{ params.m }}" }
  e: { run: "echo > e.txt", outputs: { o: e.txt }, frozen: true, cache: false }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:2:14: error: "resources.memory" takes a size such as 512MB, 8GB or 1.5GiB, found 8
      2 | params: { m: 8 }
        |              ^

    p.yaml:2:14: error: "frozen" takes true or false, found 8
      2 | params: { m: 8 }
        |              ^

    p.yaml:4:32: error: unknown key "gpus"
      4 |   a: { run: echo, resources: { gpus: 1, cpu: 0, memory: 8 } }
        |                                ^^^^
      = did you mean "gpu"? valid here: cpu, gpu, memory

    p.yaml:4:46: error: "resources.cpu" takes a number of at least 1, found 0
      4 |   a: { run: echo, resources: { gpus: 1, cpu: 0, memory: 8 } }
        |                                              ^

    p.yaml:4:57: error: "resources.memory" takes a size such as 512MB, 8GB or 1.5GiB, found 8
      4 |   a: { run: echo, resources: { gpus: 1, cpu: 0, memory: 8 } }
        |                                                         ^

    p.yaml:5:30: error: "resources" cannot be empty
      5 |   b: { run: echo, resources: {}, retry: { times: 2, factor: 2, delay: 1s, max_delay: soon } }
        |                              ^^

    p.yaml:5:86: error: "retry.max_delay" takes a time such as 90s, 5m, 2h or 1h30m, found "soon"
      5 |   b: { run: echo, resources: {}, retry: { times: 2, factor: 2, delay: 1s, max_delay: soon } }
        |                                                                                      ^^^^

    p.yaml:6:38: error: "retry.factor" has no effect without "delay"
      6 |   c: { run: echo, retry: { times: 2, factor: 0.5 }, version: 1.5 }
        |                                      ^^^^^^

    p.yaml:6:46: error: "retry.factor" takes a number of at least 1, found 0.5
      6 |   c: { run: echo, retry: { times: 2, factor: 0.5 }, version: 1.5 }
        |                                              ^^^

    p.yaml:6:62: error: "version" takes a whole number or text, found 1.5
      6 |   c: { run: echo, retry: { times: 2, factor: 0.5 }, version: 1.5 }
        |                                                              ^^^

    p.yaml:8:60: error: \`frozen\` and \`cache: false\` cannot be used together
      8 |   e: { run: "echo > e.txt", outputs: { o: e.txt }, frozen: true, cache: false }
        |                                                            ^^^^
      = A frozen step reuses its stored result, but \`cache: false\` stores none.
    "
  `);
});

test('wrong types', async () => {
  expect(
    await refusal(`
name: [p]
steps:
  a:
    run: { echo: hi }
    outputs: o.txt
    timeout: 90
    retry: often
    cache: maybe
    needs: 3
    env: 5
    secrets: KEY
    shell: zsh
    matrix: [1, 2]
  b: echo
  c:
  d: { run: [] }
  e: { run: "" }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:2:7: error: "name" takes text, found a list
      2 | name: [p]
        |       ^^^

    p.yaml:5:10: error: "run" takes text or a list (of text), found a map
      5 |     run: { echo: hi }
        |          ^^^^^^^^^^^^

    p.yaml:6:14: error: "outputs" takes a map, found "o.txt"
      6 |     outputs: o.txt
        |              ^^^^^

    p.yaml:7:14: error: "timeout" takes a time such as 90s, 5m, 2h or 1h30m, found 90
      7 |     timeout: 90
        |              ^^

    p.yaml:8:12: error: "retry" takes a count, or a map with \`times\`, \`delay\`, \`factor\` and \`max_delay\`, found "often"
      8 |     retry: often
        |            ^^^^^

    p.yaml:9:12: error: "cache" takes true or false, found "maybe"
      9 |     cache: maybe
        |            ^^^^^

    p.yaml:10:12: error: "needs" takes text or a list (of text), found 3
      10 |     needs: 3
         |            ^

    p.yaml:11:10: error: "env" takes a list of names, or a map of names and values, found 5
      11 |     env: 5
         |          ^

    p.yaml:12:14: error: "secrets" takes a list of names of variables, found "KEY"
      12 |     secrets: KEY
         |              ^^^
      = Write a list: [KEY]

    p.yaml:13:12: error: "shell" cannot be "zsh"
      13 |     shell: zsh
         |            ^^^
      = did you mean "sh"? valid: sh, bash

    p.yaml:14:13: error: "matrix" takes a map, found a list
      14 |     matrix: [1, 2]
         |             ^^^^^^

    p.yaml:15:3: error: step "b" takes a map
      15 |   b: echo
         |   ^
      = Write \`uses:\` with the name of a step, or \`run:\` with a command.

    p.yaml:16:3: error: step "c" takes a map
      16 |   c:
         |   ^
      = Write \`uses:\` with the name of a step, or \`run:\` with a command.

    p.yaml:17:13: error: "run" cannot be empty
      17 |   d: { run: [] }
         |             ^^

    p.yaml:18:13: error: "run" cannot be empty
      18 |   e: { run: "" }
         |             ^^
    "
  `);
});

test('times and counts', async () => {
  expect(
    await refusal(`
steps:
  a: { run: echo, timeout: soon, retry: -1 }
  b: { run: echo, timeout: 0s, retry: { times: 2, delay: 5 } }
  c: { run: echo, retry: { delay: 5s } }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:3:28: error: "timeout" takes a time such as 90s, 5m, 2h or 1h30m, found "soon"
      3 |   a: { run: echo, timeout: soon, retry: -1 }
        |                            ^^^^

    p.yaml:3:41: error: "retry" takes a number of at least 0, found -1
      3 |   a: { run: echo, timeout: soon, retry: -1 }
        |                                         ^^

    p.yaml:4:28: error: "timeout" takes a time above 0, found "0s"
      4 |   b: { run: echo, timeout: 0s, retry: { times: 2, delay: 5 } }
        |                            ^^
      = For example 90s, 5m or 2h.

    p.yaml:4:58: error: "retry.delay" takes a time such as 90s, 5m, 2h or 1h30m, found 5
      4 |   b: { run: echo, timeout: 0s, retry: { times: 2, delay: 5 } }
        |                                                          ^

    p.yaml:5:19: error: missing "retry.times"
      5 |   c: { run: echo, retry: { delay: 5s } }
        |                   ^^^^^
    "
  `);
});

test('invalid names', async () => {
  expect(
    await refusal(`
steps:
  "a b": { run: echo }
  1st: { run: echo }
  ok: { run: echo, outputs: { "../o": o.txt }, inputs: { "x y": p.yaml } }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:3:3: error: "a b" cannot be a name here
      3 |   "a b": { run: echo }
        |   ^^^^^
      = It takes a name of letters, digits, _ and - that does not begin with a digit.

    p.yaml:4:3: error: "1st" cannot be a name here
      4 |   1st: { run: echo }
        |   ^^^
      = It takes a name of letters, digits, _ and - that does not begin with a digit.

    p.yaml:5:31: error: "../o" cannot be a name here
      5 |   ok: { run: echo, outputs: { "../o": o.txt }, inputs: { "x y": p.yaml } }
        |                               ^^^^^^
      = It takes a name of letters, digits, _ and - that does not begin with a digit.

    p.yaml:5:58: error: "x y" cannot be a name here
      5 |   ok: { run: echo, outputs: { "../o": o.txt }, inputs: { "x y": p.yaml } }
        |                                                          ^^^^^
      = It takes a name of letters, digits, _ and - that does not begin with a digit.
    "
  `);
});

test('a step without `uses` and `run`, and one with both', async () => {
  expect(
    await refusal(`
steps:
  a: { description: later }
  b: { run: echo, uses: clean }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:3:3: error: step "a" does nothing
      3 |   a: { description: later }
        |   ^
      = Write \`uses:\` with the name of a step, or \`run:\` with a command.

    p.yaml:4:8: error: \`uses\` and \`run\` cannot be used together
      4 |   b: { run: echo, uses: clean }
        |        ^^^
      = Write two steps, or remove one of the keys.
    "
  `);
});

test('keys that cannot be used together', async () => {
  expect(
    await refusal(`
params: { d: out }
steps:
  a: { run: echo, with: { seed: 1 } }
  b:
    uses: clean
    with: { data: table }
    shell: bash
    inputs: { data: table }
    outputs: { o: o.txt }
  c: { run: echo, env: [TOKEN], secrets: [TOKEN] }
  d:
    uses: train
    with: { tokens: table, model: base, task: text-classification, epochs: 1, early_stopping: { patience: 2 }, lr_scheduler_type: constant, warmup_steps: 10 }
  e:
    uses: select
    with: { from: p.yaml, pick: p.yaml, maximize: f1, minimize: loss }
  f:
    uses: clean
    with: { data: table, keep_characters: "@" }
  g:
    uses: collect
    with: { files: p.yaml, format: jsonl, delimiter: ";" }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:4:19: error: \`with\` cannot be used with \`run\`
      4 |   a: { run: echo, with: { seed: 1 } }
        |                   ^^^^
      = A command has \`inputs\`, \`outputs\` and \`env\`. Write values in it as \${{ params.NAME }}.

    p.yaml:8:5: error: \`shell\` cannot be used with \`uses\`
      8 |     shell: bash
        |     ^^^^^
      = Remove it. \`shell\` applies only to \`run\`.

    p.yaml:9:5: error: \`inputs\` cannot be used with \`uses\`
      9 |     inputs: { data: table }
        |     ^^^^^^
      = Write the inputs under \`with\`.

    p.yaml:10:5: error: \`outputs\` cannot be used with \`uses\`
      10 |     outputs: { o: o.txt }
         |     ^^^^^^^
      = Remove it. The step itself declares its outputs.

    p.yaml:11:43: error: TOKEN is listed in both \`env\` and \`secrets\`
      11 |   c: { run: echo, env: [TOKEN], secrets: [TOKEN] }
         |                                           ^^^^^
      = Remove it from \`env\`, because a secret must not enter the fingerprint.

    p.yaml:14:95: error: \`early_stopping\` needs more than one epoch, or \`eval_strategy: steps\`
      14 | …sk: text-classification, epochs: 1, early_stopping: { patience: 2 }, lr_scheduler_type: constant, wa…
         |                                                      ^^^^^^^^^^^^^^^

    p.yaml:14:155: error: \`lr_scheduler_type: constant\` has no warmup: use \`constant_with_warmup\`
      14 | …ication, epochs: 1, early_stopping: { patience: 2 }, lr_scheduler_type: constant, warmup_steps: 10 }
         |                                                                                                  ^^

    p.yaml:17:65: error: \`maximize\` and \`minimize\` exclude each other
      17 |     with: { from: p.yaml, pick: p.yaml, maximize: f1, minimize: loss }
         |                                                                 ^^^^

    p.yaml:20:43: error: \`keep_characters\` needs \`special_characters\` in \`remove\`
      20 |     with: { data: table, keep_characters: "@" }
         |                                           ^^^

    p.yaml:23:54: error: \`delimiter\` applies to CSV, not to jsonl
      23 |     with: { files: p.yaml, format: jsonl, delimiter: ";" }
         |                                                      ^^^
    "
  `);
});

test('unknown steps: built-in, from a package, from a file', async () => {
  expect(
    await refusal(
      `
steps:
  a: { uses: colect }
  b: { uses: "@acme/steps" }
  c: { uses: ./dedup.ts }
  d: { uses: dedupe }
  e: { uses: ./folder }
`,
      { 'dedupe.ts': '', 'folder/x.txt': '' },
    ),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:3:14: error: there is no step "colect"
      3 |   a: { uses: colect }
        |              ^^^^^^
      = did you mean "collect"?
        Write a custom step as ./my-step.ts. A package must be installed.

    p.yaml:4:14: error: there is no step "@acme/steps"
      4 |   b: { uses: "@acme/steps" }
        |              ^^^^^^^^^^^^^
      = steps: collect, clean, split, check, drift, reduce, tokenize, train, calibrate, evaluate, behavior, select, … (18)
        Write a custom step as ./my-step.ts. A package must be installed.

    p.yaml:5:14: error: there is no file ./dedup.ts
      5 |   c: { uses: ./dedup.ts }
        |              ^^^^^^^^^^
      = did you mean ./dedupe.ts?

    p.yaml:6:14: error: there is no step "dedupe"
      6 |   d: { uses: dedupe }
        |              ^^^^^^
      = To use the file, write ./dedupe.ts

    p.yaml:7:14: error: ./folder is not a step
      7 |   e: { uses: ./folder }
        |              ^^^^^^^^
      = A step is a .ts, .js or .mjs file.
    "
  `);
});

test('unknown and missing options of a built-in step', async () => {
  expect(
    await refusal(`
steps:
  split:
    uses: split
    with:
      data: table
      ratio: [0.8, 0.2]
      stratfy: label
  clean:
    uses: clean
  train:
    uses: train
    with: { tokens: table }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:7:7: error: unknown option "ratio"
      7 |       ratio: [0.8, 0.2]
        |       ^^^^^
      = did you mean "ratios"? split takes: data, previous, ratios, assign, stratify, group, seed, key

    p.yaml:8:7: error: unknown option "stratfy"
      8 |       stratfy: label
        |       ^^^^^^^
      = did you mean "stratify"? split takes: data, previous, ratios, assign, stratify, group, seed, key

    p.yaml:9:3: error: missing input "data" of clean
      9 |   clean:
        |   ^^^^^
      = Write \`data:\` below \`with\`, with a path or \${{ steps.STEP.OUTPUT }}. A table.

    p.yaml:13:5: error: missing input "model" of train
      13 |     with: { tokens: table }
         |     ^^^^
      = Write \`model:\` below \`with\`, with a path or \${{ steps.STEP.OUTPUT }}. A Hugging Face model folder. Without weights, training starts from random weights.
    "
  `);
});

test('options with a wrong type or out of range', async () => {
  expect(
    await refusal(`
steps:
  clean:
    uses: clean
    with:
      data: table
      remove: [html, emojis]
      lowercase: "yes"
  split:
    uses: split
    with: { data: table, ratios: [0.8, 0, 0.2], seed: x }
  other:
    uses: split
    with: { data: table, ratios: [0.8, 0.8] }
  train:
    uses: train
    with: { tokens: table, model: base, task: text-classification, epochs: -1, learning_rate: fast }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:7:22: error: "remove[1]" cannot be "emojis"
      7 |       remove: [html, emojis]
        |                      ^^^^^^
      = valid: html, urls, emails, special_characters, numbers

    p.yaml:8:18: error: "lowercase" takes true or false, found "yes"
      8 |       lowercase: "yes"
        |                  ^^^^^

    p.yaml:11:40: error: "ratios[1]" takes a number above 0, found 0
      11 |     with: { data: table, ratios: [0.8, 0, 0.2], seed: x }
         |                                        ^

    p.yaml:11:55: error: "seed" takes a whole number, found "x"
      11 |     with: { data: table, ratios: [0.8, 0, 0.2], seed: x }
         |                                                       ^

    p.yaml:14:34: error: \`ratios\` must sum to 1; they sum to 1.6
      14 |     with: { data: table, ratios: [0.8, 0.8] }
         |                                  ^^^^^^^^^^

    p.yaml:17:76: error: "epochs" takes a number of at least 1, found -1
      17 |     with: { tokens: table, model: base, task: text-classification, epochs: -1, learning_rate: fast }
         |                                                                            ^^

    p.yaml:17:95: error: "learning_rate" takes a number, found "fast"
      17 |     with: { tokens: table, model: base, task: text-classification, epochs: -1, learning_rate: fast }
         |                                                                                               ^^^^
    "
  `);
});

test("a value of `params` or `matrix` that breaks an option's schema", async () => {
  expect(
    await refusal(`
params:
  epochs: many
  nested: { warmup: -3 }
steps:
  train:
    uses: train
    matrix:
      rate: [0.001, quick]
      include: [{ rate: 0.001, batch: 0 }, { rate: quick, batch: 16 }]
    with:
      tokens: table
      model: base
      task: text-classification
      epochs: \${{ params.epochs }}
      learning_rate: \${{ matrix.rate }}
      batch_size: \${{ matrix.batch }}
      warmup_steps: \${{ params.nested.warmup }}
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:3:11: error: "epochs" takes a whole number, found "many"
      3 |   epochs: many
        |           ^^^^

    p.yaml:4:21: error: "warmup_steps" takes a number of at least 0, found -3
      4 |   nested: { warmup: -3 }
        |                     ^^

    p.yaml:9:21: error: "learning_rate" takes a number, found "quick"
      9 |       rate: [0.001, quick]
        |                     ^^^^^

    p.yaml:10:39: error: "batch_size" takes a number of at least 1, found 0
      10 |       include: [{ rate: 0.001, batch: 0 }, { rate: quick, batch: 16 }]
         |                                       ^
    "
  `);
});

test('references to missing things', async () => {
  expect(
    await refusal(`
params: { size: 1, nested: { depth: 2 } }
steps:
  make: { run: "echo > \${{ outputs.o }}", outputs: { o: o.txt } }
  use:
    run: |
      echo \${{ params.sise }} \${{ params.nested.dept }}
      echo \${{ matrix.rate }}
      cat \${{ steps.mak.o }} \${{ steps.make.p }} \${{ inputs.data }} \${{ outputs.x }}
      ls \${{ npm('@acme/none') }}
    inputs: { dat: p.yaml }
    outputs: { y: y.txt }
    needs: [mke, use]
  own: { run: "cat \${{ steps.own.o }}", outputs: { o: own.txt } }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:7:23: error: there is no parameter "sise"
      7 |       echo \${{ params.sise }} \${{ params.nested.dept }}
        |                       ^^^^
      = did you mean "size"? parameters: size, nested

    p.yaml:7:49: error: params.nested has no "dept"
      7 |       echo \${{ params.sise }} \${{ params.nested.dept }}
        |                                                 ^^^^
      = did you mean "depth"? params.nested has: depth

    p.yaml:8:23: error: there is no matrix.rate
      8 |       echo \${{ matrix.rate }}
        |                       ^^^^
      = This step neither has nor inherits a matrix.

    p.yaml:9:21: error: there is no step "mak"
      9 |       cat \${{ steps.mak.o }} \${{ steps.make.p }} \${{ inputs.data }} \${{ outputs.x }}
        |                     ^^^
      = did you mean "make"? steps: make, own

    p.yaml:9:45: error: step "make" has no output "p"
      9 |       cat \${{ steps.mak.o }} \${{ steps.make.p }} \${{ inputs.data }} \${{ outputs.x }}
        |                                             ^
      = its outputs: o

    p.yaml:9:61: error: there is no input "data"
      9 |       cat \${{ steps.mak.o }} \${{ steps.make.p }} \${{ inputs.data }} \${{ outputs.x }}
        |                                                             ^^^^
      = did you mean "dat"? inputs of this step: dat

    p.yaml:9:81: error: there is no output "x"
      9 |       cat \${{ steps.mak.o }} \${{ steps.make.p }} \${{ inputs.data }} \${{ outputs.x }}
        |                                                                                 ^
      = outputs of this step: y

    p.yaml:10:19: error: the package @acme/none is not installed
      10 |       ls \${{ npm('@acme/none') }}
         |                   ^^^^^^^^^^
      = Install it: npm install -D @acme/none

    p.yaml:13:13: error: there is no step "mke"
      13 |     needs: [mke, use]
         |             ^^^
      = did you mean "make"? steps: make, own

    p.yaml:13:18: error: a step cannot need itself
      13 |     needs: [mke, use]
         |                  ^^^
      = Remove it.

    p.yaml:14:30: error: a step cannot read its own output
      14 |   own: { run: "cat \${{ steps.own.o }}", outputs: { o: own.txt } }
         |                              ^^^
      = Write \${{ outputs.o }} for its path.
    "
  `);
});

test('invalid expressions', async () => {
  expect(
    await refusal(`
params: { n: 1 }
steps:
  a: { run: "echo \${{ params.n + 1 }}" }
  b: { run: "echo \${{ parms.n }}" }
  c: { run: "echo \${{ params.n" }
  d: { run: "echo \${{ }}" }
  e: { run: "echo \${{ steps.a }}" }
  f: { run: "echo \${{ secrets.KEY }}" }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:4:23: error: expressions have no operators
      4 |   a: { run: "echo \${{ params.n + 1 }}" }
        |                       ^^^^^^^^^^^^
      = Write params.a.b, matrix.k, steps.s.out, steps.s[*].out, inputs.r, outputs.n or npm('pkg').

    p.yaml:5:23: error: there is no "parms"
      5 |   b: { run: "echo \${{ parms.n }}" }
        |                       ^^^^^
      = did you mean "params"? an expression begins with: params, matrix, steps, inputs, outputs, npm

    p.yaml:6:19: error: this expression is not closed
      6 |   c: { run: "echo \${{ params.n" }
        |                   ^^^^^^^^^^^^
      = End it with }}.

    p.yaml:7:19: error: this expression is empty
      7 |   d: { run: "echo \${{ }}" }
        |                   ^^^^^^
      = Write params.a.b, matrix.k, steps.s.out, steps.s[*].out, inputs.r, outputs.n or npm('pkg').

    p.yaml:8:23: error: "steps.a" is an incomplete reference
      8 |   e: { run: "echo \${{ steps.a }}" }
        |                       ^^^^^^^
      = Write \${{ steps.STEP.OUTPUT }} or \${{ steps.STEP[*].OUTPUT }}.

    p.yaml:9:23: error: \${{ secrets.… }} does not exist
      9 |   f: { run: "echo \${{ secrets.KEY }}" }
        |                       ^^^^^^^^^^^
      = Declare it in the step's \`secrets\`, and read it in the command as $KEY.
    "
  `);
});

test('a reference inside shell quotes, and a list inside text', async () => {
  expect(
    await refusal(`
params: { name: x, list: [a, b] }
steps:
  a:
    run: |
      echo "hello \${{ params.name }}"
      echo 'hello \${{ params.name }}'
      echo x-\${{ params.list }}
    outputs: { o: "out/\${{ params.list }}.txt" }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:6:19: error: an expression cannot be inside shell quotes
      6 |       echo "hello \${{ params.name }}"
        |                   ^^^^^^^^^^^^^^^^^^
      = Move it out of the quotes, because \${{ params.name }} becomes a safely quoted word itself.

    p.yaml:7:19: error: an expression cannot be inside shell quotes
      7 |       echo 'hello \${{ params.name }}'
        |                   ^^^^^^^^^^^^^^^^^^
      = Move it out of the quotes, because \${{ params.name }} becomes a safely quoted word itself.

    p.yaml:8:14: error: params.list is a list, which becomes several words and cannot be part of another word
      8 |       echo x-\${{ params.list }}
        |              ^^^^^^^^^^^^^^^^^^
      = Put a space before and after it.

    p.yaml:9:24: error: params.list is a list, which cannot be part of a text
      9 |     outputs: { o: "out/\${{ params.list }}.txt" }
        |                        ^^^^^^^^^^^^^^^^^^
      = Use text, a number, true or false.
    "
  `);
});

test('a cycle of references prints the closed path', async () => {
  expect(
    await refusal(`
steps:
  a: { run: "cat \${{ steps.c.o }} > \${{ outputs.o }}", outputs: { o: a.txt } }
  b: { run: "cat \${{ steps.a.o }} > \${{ outputs.o }}", outputs: { o: b.txt } }
  c: { run: "cat \${{ steps.b.o }} > \${{ outputs.o }}", outputs: { o: c.txt } }
  d: { run: "cat \${{ steps.c.o }}", needs: e }
  e: { run: echo, needs: d }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:3:18: error: these steps depend on each other: a → b → c → a
      3 |   a: { run: "cat \${{ steps.c.o }} > \${{ outputs.o }}", outputs: { o: a.txt } }
        |                  ^^^^^^^^^^^^^^^^
      = Remove one of the references.

    p.yaml:6:44: error: these steps depend on each other: d → e → d
      6 |   d: { run: "cat \${{ steps.c.o }}", needs: e }
        |                                            ^
      = Remove one of the references.
    "
  `);
});

test('a cycle through paths', async () => {
  expect(
    await refusal(`
steps:
  a: { run: "cat \${{ inputs.i }}/x > \${{ outputs.o }}", inputs: { i: made }, outputs: { o: a.txt } }
  b: { run: "mkdir \${{ outputs.o }}", inputs: { i: "\${{ steps.a.o }}" }, outputs: { o: made } }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:3:70: error: these cells depend on each other: a → b → a
      3 |   a: { run: "cat \${{ inputs.i }}/x > \${{ outputs.o }}", inputs: { i: made }, outputs: { o: a.txt } }
        |                                                                      ^^^^
      = This path is inside an output of b.
    "
  `);
});

test('equal and nested outputs', async () => {
  expect(
    await refusal(`
steps:
  a: { run: echo, outputs: { o: out/a.txt } }
  b: { run: echo, outputs: { o: out/a.txt } }
  c: { run: echo, outputs: { o: out/d } }
  d: { run: echo, outputs: { o: out/d/e.txt } }
  e: { run: echo, outputs: { one: e, two: e } }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:4:33: error: two cells write out/a.txt: a and b
      4 |   b: { run: echo, outputs: { o: out/a.txt } }
        |                                 ^^^^^^^^^
      = Give each output its own path.

    p.yaml:6:33: error: out/d/e.txt, an output of d, is inside out/d, an output of c
      6 |   d: { run: echo, outputs: { o: out/d/e.txt } }
        |                                 ^^^^^^^^^^^
      = Give each output its own path.

    p.yaml:7:43: error: two outputs of e have the path e: one and two
      7 |   e: { run: echo, outputs: { one: e, two: e } }
        |                                           ^
      = Give each output its own path.
    "
  `);
});

test('cells of a matrix that write to the same path', async () => {
  expect(
    await refusal(`
steps:
  train:
    matrix: { rate: [1, 2], size: [16, 32] }
    run: echo > \${{ outputs.o }}
    outputs: { o: out/model.txt }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:6:19: error: two cells write out/model.txt: train[rate=1,size=16] and train[rate=1,size=32], and 2 more
      6 |     outputs: { o: out/model.txt }
        |                   ^^^^^^^^^^^^^
      = Give each cell its own path: out/\${{ matrix.size }}-\${{ matrix.rate }}/model.txt
    "
  `);
});

test('outputs outside the project, at the project root, in .tunesmith, at the pipeline file, with a glob', async () => {
  expect(
    await refusal(`
steps:
  a: { run: echo, outputs: { o: ../o.txt } }
  b: { run: echo, outputs: { o: /tmp/o.txt } }
  c: { run: echo, outputs: { o: . } }
  d: { run: echo, outputs: { o: .tunesmith/o.txt } }
  e: { run: echo, outputs: { o: p.yaml } }
  f: { run: echo, outputs: { o: "out/*.txt" } }
  g: { run: echo, outputs: { o: "" } }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:3:33: error: output "o" is outside the project (<project>)
      3 |   a: { run: echo, outputs: { o: ../o.txt } }
        |                                 ^^^^^^^^
      = Use a path inside the project, for example out/o.txt.

    p.yaml:4:33: error: output "o" is outside the project (<project>)
      4 |   b: { run: echo, outputs: { o: /tmp/o.txt } }
        |                                 ^^^^^^^^^^
      = Use a path inside the project, for example out/o.txt.

    p.yaml:5:33: error: output "o" is the whole project (<project>)
      5 |   c: { run: echo, outputs: { o: . } }
        |                                 ^
      = Use a folder inside the project, for example out/o.

    p.yaml:6:33: error: output "o" is inside .tunesmith, which tunesmith manages itself
      6 |   d: { run: echo, outputs: { o: .tunesmith/o.txt } }
        |                                 ^^^^^^^^^^^^^^^^
      = Use a different path, for example out/o.

    p.yaml:7:33: error: output "o" would replace the pipeline file itself
      7 |   e: { run: echo, outputs: { o: p.yaml } }
        |                                 ^^^^^^
      = Use a different path, for example out/o.

    p.yaml:8:33: error: output "o" is a glob
      8 |   f: { run: echo, outputs: { o: "out/*.txt" } }
        |                                 ^^^^^^^^^^^
      = An output is one file or folder. Name the folder that holds the files.

    p.yaml:9:33: error: "outputs.o" cannot be empty
      9 |   g: { run: echo, outputs: { o: "" } }
        |                                 ^^
    "
  `);
});

test('a step that writes onto its own input', async () => {
  expect(
    await refusal('steps:\n  a: { run: echo, inputs: { i: data.txt }, outputs: { o: data.txt } }\n', { 'data.txt': 'mine\n' }),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:2:32: error: a would read its own output data.txt
      2 |   a: { run: echo, inputs: { i: data.txt }, outputs: { o: data.txt } }
        |                                ^^^^^^^^
      = Give the input a narrower path, or move the output.
    "
  `);
});

test('matrices without combinations', async () => {
  expect(
    await refusal(`
params: { none: [] }
steps:
  a: { matrix: { x: [] }, run: echo }
  b: { matrix: { x: "\${{ params.none }}" }, run: echo }
  c: { matrix: { x: [1], exclude: [{ x: 1 }] }, run: echo }
  d: { matrix: {}, run: echo }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:2:17: error: "matrix.x" cannot be empty
      2 | params: { none: [] }
        |                 ^^

    p.yaml:4:21: error: "matrix.x" cannot be empty
      4 |   a: { matrix: { x: [] }, run: echo }
        |                     ^^

    p.yaml:6:8: error: this matrix has no combinations
      6 |   c: { matrix: { x: [1], exclude: [{ x: 1 }] }, run: echo }
        |        ^^^^^^
      = \`exclude\` removes every combination. Exclude fewer, or add some with \`include\`.

    p.yaml:7:16: error: "matrix" cannot be empty
      7 |   d: { matrix: {}, run: echo }
        |                ^^
    "
  `);
});

test('steps whose inherited dimensions have no values in common', async () => {
  expect(
    await refusal(`
steps:
  a: { matrix: { x: [1] }, run: "echo > \${{ outputs.o }}", outputs: { o: a.txt } }
  b: { matrix: { x: [2] }, run: "echo > \${{ outputs.o }}", outputs: { o: b.txt } }
  c: { run: "cat \${{ steps.a.o }} \${{ steps.b.o }}" }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:5:3: error: step "c" has no cells, because the matrices of a and b have no values in common
      5 |   c: { run: "cat \${{ steps.a.o }} \${{ steps.b.o }}" }
        |   ^
      = Dimensions of the same name are joined on equal values.
    "
  `);
});

test('a word instead of a list of words or a map', async () => {
  expect(
    await refusal(`
steps:
  t:
    uses: train
    with: { tokens: table, model: base, early_stopping: true }
  e:
    uses: evaluate
    with: { model: base, tokens: table, metrics: f1 }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:5:57: error: "early_stopping" takes a map, found true
      5 |     with: { tokens: table, model: base, early_stopping: true }
        |                                                         ^^^^
      = It takes a map of metric, patience, min_delta.

    p.yaml:8:50: error: "metrics" takes a list (of "accuracy", "balanced_accuracy", "precision", … (41)), found "f1"
      8 |     with: { model: base, tokens: table, metrics: f1 }
        |                                                  ^^
      = Write a list: [f1]
    "
  `);
});

test('invalid matrices', async () => {
  expect(
    await refusal(`
params: { n: 3 }
steps:
  a: { matrix: { x: 5 }, run: echo }
  b: { matrix: { x: "\${{ params.n }}" }, run: echo }
  c: { matrix: { x: [1, 1] }, run: echo }
  d: { matrix: { x: [1], exclude: [{ y: 1 }] }, run: echo }
  e: { matrix: { x: [1, 2] }, run: "echo > \${{ outputs.o }}", outputs: { o: "e\${{ matrix.x }}" } }
  f: { matrix: { x: [3] }, run: "cat \${{ steps.e.o }}" }
  g: { matrix: { x: [[1, 2]] }, run: echo }
`),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:2:14: error: "matrix.x" takes a list (of a scalar or a map), found 3
      2 | params: { n: 3 }
        |              ^
      = Write a list: [3]

    p.yaml:4:21: error: "matrix.x" takes a list (of a scalar or a map), found 5
      4 |   a: { matrix: { x: 5 }, run: echo }
        |                     ^
      = Write a list: [5]

    p.yaml:6:25: error: 1 occurs twice in "x"
      6 |   c: { matrix: { x: [1, 1] }, run: echo }
        |                         ^
      = Each value makes its own cell. Remove one of them.

    p.yaml:7:38: error: "y" is not a dimension of this matrix
      7 |   d: { matrix: { x: [1], exclude: [{ y: 1 }] }, run: echo }
        |                                      ^
      = dimensions: x

    p.yaml:9:18: error: this step already inherits the dimension "x" from step "e"
      9 |   f: { matrix: { x: [3] }, run: "cat \${{ steps.e.o }}" }
        |                  ^
      = Remove it, or give it another name.

    p.yaml:10:22: error: "matrix.x[0]" takes a scalar or a map, found a list
      10 |   g: { matrix: { x: [[1, 2]] }, run: echo }
         |                      ^^^^^^
    "
  `);
});

test('inputs without a match stop the run before it starts', async () => {
  expect(
    await refusal(
      `
steps:
  first: { run: "echo > \${{ outputs.o }}", outputs: { o: first.txt } }
  a: { run: "cat \${{ inputs.i }}", inputs: { i: dta/words.txt } }
  b: { run: "cat \${{ inputs.i }}", inputs: { i: ["data/*.csv", data/words.txt] } }
  c: { uses: collect, with: { files: "mails/**/*.eml", select: { text: body } } }
`,
      { 'data/words.txt': 'x\n' },
    ),
  ).toMatchInlineSnapshot(`
    "
    p.yaml:4:49: error: there is no file or folder dta/words.txt, and no step makes it
      4 |   a: { run: "cat \${{ inputs.i }}", inputs: { i: dta/words.txt } }
        |                                                 ^^^^^^^^^^^^^
      = did you mean data/words.txt? Paths are relative to the folder of the pipeline file.

    p.yaml:5:50: error: nothing matches data/*.csv
      5 |   b: { run: "cat \${{ inputs.i }}", inputs: { i: ["data/*.csv", data/words.txt] } }
        |                                                  ^^^^^^^^^^^^
      = Paths are relative to the folder of the pipeline file. Globs skip names that begin with a dot, and node_modules.

    p.yaml:6:38: error: nothing matches mails/**/*.eml
      6 |   c: { uses: collect, with: { files: "mails/**/*.eml", select: { text: body } } }
        |                                      ^^^^^^^^^^^^^^^^
      = Paths are relative to the folder of the pipeline file. Globs skip names that begin with a dot, and node_modules.
    "
  `);
});

test('`when` that is neither true nor false', async () => {
  expect(await refusal('params: { on: sometimes }\nsteps:\n  a: { run: echo, when: "${{ params.on }}" }\n')).toMatchInlineSnapshot(`
    "
    p.yaml:1:15: error: "when" takes true or false, found "sometimes"
      1 | params: { on: sometimes }
        |               ^^^^^^^^^
    "
  `);
});

test('--json: the same errors as lines of JSON', async () => {
  await expectAsJson('nmae: p\nsteps:\n  a:\n    run: echo\n    output: { o: o.txt }\n    matrx: { x: [1] }\n');
  await expectAsJson('steps:\n  a:\n    run: [echo, x\n  b:\n    run: echo\n');
  await expectAsJson('params: { epochs: 1 }\nsteps: { a: { run: "echo ${{ params.epochs }}" } }\n', {}, '-p', 'epoch=5', '-p', 'epochs');
});
