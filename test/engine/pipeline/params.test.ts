/** Parameters: references among them, -p, --params. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Project, text } from './project.ts';

const YAML = text`
  params:
    lr: 1e-3
    name: spam
    model: { layers: 2, size: { hidden: 128, heads: 2 } }
    files: [a, b]
    copy: $\{{ params.model.size }}
    free: {}
    later: null
  steps:
    a: { run: echo }
`;

async function params(set: string[], paramsFile?: string): Promise<Record<string, any>> {
  const project = new Project();
  if (paramsFile !== undefined) project.write({ 'over.yaml': paramsFile });
  return (await project.read(YAML, { set, ...(paramsFile !== undefined ? { paramsFile: join(project.folder, 'over.yaml') } : {}) })).params;
}

test('-p takes YAML values and dotted names', async () => {
  expect((await params([])).copy).toEqual({ hidden: 128, heads: 2 });
  expect((await params(['lr=3e-5'])).lr).toBe(0.00003);
  expect((await params(['name=true'])).name).toBe(true);
  expect((await params(['name="true"'])).name).toBe('true');
  expect((await params(['name=a=b, c: d - e'])).name).toBe('a=b, c: d - e');
  expect((await params(['name=- a'])).name).toBe('- a');
  expect((await params(['name='])).name).toBe(null);
  expect((await params(['files=[x, {y: 1}]'])).files).toEqual(['x', { y: 1 }]);
  expect((await params(['model.size.hidden=64'])).copy).toEqual({ hidden: 64, heads: 2 });
  expect((await params(['model={layers: 1}', 'copy=1'])).model).toEqual({ layers: 1 });
  expect((await params(['free.x=1'])).free).toEqual({ x: 1 });
  expect((await params(['lr=1', 'lr=2'])).lr).toBe(2);
  expect((await params(['name=${{ params.lr }}'])).name).toBe(0.001);
});

test('--params is merged deep, and -p wins over it', async () => {
  const over = 'lr: 2\nmodel: { size: { heads: 4 } }\nfiles: [c]\nlater: { x: 1 }\nfree: { any: 1 }\n';
  const found = await params(['lr=3'], over);
  expect(found).toMatchObject({
    lr: 3,
    model: { layers: 2, size: { hidden: 128, heads: 4 } },
    files: ['c'],
    later: { x: 1 },
    free: { any: 1 },
  });
  expect((await params([], '{"lr": 5}')).lr).toBe(5);
});

test('what is wrong with them', async () => {
  const project = new Project({ 'over.yaml': 'lr: 1\nnme: x\nmodel:\n  layer: 1\n  size: { heads: few }\n' });
  const set = ['lrr=1', 'model.siz.hidden=1', 'lr.x=1', 'name=*.txt', 'name=[a', 'novalue', '=1', 'model..x=1', 'name=.nan'];
  expect(await project.screen(YAML, { set, paramsFile: join(project.folder, 'over.yaml') })).toMatchInlineSnapshot(`
    "over.yaml:2:1: error: there is no parameter "nme"
      2 | nme: x
        | ^^^
      = did you mean "name"? parameters (declared under \`params\`): lr, name, model, files, copy, free, later

    over.yaml:4:3: error: there is no parameter "model.layer"
      4 |   layer: 1
        |   ^^^^^
      = did you mean "layers"? model has: layers, size

    -p lrr=1: error: there is no parameter "lrr"
      = did you mean "lr"? parameters (declared under \`params\`): lr, name, model, files, copy, free, later

    -p model.siz.hidden=1: error: there is no parameter "model.siz"
      = did you mean "size"? model has: layers, size

    -p lr.x=1: error: parameter lr is no map
      = Set it as a whole: -p lr=…

    -p name=*.txt: error: *.txt is no YAML value
      = Quote it to make it text: -p name='"…"'.

    -p name=[a: error: [a is no YAML value
      = Quote it to make it text: -p name='"…"'.

    -p novalue: error: -p takes name=value
      = For example -p learning_rate=3e-5, or -p model.layers=2.

    -p =1: error: -p takes name=value
      = For example -p learning_rate=3e-5, or -p model.layers=2.

    -p model..x=1: error: -p takes name=value
      = For example -p learning_rate=3e-5, or -p model.layers=2.

    -p name=.nan: error: .nan is no YAML value
      = Quote it to make it text: -p name='"…"'.
    "
  `);
  project.write({ 'list.yaml': '- a\n', 'bad.yaml': 'a: [\n' });
  expect(await project.screen(YAML, { paramsFile: join(project.folder, 'list.yaml') })).toContain(
    'list.yaml:1:1: error: a params file is a map',
  );
  expect(await project.screen(YAML, { paramsFile: join(project.folder, 'bad.yaml') })).toContain('bad.yaml:');
  expect(await project.screen(YAML, { paramsFile: join(project.folder, 'lst.yaml') })).toContain('did you mean list.yaml?');
});

test('references among them that lead nowhere', async () => {
  const screen = await new Project().screen(text`
    params:
      a: $\{{ params.b }}
      b: { c: "x $\{{ params.a }}" }
      self: $\{{ params.self }}
      part: { x: 1, y: "$\{{ params.part.x }}", z: "$\{{ params.part }}" }
      fine: { x: 1, y: "$\{{ params.fine.x }}" }
      lost: $\{{ params.fine.z }}
      step: $\{{ steps.a.o }} $\{{ matrix.k }}
      text: x $\{{ params.fine }}
      none: $\{{ npm('not-installed') }}
      wrong: $\{{ params.fine.x + 1 }}
      1st: x
    steps:
      s: { run: "echo $\{{ params.a }} $\{{ params.self }} $\{{ params.lost }} $\{{ params.fine.y }}" }
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:3:11: error: parameters refer to each other in a circle: params.a → params.b → params.a
      3 |   b: { c: "x \${{ params.a }}" }
        |           ^^^^^^^^^^^^^^^^^^^
      = Give one of them a value.

    p.yaml:4:9: error: parameters refer to each other in a circle: params.self → params.self
      4 |   self: \${{ params.self }}
        |         ^^^^^^^^^^^^^^^^^^
      = Give one of them a value.

    p.yaml:5:47: error: parameters refer to each other in a circle: params.part → params.part
      5 |   part: { x: 1, y: "\${{ params.part.x }}", z: "\${{ params.part }}" }
        |                                               ^^^^^^^^^^^^^^^^^^^^
      = Give one of them a value.

    p.yaml:7:25: error: params.fine has no "z"
      7 |   lost: \${{ params.fine.z }}
        |                         ^
      = params.fine has: x, y

    p.yaml:8:9: error: a parameter cannot use \${{ steps.a.o }}
      8 |   step: \${{ steps.a.o }} \${{ matrix.k }}
        |         ^^^^^^^^^^^^^^^^
      = It can use other parameters and npm('pkg').

    p.yaml:8:26: error: a parameter cannot use \${{ matrix.k }}
      8 |   step: \${{ steps.a.o }} \${{ matrix.k }}
        |                          ^^^^^^^^^^^^^^^
      = It can use other parameters and npm('pkg').

    p.yaml:9:11: error: params.fine is a map, which cannot stand inside other text
      9 |   text: x \${{ params.fine }}
        |           ^^^^^^^^^^^^^^^^^^
      = Only text, numbers and true or false can.

    p.yaml:10:9: error: the package not-installed is not installed
      10 |   none: \${{ npm('not-installed') }}
         |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = npm install -D not-installed

    p.yaml:11:14: error: expressions have no operators
      11 |   wrong: \${{ params.fine.x + 1 }}
         |              ^^^^^^^^^^^^^^^^^
      = Expressions are params.a.b, matrix.k, steps.s.out, steps.s[*].out, inputs.r, outputs.n and npm('pkg').

    p.yaml:12:3: error: "1st" cannot be a name here
      12 |   1st: x
         |   ^^^
      = It takes a name: letters, digits, _ and -, no digit first.
    "
  `);
});

test('an option that came from -p says so', async () => {
  const project = new Project({ 'd/x': '' });
  const yaml = text`
    params: { n: 1, where: d }
    steps:
      a: { uses: clean, with: { data: "$\{{ params.where }}", min_length: "$\{{ params.n }}" } }
  `;
  expect(await project.screen(yaml, { set: ['n=few', 'where=nowhere'] })).toMatchInlineSnapshot(`
    "-p where=nowhere: error: there is no folder nowhere, and no step makes it
      = Paths begin at the folder of the pipeline file.

    -p n=few: error: "min_length" takes a whole number, found "few"
    "
  `);
});
