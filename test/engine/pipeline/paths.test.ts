/** Paths of inputs and outputs: roots, overlaps, dependencies by path, missing inputs. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { matcher, matches } from '../../../engine/files/glob.ts';
import { readPipeline } from '../../../engine/pipeline/index.ts';
import { byName, commands, names, Project, text } from './project.ts';

test('the project root and the base of relative paths', async () => {
  const project = new Project({
    'package.json': '{}',
    'sub/pipes/p.yaml':
      'steps: { a: { run: "cat ${{ inputs.i }} > ${{ outputs.o }}", inputs: { i: ../x.txt }, outputs: { o: ../../out/a } } }\n',
    'sub/x.txt': '',
    'sub/clean.yaml': 'steps: { c: { uses: clean, with: { data: pipes } }, d: { run: "ls ${{ steps.c.data }}" } }\n',
    'own/.git/HEAD': '',
    'own/deep/p.yaml': 'name: a name/with things\nsteps: { c: { uses: clean, with: { data: . } } }\n',
  });
  const at = (path: string) => readPipeline(join(project.folder, path));
  const p = await at('sub/pipes/p.yaml');
  expect([p.name, p.root, p.folder, p.file]).toEqual([
    'p',
    project.folder,
    join(project.folder, 'sub/pipes'),
    join(project.folder, 'sub/pipes/p.yaml'),
  ]);
  expect(commands(p.cells[0]!)).toEqual(['cat ../x.txt > ../../out/a']);
  expect(p.cells[0]!.outputs.o!.path).toBe(join(project.folder, 'out/a'));
  const clean = await at('sub/clean.yaml');
  expect(clean.cells[0]!.outputs.data!.path).toBe(join(project.folder, '.tunesmith/outputs/clean/c/data'));
  expect(commands(clean.cells[1]!)).toEqual(['ls ../.tunesmith/outputs/clean/c/data']);
  const own = await at('own/deep/p.yaml');
  expect(own.root).toBe(join(project.folder, 'own'));
  expect(own.cells[0]!.outputs.data!.path).toMatch(/own\/\.tunesmith\/outputs\/a_name_with_things-[0-9a-f]{12}\/c\/data$/);
  project.write({ 'own/deep/.tunesmith/x': '' });
  expect((await at('own/deep/p.yaml')).root).toBe(join(project.folder, 'own/deep'));
});

test('outputs that overlap or have forbidden paths', async () => {
  const project = new Project({ 'x.txt': '', 'sub/y': '' });
  const screen = await project.screen(text`
    params: { same: out/same }
    steps:
      a: { run: echo, outputs: { o: out/same } }
      b: { run: echo, outputs: { o: "$\{{ params.same }}/" } }
      c: { run: echo, outputs: { o: out/same/deeper/still } }
      d: { run: echo, outputs: { o: ./out/d, p: out/x/../d/e } }
      m: { run: echo, matrix: { k: [1, 2, 3], l: [x] }, outputs: { o: out/m/model.bin } }
      n: { run: echo, matrix: { k: [1, 2], l: [x, y] }, outputs: { o: "out/n/$\{{ matrix.k }}" } }
      up: { run: echo, outputs: { o: ../elsewhere } }
      root: { run: echo, outputs: { o: . } }
      self: { run: echo, outputs: { o: p.yaml } }
      own: { run: echo, outputs: { o: .tunesmith/outputs } }
      glob: { run: echo, outputs: { o: out/*.txt } }
      number: { run: echo, matrix: { n: [5] }, outputs: { o: "$\{{ matrix.n }}" } }
      abs: { run: echo, outputs: { o: /tmp/elsewhere/out } }
      fine: { run: echo, outputs: { o: out/Same, p: out/same-too } }
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:4:33: error: two cells write out/same: a and b
      4 |   b: { run: echo, outputs: { o: "\${{ params.same }}/" } }
        |                                 ^^^^^^^^^^^^^^^^^^^^^
      = Give each output its own path.

    p.yaml:5:33: error: out/same/deeper/still, an output of c, is inside out/same, an output of a
      5 |   c: { run: echo, outputs: { o: out/same/deeper/still } }
        |                                 ^^^^^^^^^^^^^^^^^^^^^
      = Give each output its own path.

    p.yaml:6:45: error: out/d/e is inside out/d, and both are outputs of d
      6 |   d: { run: echo, outputs: { o: ./out/d, p: out/x/../d/e } }
        |                                             ^^^^^^^^^^^^
      = Give each output its own path.

    p.yaml:7:67: error: two cells write out/m/model.bin: m[k=1,l=x] and m[k=2,l=x], and 1 more
      7 |   m: { run: echo, matrix: { k: [1, 2, 3], l: [x] }, outputs: { o: out/m/model.bin } }
        |                                                                   ^^^^^^^^^^^^^^^
      = Give each cell its own path: out/m/\${{ matrix.k }}/model.bin

    p.yaml:8:67: error: two cells write out/n/1: n[k=1,l=x] and n[k=1,l=y], and 1 more
      8 |   n: { run: echo, matrix: { k: [1, 2], l: [x, y] }, outputs: { o: "out/n/\${{ matrix.k }}" } }
        |                                                                   ^^^^^^^^^^^^^^^^^^^^^^^
      = Give each cell its own path: out/n/\${{ matrix.l }}/\${{ matrix.k }}

    p.yaml:9:34: error: output "o" is outside the project (<project>)
      9 |   up: { run: echo, outputs: { o: ../elsewhere } }
        |                                  ^^^^^^^^^^^^
      = Use a path inside the project, for example out/elsewhere.

    p.yaml:10:36: error: output "o" is the whole project (<project>)
      10 |   root: { run: echo, outputs: { o: . } }
         |                                    ^
      = Use a folder inside the project, for example out/o.

    p.yaml:11:36: error: output "o" would replace the pipeline file itself
      11 |   self: { run: echo, outputs: { o: p.yaml } }
         |                                    ^^^^^^
      = Use a different path, for example out/o.

    p.yaml:12:35: error: output "o" is inside .tunesmith, which tunesmith manages itself
      12 |   own: { run: echo, outputs: { o: .tunesmith/outputs } }
         |                                   ^^^^^^^^^^^^^^^^^^
      = Use a different path, for example out/o.

    p.yaml:13:36: error: output "o" is a glob
      13 |   glob: { run: echo, outputs: { o: out/*.txt } }
         |                                    ^^^^^^^^^
      = An output is one file or folder. Name the folder that holds the files.

    p.yaml:14:38: error: output "o" takes a path, found 5
      14 |   number: { run: echo, matrix: { n: [5] }, outputs: { o: "\${{ matrix.n }}" } }
         |                                      ^

    p.yaml:15:35: error: output "o" is outside the project (<project>)
      15 |   abs: { run: echo, outputs: { o: /tmp/elsewhere/out } }
         |                                   ^^^^^^^^^^^^^^^^^^
      = Use a path inside the project, for example out/out.

    p.yaml:16:36: error: the outputs out/same and out/Same differ only in case
      16 |   fine: { run: echo, outputs: { o: out/Same, p: out/same-too } }
         |                                    ^^^^^^^^
      = macOS and Windows may treat them as the same name. Rename one of them.
    "
  `);
});

test('a path inside an output makes a dependency, as a reference does', async () => {
  const project = new Project({ 'src/a.txt': '', 'made/old.txt': '', 'src/sub/b.txt': '' });
  const pipeline = await project.read(text`
    steps:
      last: { run: cat, inputs: { i: made/f } }
      file: { run: cat, outputs: { o: made/f }, inputs: { i: src } }
      folder: { run: cat, matrix: { k: [1, 2] }, outputs: { o: "made/d/$\{{ matrix.k }}" } }
      in: { run: cat, inputs: { i: made/d/1/x/y.csv } }
      same: { run: cat, matrix: { k: [1, 2] }, inputs: { i: "made/d/$\{{ matrix.k }}" } }
      all: { run: cat, inputs: { i: made/d } }
      glob: { run: cat, inputs: { i: "made/**/*.csv", j: "src/*.txt", k: "mad[e]/{f,g}" } }
      mixed: { run: cat, inputs: { i: [src/a.txt, "made/d/*/x"] } }
      none: { run: cat, inputs: { i: "made/*.txt" } }
  `);
  const reads = Object.fromEntries(pipeline.cells.map(({ name, reads }) => [name, reads]));
  expect(reads).toEqual({
    file: [],
    last: ['file'],
    'folder[k=1]': [],
    'folder[k=2]': [],
    in: ['folder[k=1]'],
    'same[k=1]': ['folder[k=1]'],
    'same[k=2]': ['folder[k=2]'],
    all: ['folder[k=1]', 'folder[k=2]'],
    glob: ['folder[k=1]', 'folder[k=2]', 'file'],
    mixed: ['folder[k=1]', 'folder[k=2]'],
    none: [],
  });
  // In topological order, otherwise in the order of the file.
  expect(names(pipeline).slice(0, 3)).toEqual(['file', 'last', 'folder[k=1]']);
});

test('outputs of built-in steps are found by path; a folder is read without .tunesmith', async () => {
  const project = new Project({ 'raw/a.txt': '' });
  const cells = byName(
    await project.read(text`
      steps:
        clean: { uses: clean, with: { data: raw } }
        by_path: { run: ls, inputs: { i: .tunesmith/outputs/p/clean/data } }
        whole: { run: ls, inputs: { i: . } }
    `),
  );
  expect(cells.by_path!.reads).toEqual(['clean']);
  expect(cells.whole!.reads).toEqual([]);
});

test('missing and invalid inputs', async () => {
  const project = new Project({ 'data/a.txt': '', 'data/.b.csv': '', 'data/node_modules/c.csv': '', 'one.txt': '' });
  const screen = await project.screen(text`
    params: { missing: data/none.txt, files: [one.txt, two.txt] }
    steps:
      a: { run: cat, inputs: { i: data/b.txt } }
      b: { run: cat, inputs: { i: "data/**/*.csv" } }
      c: { run: cat, inputs: { i: "$\{{ params.missing }}", j: "$\{{ params.files }}" } }
      d: { run: cat, inputs: { i: ["one.txt", ""] } }
      e: { run: cat, inputs: { i: out/e }, outputs: { o: out } }
      f: { run: cat, inputs: { i: "out2/*" }, outputs: { o: out2/f.txt } }
      g: { run: cat, inputs: { i: "." }, outputs: { o: out3/g } }
      h: { uses: clean, with: { data: one.txt } }
      i: { uses: clean, with: { data: s3://some/data } }
      j: { uses: clean, with: { data: [data, data] } }
      k: { uses: clean, with: { data: "*ta" } }
      l: { uses: evaluate, with: { model: data, tokens: "$\{{ steps.m.metrics }}" } }
      m: { uses: evaluate, with: { model: data, tokens: data } }
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:1:20: error: there is no file or folder data/none.txt, and no step makes it
      1 | params: { missing: data/none.txt, files: [one.txt, two.txt] }
        |                    ^^^^^^^^^^^^^
      = Paths are relative to the folder of the pipeline file.

    p.yaml:1:52: error: there is no file or folder two.txt, and no step makes it
      1 | params: { missing: data/none.txt, files: [one.txt, two.txt] }
        |                                                    ^^^^^^^
      = Paths are relative to the folder of the pipeline file.

    p.yaml:3:31: error: there is no file or folder data/b.txt, and no step makes it
      3 |   a: { run: cat, inputs: { i: data/b.txt } }
        |                               ^^^^^^^^^^
      = did you mean data/a.txt? Paths are relative to the folder of the pipeline file.

    p.yaml:4:31: error: nothing matches data/**/*.csv
      4 |   b: { run: cat, inputs: { i: "data/**/*.csv" } }
        |                               ^^^^^^^^^^^^^^^
      = Paths are relative to the folder of the pipeline file. Globs skip names that begin with a dot, and node_modules.

    p.yaml:6:43: error: "inputs.i[1]" cannot be empty
      6 |   d: { run: cat, inputs: { i: ["one.txt", ""] } }
        |                                           ^^

    p.yaml:7:31: error: e would read its own output out
      7 |   e: { run: cat, inputs: { i: out/e }, outputs: { o: out } }
        |                               ^^^^^
      = Give the input a narrower path, or move the output.

    p.yaml:8:31: error: f would read its own output out2/f.txt
      8 |   f: { run: cat, inputs: { i: "out2/*" }, outputs: { o: out2/f.txt } }
        |                               ^^^^^^^^
      = Give the input a narrower path, or move the output.

    p.yaml:9:31: error: g would read its own output out3/g
      9 |   g: { run: cat, inputs: { i: "." }, outputs: { o: out3/g } }
        |                               ^^^
      = Give the input a narrower path, or move the output.

    p.yaml:10:35: error: input "data" takes a folder, but one.txt is a file
      10 |   h: { uses: clean, with: { data: one.txt } }
         |                                   ^^^^^^^

    p.yaml:11:35: error: s3://some/data is not a path
      11 |   i: { uses: clean, with: { data: s3://some/data } }
         |                                   ^^^^^^^^^^^^^^
      = Inputs are files, folders, or addresses: hf://…, kaggle://… or https://…#sha256=… Download anything else in a separate step.

    p.yaml:12:35: error: input "data" takes one folder, found 2
      12 |   j: { uses: clean, with: { data: [data, data] } }
         |                                   ^^^^^^^^^^^^
      = Name one of them.

    p.yaml:13:35: error: nothing matches *ta
      13 |   k: { uses: clean, with: { data: "*ta" } }
         |                                   ^^^^^
      = A glob matches files. End it with / to match folders.

    p.yaml:14:53: error: input "tokens" takes a folder, but metrics of m is a file
      14 |   l: { uses: evaluate, with: { model: data, tokens: "\${{ steps.m.metrics }}" } }
         |                                                     ^^^^^^^^^^^^^^^^^^^^^^^^
    "
  `);
});

test('globs: sorted by bytes, without dotfiles and node_modules, unless spelled out', () => {
  const project = new Project({
    'd/b.txt': '',
    'd/B.txt': '',
    'd/a/x.txt': '',
    'd/é.txt': '',
    'd/z.txt': '',
    'd/.h.txt': '',
    'd/.git/x.txt': '',
    'd/node_modules/p/x.txt': '',
    'd/w[1].txt': '',
    'd/sp ace.txt': '',
    'd/(p).txt': '',
    'd/!n.txt': '',
  });
  mkdirSync(join(project.folder, 'd/empty'));
  const found = (pattern: string) => matches(pattern, project.folder).map((path) => path.slice(project.folder.length + 1));
  expect(found('d/**/*.txt')).toEqual([
    'd/!n.txt',
    'd/(p).txt',
    'd/B.txt',
    'd/a/x.txt',
    'd/b.txt',
    'd/sp ace.txt',
    'd/w[1].txt',
    'd/z.txt',
    'd/é.txt',
  ]);
  expect(found('d/*')).not.toContain('d/a');
  expect(found('d/*/')).toEqual(['d/a', 'd/empty']);
  expect(found('d/{a,b}*')).toEqual(['d/b.txt']);
  expect(found('d/[ab].txt')).toEqual(['d/b.txt']);
  expect(found('d/w\\[1\\].t?t')).toEqual(['d/w[1].txt']);
  expect(found('d/node_modules/*/x.txt')).toEqual(['d/node_modules/p/x.txt']);
  expect(found('d/.git/*')).toEqual(['d/.git/x.txt']);
  expect(found('none/*')).toEqual([]);
  expect(matches(`${project.folder}/d/z.*`, '/')).toEqual([join(project.folder, 'd/z.txt')]);
});

test("an output in the place of tunesmith's or git's files", async () => {
  const project = new Project({ '.git/HEAD': '' });
  const screen = await project.screen(text`
    steps:
      lock: { run: echo, outputs: { o: p.lock } }
      git: { run: echo, outputs: { o: .git } }
      hook: { run: echo, outputs: { o: .git/hooks/x } }
  `);
  expect(screen.split('\n').filter((line) => /error/.test(line))).toEqual([
    'p.yaml:2:36: error: output "o" would replace the pipeline\'s lockfile',
    'p.yaml:3:35: error: output "o" is inside .git, which belongs to git',
    'p.yaml:4:36: error: output "o" is inside .git, which belongs to git',
  ]);
});

test.each([
  ['a/*.txt', 'a/x.txt', 'itself'],
  ['a/*.txt', 'a/x.csv', undefined],
  ['a/*.txt', 'b/x.txt', undefined],
  ['a/*/c.txt', 'a/b', 'inside'],
  ['a/**', 'a/b/c', 'itself'],
  ['a/**/x.txt', 'a/b/c/x.txt', 'itself'],
  ['a/**/x.txt', 'a/x.txt', 'itself'],
  ['a/**/x.txt', 'a/b', 'inside'],
  ['a/b/*.txt', 'a', 'inside'],
  ['*', '.hidden', undefined],
  ['**/*.txt', 'node_modules/x.txt', undefined],
  ['.hidden/*', '.hidden/x', 'itself'],
  ['{a,b/c}/x.*', 'b/c/x.txt', 'itself'],
  ['a/{1..3}.txt', 'a/2.txt', 'itself'],
  ['a/[!b].txt', 'a/b.txt', undefined],
  ['a/[!b].txt', 'a/c.txt', 'itself'],
  ['a/?.txt', 'a/cc.txt', undefined],
  ['../a/*.txt', '../a/x.txt', 'itself'],
  ['a/\\*/x', 'a/b/x', undefined],
  ['a/@(b|c).txt', 'a/b.txt', 'itself'],
])('%s may match %s: %s', (pattern, path, expected) => {
  expect(matcher(pattern, '/base/folder')(join('/base/folder', path))).toBe(expected);
});

test('an input whose parameter is empty or unset is not given, wherever the parameter is set', async () => {
  const project = new Project({ 'data/x': '', data2: '' });
  const yaml = (prev: string) =>
    `params: { prev: ${prev} }\nsteps: { s: { uses: split, with: { data: data, previous: "\${{ params.prev }}" } } }\n`;
  const inputs = async (prev: string, ...set: string[]) => Object.keys((await project.read(yaml(prev), { set })).cells[0]!.inputs);
  for (const prev of ['""', 'null', '']) expect(await inputs(prev)).toEqual(['data']);
  expect(await inputs('data2', 'prev=')).toEqual(['data']);
  expect(await inputs('data2')).toEqual(['data', 'previous']);
  const required = 'params: { data: "" }\nsteps: { s: { uses: split, with: { data: "${{ params.data }}" } } }\n';
  expect(await project.screen(required)).toContain('error: input "data" has no file');
});
