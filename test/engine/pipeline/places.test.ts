/** Names that macOS or Windows treat as equal are refused on every system, at the second one. */
import { expect, test } from 'vitest';
import { names, Project, text } from './project.ts';

const [COMPOSED, DECOMPOSED] = ['caf\u00e9', 'cafe\u0301'];

test('values of a matrix, steps, outputs', async () => {
  const screen = await new Project().screen(text`
    params: { optim: [adam, Adam] }
    steps:
      a: { matrix: { o: [SGD, lamb, sgd], n: [1, 2] }, run: "echo > $\{{ outputs.o }}", outputs: { o: "out/a/$\{{ matrix.o }}-$\{{ matrix.n }}" } }
      b: { matrix: { o: "$\{{ params.optim }}" }, run: echo }
      c: { matrix: { x: [1], include: [{ y: K }, { x: 2, y: z }, { x: 2, y: Z }] }, run: echo }
      Train: { run: "echo > $\{{ outputs.o }}", outputs: { o: out/Model } }
      train: { run: "echo > $\{{ outputs.o }}", outputs: { o: out/model } }
      d: { run: "echo > $\{{ outputs.o }} > $\{{ outputs.p }}", outputs: { o: Out/MODEL/weights, p: .GIT/x } }
      e: { run: "echo > $\{{ outputs.o }}", outputs: { o: P.YAML } }
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:1:25: error: the values "adam" and "Adam" of "o" differ only in case
      1 | params: { optim: [adam, Adam] }
        |                         ^^^^
      = macOS and Windows may treat them as the same name. Rename one of them.

    p.yaml:3:33: error: the values "SGD" and "sgd" of "o" differ only in case
      3 |   a: { matrix: { o: [SGD, lamb, sgd], n: [1, 2] }, run: "echo > \${{ outputs.o }}", outputs: { o: "ou…
        |                                 ^^^
      = macOS and Windows may treat them as the same name. Rename one of them.

    p.yaml:5:73: error: the values "z" and "Z" of "y" differ only in case
      5 |   c: { matrix: { x: [1], include: [{ y: K }, { x: 2, y: z }, { x: 2, y: Z }] }, run: echo }
        |                                                                         ^
      = macOS and Windows may treat them as the same name. Rename one of them.

    p.yaml:7:3: error: the steps "Train" and "train" differ only in case
      7 |   train: { run: "echo > \${{ outputs.o }}", outputs: { o: out/model } }
        |   ^^^^^
      = macOS and Windows may treat them as the same name. Rename one of them.

    p.yaml:7:58: error: the outputs out/Model and out/model differ only in case
      7 |   train: { run: "echo > \${{ outputs.o }}", outputs: { o: out/model } }
        |                                                          ^^^^^^^^^
      = macOS and Windows may treat them as the same name. Rename one of them.

    p.yaml:8:73: error: Out/MODEL/weights, an output of d, is inside out/Model, an output of Train
      8 | … { run: "echo > \${{ outputs.o }} > \${{ outputs.p }}", outputs: { o: Out/MODEL/weights, p: .GIT/x } }
        |                                                                      ^^^^^^^^^^^^^^^^^
      = Give each output its own path.

    p.yaml:8:95: error: output "p" is inside .git, which belongs to git
      8 | … { run: "echo > \${{ outputs.o }} > \${{ outputs.p }}", outputs: { o: Out/MODEL/weights, p: .GIT/x } }
        |                                                                                            ^^^^^^
      = Use a different path, for example out/p.

    p.yaml:9:54: error: output "o" would replace the pipeline file itself
      9 |   e: { run: "echo > \${{ outputs.o }}", outputs: { o: P.YAML } }
        |                                                      ^^^^^^
      = Use a different path, for example out/o.
    "
  `);
});

test('composed and decomposed Unicode characters, in values and in paths', async () => {
  const screen = await new Project().screen(
    `steps:\n  a: { matrix: { word: [${COMPOSED}, ${DECOMPOSED}] }, run: echo }\n` +
      `  b: { run: "echo > \${{ outputs.o }}", outputs: { o: "out/${COMPOSED}" } }\n` +
      `  c: { run: "echo > \${{ outputs.o }}", outputs: { o: "out/${DECOMPOSED}" } }\n`,
  );
  expect(screen).toMatch(
    /p.yaml:2:\d+: error: the values ".*" and ".*" of "word" look the same but consist of different Unicode characters/,
  );
  expect(screen).toMatch(/p.yaml:4:\d+: error: the outputs out\/.* and out\/.* look the same but consist of different Unicode characters/);
});

test('names that differ in more than case are allowed', async () => {
  const pipeline = await new Project().read(
    text`
    steps:
      a: { matrix: { o: [SGD, sgd2, straße, strase] }, run: "echo > $\{{ outputs.o }}", outputs: { o: "Out/$\{{ matrix.o }}" } }
      ab: { matrix: { o: [1, "1", true, "true"] }, run: "echo > $\{{ outputs.o }}", outputs: { o: out/y } }
  `.replace('"echo > ${{ outputs.o }}", outputs: { o: out/y }', 'echo'),
  );
  expect(names(pipeline)).toHaveLength(8);
});

test('macOS folds `ß` to `ss`, in both cases', async () => {
  const [small, capital] = ['stra\u00dfe', 'stra\u1e9ee'];
  for (const [one, two] of [
    [small, 'STRASSE'],
    ['strasse', capital],
    [small, capital],
    ['\u03c3', '\u03c2'],
    ['\ufb01n', 'FIN'],
  ]) {
    const step = (output: string) => `{ run: "echo > $\{{ outputs.o }}", outputs: { o: "out/${output}" } }`;
    const screen = await new Project().screen(`steps: { a: ${step(one!)}, b: ${step(two!)} }`.replaceAll('$\\', '$'));
    expect(screen, `${one}, ${two}`).toContain(`error: the outputs out/${one} and out/${two} differ only in case`);
  }
});

test('an input whose name an output has in another case', async () => {
  const p = new Project({ 'Data/Train.csv': '' });
  expect(
    await p.screen(
      'steps: { a: { run: "cat $' +
        '{{ inputs.i }} > $' +
        '{{ outputs.o }}", inputs: { i: Data/Train.csv }, outputs: { o: data/train.csv } } }',
    ),
  ).toContain('error: the input Data/Train.csv and the output data/train.csv of a differ only in case\n');
});
