/** Parameters: references among them, -p, --params. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { commands, options, Project, text } from './project.ts';

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

test('-p keeps the typed text; lists and maps are parsed if one is declared; dotted names', async () => {
  expect((await params([])).copy).toEqual({ hidden: 128, heads: 2 });
  expect((await params(['lr=3e-5'])).lr).toBe('3e-5');
  expect((await params(['name=true'])).name).toBe(true);
  expect((await params(['name="true"'])).name).toBe('"true"');
  expect((await params(['name={a: 1}'])).name).toBe('{a: 1}');
  expect((await params(['later=[a, b]'])).later).toBe('[a, b]');
  expect((await params(['files=a'])).files).toBe('a');
  expect((await params(['files=[a, 00501, "2", 3]'])).files).toEqual(['a', '00501', '2', 3]);
  expect((await params(['name=a=b, c: d - e'])).name).toBe('a=b, c: d - e');
  expect((await params(['name=- a'])).name).toBe('- a');
  expect((await params(['name='])).name).toBe('');
  expect((await params(['files=[x, {y: 1}]'])).files).toEqual(['x', { y: 1 }]);
  expect((await params(['model.size.hidden=64'])).copy).toEqual({ hidden: 64, heads: 2 });
  expect((await params(['model={layers: 1}', 'copy=1'])).model).toEqual({ layers: 1 });
  expect((await params(['free.x=1'])).free).toEqual({ x: 1 });
  expect((await params(['lr=1', 'lr=2'])).lr).toBe(2);
  expect((await params(['name=${{ params.lr }}'])).name).toBe('${{ params.lr }}');
});

test('--params is merged deeply, and -p takes precedence', async () => {
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

test('errors', async () => {
  const project = new Project({ 'over.yaml': 'lr: 1\nnme: x\nmodel:\n  layer: 1\n  size: { heads: few }\n' });
  const set = ['lrr=1', 'model.siz.hidden=1', 'lr.x=1', 'novalue', '=1', 'model..x=1'];
  expect(await project.screen(YAML, { set, paramsFile: join(project.folder, 'over.yaml') })).toMatchInlineSnapshot(`
    "over.yaml:2:1: error: there is no parameter "nme"
      2 | nme: x
        | ^^^
      = did you mean "name"? parameters declared under \`params\`: lr, name, model, files, copy, free, later

    over.yaml:4:3: error: there is no parameter "model.layer"
      4 |   layer: 1
        |   ^^^^^
      = did you mean "layers"? model has: layers, size

    -p lrr=1: error: there is no parameter "lrr"
      = did you mean "lr"? parameters declared under \`params\`: lr, name, model, files, copy, free, later

    -p model.siz.hidden=1: error: there is no parameter "model.siz"
      = did you mean "size"? model has: layers, size

    -p lr.x=1: error: parameter lr is not a map
      = Set it as a whole: -p lr=…

    -p novalue: error: -p takes name=value
      = For example -p learning_rate=3e-5, or -p model.layers=2.

    -p =1: error: -p takes name=value
      = For example -p learning_rate=3e-5, or -p model.layers=2.

    -p model..x=1: error: -p takes name=value
      = For example -p learning_rate=3e-5, or -p model.layers=2.
    "
  `);
  project.write({ 'list.yaml': '- a\n', 'bad.yaml': 'a: [\n' });
  expect(await project.screen(YAML, { paramsFile: join(project.folder, 'list.yaml') })).toContain(
    'list.yaml:1:1: error: a params file is a map',
  );
  expect(await project.screen(YAML, { paramsFile: join(project.folder, 'bad.yaml') })).toContain('bad.yaml:');
  expect(await project.screen(YAML, { paramsFile: join(project.folder, 'lst.yaml') })).toContain('did you mean list.yaml?');
});

test('references to missing parameters', async () => {
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
    "p.yaml:3:11: error: parameters refer to each other in a cycle: params.a → params.b → params.a
      3 |   b: { c: "x \${{ params.a }}" }
        |           ^^^^^^^^^^^^^^^^^^^
      = Give one of them a value.

    p.yaml:4:9: error: parameters refer to each other in a cycle: params.self → params.self
      4 |   self: \${{ params.self }}
        |         ^^^^^^^^^^^^^^^^^^
      = Give one of them a value.

    p.yaml:5:47: error: parameters refer to each other in a cycle: params.part → params.part
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

    p.yaml:9:11: error: params.fine is a map, which cannot be part of a text
      9 |   text: x \${{ params.fine }}
        |           ^^^^^^^^^^^^^^^^^^
      = Use text, a number, true or false.

    p.yaml:10:9: error: the package not-installed is not installed
      10 |   none: \${{ npm('not-installed') }}
         |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = Install it: npm install -D not-installed

    p.yaml:11:14: error: expressions have no operators
      11 |   wrong: \${{ params.fine.x + 1 }}
         |              ^^^^^^^^^^^^^^^^^
      = Write params.a.b, matrix.k, steps.s.out, steps.s[*].out, inputs.r, outputs.n or npm('pkg').

    p.yaml:12:3: error: "1st" cannot be a name here
      12 |   1st: x
         |   ^^^
      = It takes a name of letters, digits, _ and - that does not begin with a digit.
    "
  `);
});

const PLACES = text`
  params: { x: null }
  steps:
    a: { uses: ./any.mjs, with: { OPTION: "$\{{ params.x }}" } }
`;
const ANY =
  "const o = { text: {type: 'string'}, number: {type: 'number'}, whole: {type: 'integer'}, flag: {type: 'boolean'}, words: {type: 'array', items: {type: 'string'}}, " +
  "numbers: {type: 'array', items: {type: 'number'}}, map: {type: 'object', additionalProperties: {type: 'number'}}, either: {type: ['string', 'number', 'boolean']}, " +
  "choice: {enum: ['a', 1, true, 'no', null]}, label: {oneOf: [{type: 'string'}, {type: 'array', items: {type: 'string'}}]}, any: {} };\n" +
  "export default { name: 'any', version: 1, options: o, optional: Object.keys(o), outputs: { o: 'file' }, run() {} };\n";

const TYPED: [option: string, typed: string, wanted: unknown][] = [
  ['text', '12e4567', '12e4567'],
  ['text', '00501', '00501'],
  ['text', '1.10', '1.10'],
  ['text', '0x1F', '0x1F'],
  ['text', 'a #b', 'a #b'],
  ['text', '#5', '#5'],
  ['text', '*x', '*x'],
  ['text', '!x', '!x'],
  ['text', '{a', '{a'],
  ['text', '[a, b]', '[a, b]'],
  ['text', 'true', 'true'],
  ['text', 'null', 'null'],
  ['text', ' a \n b \r\n', ' a \n b \r\n'],
  ['text', '', ''],
  ['number', '3e-4', 0.0003],
  ['number', ' 3e-4\n', 0.0003],
  ['number', '.5', 0.5],
  ['number', '+1.50', 1.5],
  ['number', '0x1F', 31],
  ['number', '12345678901234567890', /"number" takes a number, found "12345678901234567890"\n {2}= As a number, it would lose digits/],
  ['number', '9007199254740993.0', /lose digits/],
  ['number', '1e400', /takes a number/],
  ['number', '', /takes a number, found ""/],
  ['number', '1,5', /takes a number, found "1,5"/],
  ['number', 'nan', /takes a number, found "nan"/],
  ['number', '.inf', /takes a number, found ".inf"/],
  ['whole', '3.0', 3],
  ['whole', '3.5', /takes a whole number, found 3.5/],
  ['whole', '9007199254740993', /lose digits/],
  ['whole', '9007199254740991', 9007199254740991],
  ['flag', 'True', true],
  ['flag', 'false', false],
  ['flag', 'yes', /takes true or false, found "yes"/],
  ['words', '[a, "b c", 007, 1.10, true]', ['a', 'b c', '007', '1.10', 'true']],
  ['words', '["a", "b"]', ['a', 'b']],
  ['words', 'a', /takes a list \(of text\), found "a"\n {2}= Write a list: \[a\]/],
  ['words', '[a', /takes a list/],
  ['numbers', '[1e-3, .5]', [0.001, 0.5]],
  ['map', '{a: 1e-3, "b c": 2}', { a: 0.001, 'b c': 2 }],
  ['map', '{"__proto__": 1}', JSON.parse('{"__proto__": 1}')],
  ['either', '2', 2],
  ['either', '2.0', '2.0'],
  ['either', 'true', true],
  ['either', 'True', 'True'],
  ['choice', 'a', 'a'],
  ['choice', '1', 1],
  ['choice', 'true', true],
  ['choice', 'no', 'no'],
  ['choice', 'null', null],
  ['choice', 'b', /cannot be "b"/],
  ['label', '[a, b]', ['a', 'b']],
  ['label', 'a, b', 'a, b'],
  ['any', '5', 5],
  ['any', '5.0', '5.0'],
  ['any', '[1, x]', [1, 'x']],
];

test("-p for options: typed text is converted to the option's type, or refused", async () => {
  const project = new Project({ 'any.mjs': ANY });
  for (const [option, typed, wanted] of TYPED) {
    const read = () => project.read(PLACES.replace('OPTION', option), { set: [`x=${typed}`] });
    const about = `${option} ${JSON.stringify(typed)}`;
    if (wanted instanceof RegExp) expect(await project.shown(read), about).toMatch(wanted);
    else expect(options((await read()).cells[0]!), about).toEqual({ [option]: wanted });
  }
});

test('$((…)) takes only integers that the shell can represent', async () => {
  const yaml = text`
    params: { n: 1 }
    steps: { a: { run: 'echo $(( $\{{ params.n }} + 1 ))' } }
  `;
  const project = new Project();
  for (const typed of ['9223372036854775807', '-9223372036854775808', '0x1F', '010'])
    expect(await project.shown(() => project.read(yaml, { set: [`n=${typed}`] })), typed).toBe('no mistake');
  for (const typed of ['9223372036854775808', '99999999999999999999', '1.5', '1e-1', '1e30', 'x'])
    expect(await project.shown(() => project.read(yaml, { set: [`n=${typed}`] })), typed).toMatch(
      /not a number that the shell can calculate/,
    );
});

test('-p in other places: variables, commands, paths, a matrix, and keys of a step', async () => {
  const yaml = text`
    params: { x: one, list: [a], later: null, n: 2 }
    steps:
      a:
        matrix: { v: "$\{{ params.list }}", w: ["$\{{ params.x }}"] }
        run: echo $\{{ params.x }} $\{{ matrix.v }} $\{{ matrix.w }} $((1 + $\{{ params.n }}))
        env: { X: "$\{{ params.x }}", Y: "<$\{{ params.x }}>" }
        inputs: { i: "$\{{ params.later }}" }
        outputs: { o: "out/$\{{ params.x }}-$\{{ matrix.v }}" }
        retry: $\{{ params.n }}
        version: $\{{ params.x }}
  `;
  const project = new Project({ 'a.txt': '', 'b.txt': '' });
  const set = ['x=3e-04', 'list=[1.10, "2", two words]', 'later=[a.txt, b.txt]', 'n=010'];
  const { cells, params: shown } = await project.read(yaml, { set });
  expect(cells.map(({ name }) => name)).toEqual(['a[v=1.1,w=0.0003]', 'a[v="2",w=0.0003]', 'a[v="two words",w=0.0003]']);
  expect(commands(cells[0]!)).toEqual(['echo 3e-04 1.10 3e-04 $((1 + 10))']);
  expect(cells[0]).toMatchObject({
    env: { X: '3e-04', Y: '<3e-04>' },
    retry: { times: 10 },
    version: '3e-04',
    matrix: { v: 1.1, w: 0.0003 },
  });
  expect(cells[0]!.outputs.o!.path).toBe(`${project.folder}/out/3e-04-1.10`);
  expect(cells[0]!.inputs.i!.sources.map((source) => 'pattern' in source && source.pattern)).toEqual(['a.txt', 'b.txt']);
  expect(shown).toEqual({ x: '3e-04', list: ['1.10', '2', 'two words'], later: '[a.txt, b.txt]', n: '010' });
});

test('numbers in files print as written, and options get numbers', async () => {
  const yaml = text`
    params: { lr: 3e-4, version: 1.10, zip: 00501, hex: 0x1F, hash: 12e4567, id: 12345678901234567890, on: True, copy: "$\{{ params.lr }}" }
    steps:
      a:
        matrix: { v: [1.10, 3.0] }
        run: echo $\{{ params.lr }} $\{{ params.version }} $\{{ params.zip }} $\{{ params.hex }} $\{{ params.hash }} $\{{ params.id }} $\{{ params.on }} $\{{ params.copy }} $\{{ matrix.v }} $((1 + $\{{ params.zip }}))
        env: { A: 3e-4, B: 007, C: "$\{{ params.id }}", D: +1, E: FALSE, F: 1_000 }
      b: { uses: ./any.mjs, with: { number: "$\{{ params.lr }}", whole: 0x10, text: "$\{{ params.id }}", flag: "$\{{ params.on }}" } }
      c: { uses: ./any.mjs, with: { whole: "$\{{ params.later }}" } }
  `;
  const project = new Project({
    'any.mjs': ANY,
    'over.yaml': 'lr: 5E-5\nlater: 1e3\n',
    'over.json': '{"id": 98765432109876543210, "lr": 1.50e-2, "later": 1}',
  });
  const over = (file: string) => project.read(yaml.replace('params: {', 'params: { later: 1,'), { paramsFile: join(project.folder, file) });
  const { cells } = await over('over.yaml');
  expect(commands(cells[0]!)[0]).toBe('echo 5E-5 1.10 00501 0x1F 12e4567 12345678901234567890 True 5E-5 1.10 $((1 + 501))');
  expect(cells[0]!.env).toEqual({ A: '3e-4', B: '007', C: '12345678901234567890', D: '+1', E: 'FALSE', F: '1_000' });
  expect(options(cells[2]!)).toEqual({ number: 0.00005, whole: 16, text: '12345678901234567890', flag: true });
  expect(options(cells[3]!)).toEqual({ whole: 1000 });
  expect(commands((await over('over.json')).cells[0]!)[0]).toMatch(/^echo 1.50e-2 .* 98765432109876543210 /);
  expect(await project.screen('steps: { c: { uses: ./any.mjs, with: { whole: 12345678901234567890 } } }\n')).toContain(
    'As a number, it would lose digits.',
  );
});

test.each(['!!timestamp 2020-01-01', '!!binary aGVsbG8=', '!secret x', '!!set {a, b}', '!!omap [a: 1]', '&x !!binary aGVsbG8='])(
  'the tag of %s is refused',
  async (value) => {
    const screen = await new Project().screen(`params:\n  a: ${value}\nsteps:\n  s: { run: echo }\n`);
    const tag = /!\S+/.exec(value)![0];
    expect(screen).toContain(tag);
    expect(screen).toContain(`${' '.repeat(value.indexOf('!'))}${'^'.repeat(tag.length)}\n`);
  },
);

test('an error in an option from -p is reported at -p', async () => {
  const project = new Project({ 'd/x': '' });
  const yaml = text`
    params: { n: 1, where: d }
    steps:
      a: { uses: clean, with: { data: "$\{{ params.where }}", min_length: "$\{{ params.n }}" } }
  `;
  expect(await project.screen(yaml, { set: ['n=few', 'where=nowhere'] })).toMatchInlineSnapshot(`
    "-p where=nowhere: error: there is no folder nowhere, and no step makes it
      = Paths are relative to the folder of the pipeline file.

    -p n=few: error: "min_length" takes a whole number, found "few"
    "
  `);
});
