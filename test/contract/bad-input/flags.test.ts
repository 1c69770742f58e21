/** Errors on the command line: the screens. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';
import { refusal, refusalIn } from './rig.ts';

const TRAIN = `
params:
  epochs: 3
  rates: [0.001]
  nested: { warmup: 0 }
steps:
  train:
    uses: train
    matrix: { rate: "\${{ params.rates }}" }
    with:
      tokens: table
      model: base
      task: text-classification
      epochs: \${{ params.epochs }}
      learning_rate: \${{ matrix.rate }}
      warmup_steps: \${{ params.nested.warmup }}
`;

test('-p with an unknown parameter', async () => {
  expect(await refusal(TRAIN, {}, '-p', 'epoch=5', '-p', 'nested.warmpu=1', '-p', 'epochs.x=1')).toMatchInlineSnapshot(`
    "
    -p epoch=5: error: there is no parameter "epoch"
      = did you mean "epochs"? parameters declared under \`params\`: epochs, rates, nested

    -p nested.warmpu=1: error: there is no parameter "nested.warmpu"
      = did you mean "warmup"? nested has: warmup

    -p epochs.x=1: error: parameter epochs is not a map
      = Set it as a whole: -p epochs=…
    "
  `);
});

test('-p without a value', async () => {
  expect(await refusal(TRAIN, {}, '-p', 'epochs')).toMatchInlineSnapshot(`
    "
    -p epochs: error: -p takes name=value
      = For example -p learning_rate=3e-5, or -p model.layers=2.
    "
  `);
});

test('-p with an invalid value for an option: reported at -p, not in the file', async () => {
  expect(await refusal(TRAIN, {}, '-p', 'epochs=many', '-p', 'rates=[0.001, quick]', '-p', 'nested.warmup=-1')).toMatchInlineSnapshot(`
    "
    -p epochs=many: error: "epochs" takes a whole number, found "many"

    -p nested.warmup=-1: error: "warmup_steps" takes a number of at least 0, found -1

    -p rates=[0.001, quick]: error: "learning_rate" takes a number, found "quick"
    "
  `);
});

test('-p with an unclosed list', async () => {
  expect(await refusal(TRAIN, {}, '-p', 'rates=[0.001')).toMatchInlineSnapshot(`
    "
    -p rates=[0.001: error: "matrix.rate" takes a list (of a scalar or a map), found "[0.001"
      = The text is not a list or map in JSON or YAML. Check its brackets and quotes.
    "
  `);
});

test('-p with a map for a list, and a list for a map', async () => {
  expect(await refusal(TRAIN, {}, '-p', 'rates={a: 1}')).toMatchInlineSnapshot(`
    "
    -p rates={a: 1}: error: "matrix.rate" takes a list (of a scalar or a map), found a map
    "
  `);
  const map = 'params: { m: { text: a } }\nsteps: { c: { uses: collect, with: { files: x, select: "${{ params.m }}" } } }\n';
  expect(await refusal(map, { x: '' }, '-p', 'm=[a]')).toMatchInlineSnapshot(`
    "
    -p m=[a]: error: "select" takes a map, found "[a]"
      = It is a list. Write a map, such as {name: value}.
    "
  `);
});

test('--params with an invalid value for an option: the caret points into that file', async () => {
  expect(await refusal(TRAIN, { 'my.yaml': '# mine\nepochs: many\n' }, '--params', 'my.yaml')).toMatchInlineSnapshot(`
    "
    my.yaml:2:9: error: "epochs" takes a whole number, found "many"
      2 | epochs: many
        |         ^^^^
    "
  `);
});

const TWO = `
steps:
  prepare: { run: "echo > \${{ outputs.o }}", outputs: { o: o.txt } }
  train: { run: "cat \${{ steps.prepare.o }}", matrix: { rate: [1, 2] } }
`;

test('an unknown cell', async () => {
  const p = project({ 'p.yaml': TWO });
  const screens = [];
  for (const args of [
    ['--only', 'trian'],
    ['--from', 'train[rate=3]'],
    ['--until', 'nothing-like-it', '--only', 'prepaer'],
  ]) {
    screens.push(await refusalIn(p, 'run', 'p.yaml', ...args));
  }
  expect(screens.join('')).toMatchInlineSnapshot(`
    "
    error: --only trian: there is no such cell or step in p.yaml
      = did you mean "train"? steps: prepare, train

    error: --from train[rate=3]: there is no such cell or step in p.yaml
      = did you mean "train[rate=1]"? cells of train: train[rate=1], train[rate=2]

    error: --only prepaer: there is no such cell or step in p.yaml
      = did you mean "prepare"? steps: prepare, train

    error: --until nothing-like-it: there is no such cell or step in p.yaml
      = steps: prepare, train
    "
  `);
});

test('a selection whose dependencies have never run', async () => {
  const p = project({ 'p.yaml': TWO });
  const { code, screen } = await p.run('run', 'p.yaml', '--only', 'train', '--plain');
  expect(code).toBe(2);
  expect(`\n${screen}`).toMatchInlineSnapshot(`
    "
    error: prepare is not selected, but must run first: first run
      = To run it, use: tunesmith run p.yaml --until prepare
    "
  `);
  expect(p.exists('o.txt')).toBe(false);
});

test('unknown flags and values', async () => {
  const p = project({ 'p.yaml': TWO });
  const screens = [];
  for (const args of [
    ['run', 'p.yaml', '--ony', 'train'],
    ['run', 'p.yaml', '-j', '0'],
    ['run', 'p.yaml', '-j', 'many'],
    ['run', 'p.yaml', '--on-failure', 'ignore'],
    ['run', 'p.yaml', 'q.yaml'],
    ['rnu', 'p.yaml'],
  ]) {
    screens.push(await refusalIn(p, ...args));
  }
  expect(screens.join('')).toMatchInlineSnapshot(`
    "
    error: unknown option '--ony'
      = Did you mean --only?

    error: option '-j, --jobs <n>' argument '0' is invalid. It must be a whole number, at least 1.
      = \`tunesmith run --help\` lists the commands and options.

    error: option '-j, --jobs <n>' argument 'many' is invalid. It must be a whole number, at least 1.
      = \`tunesmith run --help\` lists the commands and options.

    error: option '--on-failure <what>' argument 'ignore' is invalid. Allowed choices are stop, continue, kill.
      = \`tunesmith run --help\` lists the commands and options.

    error: run takes one pipeline, not 2: p.yaml q.yaml
      = Run them one after the other. To select cells, use --only, --from and --until.

    error: unknown command 'rnu'
      = Did you mean run?
    "
  `);
});

test('--plain and --json exclude each other', async () => {
  const p = project({ 'p.yaml': TWO });
  const { code, events } = await p.run('run', 'p.yaml', '--plain', '--json');
  expect(code).toBe(2);
  expect(events).toMatchInlineSnapshot(`
    [
      {
        "column": 0,
        "file": "",
        "line": 0,
        "message": "option '--json' cannot be used with option '--plain'
    \`tunesmith run --help\` lists the commands and options.",
        "type": "error",
      },
    ]
  `);
});

test('an unknown option before the command, and a missing file to show', async () => {
  const p = project();
  const refused = [await p.run('-p'), await p.run('show', 'modle')];
  expect(refused.map(({ code }) => code)).toEqual([2, 2]);
  expect(`\n${refused.map(({ screen }) => screen).join('\n')}`).toMatchInlineSnapshot(`
    "
    error: unknown option '-p'
      = \`tunesmith --help\` lists the commands and options.

    error: there is no file or folder modle and no pipeline here
      = Name the pipeline file, or create an example with \`tunesmith init\`.
    "
  `);
});
