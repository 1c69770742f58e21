/** Errors of all commands. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const TWO = `
steps:
  prepare: { run: "echo > \${{ outputs.o }}", outputs: { o: o.txt } }
  train: { run: "cat \${{ steps.prepare.o }}", matrix: { rate: [1, 2] } }
`;

test('other commands report errors in the same way', async () => {
  const p = project({ 'p.yaml': TWO, 'bad.yaml': 'steps:\n  a: { rn: echo }\n' });
  const screens = [];
  for (const args of [
    ['validate', 'bad.yaml'],
    ['status', 'bad.yaml'],
    ['explain', 'bad.yaml', 'a'],
    ['explain', 'p.yaml', 'trian'],
    ['logs', 'p.yaml', 'train'],
    ['logs', 'p.yaml', 'trian'],
    ['graph', 'bad.yaml'],
    ['graph', 'p.yaml', '--format', 'png'],
    ['show', 'p.yaml', 'train', 'model'],
    ['predict', 'nowhere', 'texts.txt'],
    ['serve', 'table'],
  ]) {
    const { code, screen } = await p.run(...args);
    screens.push(`$ ${args.join(' ')} → ${code}\n${screen}`);
  }
  expect(screens.join('\n')).toMatchInlineSnapshot(`
    "$ validate bad.yaml → 2
    bad.yaml:2:3: error: step "a" does nothing
      2 |   a: { rn: echo }
        |   ^
      = Write \`uses:\` with the name of a step, or \`run:\` with a command.

    bad.yaml:2:8: error: unknown key "rn"
      2 |   a: { rn: echo }
        |        ^^
      = valid here: uses, with, run, shell, inputs, outputs, env, secrets, matrix, needs, timeout, retry, … (18)

    $ status bad.yaml → 2
    bad.yaml:2:3: error: step "a" does nothing
      2 |   a: { rn: echo }
        |   ^
      = Write \`uses:\` with the name of a step, or \`run:\` with a command.

    bad.yaml:2:8: error: unknown key "rn"
      2 |   a: { rn: echo }
        |        ^^
      = valid here: uses, with, run, shell, inputs, outputs, env, secrets, matrix, needs, timeout, retry, … (18)

    $ explain bad.yaml a → 2
    bad.yaml:2:3: error: step "a" does nothing
      2 |   a: { rn: echo }
        |   ^
      = Write \`uses:\` with the name of a step, or \`run:\` with a command.

    bad.yaml:2:8: error: unknown key "rn"
      2 |   a: { rn: echo }
        |        ^^
      = valid here: uses, with, run, shell, inputs, outputs, env, secrets, matrix, needs, timeout, retry, … (18)

    $ explain p.yaml trian → 2
    error: trian: there is no such cell or step in p.yaml
      = did you mean "train"? steps: prepare, train

    $ logs p.yaml train → 2
    error: train has no log: it has not run yet
      = Run it: tunesmith run p.yaml --until train

    $ logs p.yaml trian → 2
    error: trian: there is no such cell or step in p.yaml
      = did you mean "train"? steps: prepare, train

    $ graph bad.yaml → 2
    bad.yaml:2:3: error: step "a" does nothing
      2 |   a: { rn: echo }
        |   ^
      = Write \`uses:\` with the name of a step, or \`run:\` with a command.

    bad.yaml:2:8: error: unknown key "rn"
      2 |   a: { rn: echo }
        |        ^^
      = valid here: uses, with, run, shell, inputs, outputs, env, secrets, matrix, needs, timeout, retry, … (18)

    $ graph p.yaml --format png → 2
    error: option '--format <format>' argument 'png' is invalid. Allowed choices are mermaid, dot, svg.
      = \`tunesmith graph --help\` lists the commands and options.

    $ show p.yaml train model → 2
    error: train[rate=1] has no outputs

    $ predict nowhere texts.txt → 2
    error: the folder nowhere does not exist
      = Give a bundle: the output of the step \`deploy\`, a Hugging Face model folder, or its address: hf://owner/name

    $ serve table → 2
    error: the folder table does not exist
      = Give a bundle: the output of the step \`deploy\`, a Hugging Face model folder, or its address: hf://owner/name
    "
  `);
});
