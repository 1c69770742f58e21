/** Matrices: names, GitHub's documented examples of include and exclude, inheritance. */
import { expect, test } from 'vitest';
import { cellName, fileName } from '../../../engine/contract/cell.ts';
import { commands, names, Project, text } from './project.ts';

async function cells(yaml: string): Promise<string[]> {
  return names(await new Project().read(yaml));
}

/** The combinations of one matrix, in order. */
async function combinations(matrix: string): Promise<unknown[]> {
  const pipeline = await new Project().read(`steps: { m: { run: echo, matrix: ${matrix} } }\n`);
  return pipeline.cells.map((cell) => cell.matrix);
}

async function mistakes(matrix: string): Promise<string> {
  return new Project().screen(`steps: { m: { run: echo, matrix: ${matrix} } }\n`);
}

test('names of cells are canonical', () => {
  const name = (matrix: Record<string, any>) => cellName('train', matrix);
  expect(name({})).toBe('train');
  expect(name({ learning_rate: 1e-4, batch_size: 32 })).toBe('train[batch_size=32,learning_rate=0.0001]');
  expect(name({ b: 'a.B_c-1', a: 'x y', Z: 'ü' })).toBe('train[Z="ü",a="x y",b=a.B_c-1]');
  expect(name({ a: '1' })).toBe('train[a="1"]');
  for (const other of [
    '1',
    '-1',
    '1.',
    '.5',
    '1e5',
    '1.5E-3',
    'true',
    'False',
    'null',
    'NULL',
    '.nan',
    '.inf',
    '-.Inf',
    '0x1F',
    '0o7',
    '',
    '~',
    '007',
  ]) {
    expect(name({ a: other })).toBe(`train[a=${JSON.stringify(other)}]`);
  }
  for (const bare of ['1.2.3', 'yes', 'no', 'on', 'nan', '1_000', '0b1', '-', '.', '1e', 'v1', '12h'])
    expect(name({ a: bare })).toBe(`train[a=${bare}]`);
  expect(name({ a: { y: 1, x: ['b', null] }, b: null, c: false })).toBe('train[a={"x":["b",null],"y":1},b=null,c=false]');
  expect(name({ a: 1e21, b: 0.1 + 0.2, c: -0 })).toBe('train[a=1e+21,b=0.30000000000000004,c=0]');
});

test('names of folders: unchanged if safe, otherwise with a hash', () => {
  expect(fileName('train[batch_size=32,learning_rate=0.0001]')).toBe('train[batch_size=32,learning_rate=0.0001]');
  expect(fileName('m[a="x/y"]')).toMatch(/^m\[a=_x_y_\]-[0-9a-f]{12}$/);
  expect(fileName('m[a="x:y"]')).not.toBe(fileName('m[a="x/y"]'));
  expect(fileName('..')).not.toContain('..');
  const long = fileName(`m[a="${'ü'.repeat(300)}"]`);
  expect(Buffer.byteLength(long)).toBeLessThanOrEqual(200);
  expect(fileName(`m[a=${'x'.repeat(300)}]`).length).toBeLessThanOrEqual(200);
});

test('the first dimension varies slowest', async () => {
  expect(await combinations('{ version: [10, 12], os: [a, b] }')).toEqual([
    { version: 10, os: 'a' },
    { version: 10, os: 'b' },
    { version: 12, os: 'a' },
    { version: 12, os: 'b' },
  ]);
});

test("include, as in GitHub's example of fruits and animals", async () => {
  const matrix = `{ fruit: [apple, pear], animal: [cat, dog], include: [{ color: green }, { color: pink, animal: cat },
    { fruit: apple, shape: circle }, { fruit: banana }, { fruit: banana, animal: cat }] }`;
  expect(await combinations(matrix)).toEqual([
    { fruit: 'apple', animal: 'cat', color: 'pink', shape: 'circle' },
    { fruit: 'apple', animal: 'dog', color: 'green', shape: 'circle' },
    { fruit: 'pear', animal: 'cat', color: 'pink' },
    { fruit: 'pear', animal: 'dog', color: 'green' },
    { fruit: 'banana' },
    { fruit: 'banana', animal: 'cat' },
  ]);
});

test("include, as in GitHub's example of expanding configurations", async () => {
  const matrix = '{ os: [windows-latest, ubuntu-latest], node: [14, 16], include: [{ os: windows-latest, node: 16, npm: 6 }] }';
  expect(await combinations(matrix)).toEqual([
    { os: 'windows-latest', node: 14 },
    { os: 'windows-latest', node: 16, npm: 6 },
    { os: 'ubuntu-latest', node: 14 },
    { os: 'ubuntu-latest', node: 16 },
  ]);
});

test("include, as in GitHub's examples of adding configurations, and by itself", async () => {
  expect(await combinations('{ os: [macos, windows], version: [12, 14], include: [{ os: windows, version: 17 }] }')).toHaveLength(5);
  expect(await combinations('{ include: [{ site: production, datacenter: site-a }, { site: staging, datacenter: site-b }] }')).toEqual([
    { site: 'production', datacenter: 'site-a' },
    { site: 'staging', datacenter: 'site-b' },
  ]);
});

test("exclude, as in GitHub's example: part of a combination is enough", async () => {
  const matrix = `{ os: [macos-latest, windows-latest], version: [12, 14, 16], environment: [staging, production],
    exclude: [{ os: macos-latest, version: 12, environment: production }, { os: windows-latest, version: 16 }] }`;
  const found = (await combinations(matrix)) as any[];
  expect(found).toHaveLength(9);
  expect(found).not.toContainEqual({ os: 'macos-latest', version: 12, environment: 'production' });
  expect(found.filter(({ os, version }) => os === 'windows-latest' && version === 16)).toEqual([]);
});

test('exclude accepts lists of values, compares types, and applies before include', async () => {
  expect(await combinations('{ lr: [1e-3, 1e-4, 1e-5], bs: [16, 32], exclude: [{ lr: [0.001, 0.0001], bs: 16 }] }')).toEqual([
    { lr: 0.001, bs: 32 },
    { lr: 0.0001, bs: 32 },
    { lr: 0.00001, bs: 16 },
    { lr: 0.00001, bs: 32 },
  ]);
  expect(await combinations('{ a: [1, "1"], exclude: [{ a: "1" }] }')).toEqual([{ a: 1 }]);
  expect(await combinations('{ m: [{ n: a, v: 1 }, { n: b, v: 1 }], exclude: [{ m: { n: b } }] }')).toEqual([{ m: { n: 'a', v: 1 } }]);
  expect(await combinations('{ a: [1, 2], exclude: [{ a: 1 }], include: [{ a: 1, b: x }] }')).toEqual([{ a: 2 }, { a: 1, b: 'x' }]);
  expect(await combinations('{ a: [1], exclude: [{ a: 1 }], include: [{ b: x }] }')).toEqual([{ b: 'x' }]);
});

test('a matrix, a dimension or its parts can come from parameters', async () => {
  const yaml = text`
    params: { all: { a: [1, 2] }, b: [x, y], out: [{ b: y }] }
    steps:
      m: { run: echo, matrix: "$\{{ params.all }}" }
      n: { run: echo, matrix: { b: "$\{{ params.b }}", exclude: "$\{{ params.out }}" } }
  `;
  expect(await cells(yaml)).toEqual(['m[a=1]', 'm[a=2]', 'n[b=x]']);
});

test('errors in a matrix', async () => {
  expect(await mistakes('{ a: [1, 2], exclude: [{ a: [1, 2] }] }')).toContain('this matrix has no combinations');
  expect(await mistakes('{ a: [] }')).toContain('"matrix.a" cannot be empty');
  expect(await mistakes('{}')).toContain('"matrix" cannot be empty');
  expect(await mistakes('{ include: [] }')).toContain('this matrix has no combinations');
  expect(await mistakes('{ a: 1 }')).toContain('"matrix.a" takes a list');
  expect(await mistakes('{ a: [1, 2, 1.0] }')).toContain('1.0 occurs twice in "a"');
  expect(await mistakes('{ a: [[1], 2] }')).toContain('"matrix.a[0]" takes a scalar or a map, found a list');
  expect(await mistakes('{ abc: [1], exclude: [{ abd: 1 }] }')).toContain('"abd" is not a dimension of this matrix');
  expect(await mistakes('{ a: [1], include: [{ b: 1 }, { a: 2 }, { a: 2 }] }')).toContain('this entry duplicates an existing combination');
  expect(await mistakes('{ a: [1], include: [{ b: [1] }] }')).toContain('"matrix.include[0].b" takes a scalar or a map, found a list');
  expect(await mistakes('{ a: [1], excludes: [{ b: 1 }] }')).toBe('no mistake'); // a dimension like any other
  const many = `[${Array.from({ length: 100 }, (_, i) => i).join()}]`;
  expect(await mistakes(`{ a: ${many}, b: ${many}, c: ${many} }`)).toContain('has 1000000 combinations');
});

test('the positions of errors in a matrix', async () => {
  const screen = await new Project().screen(text`
    params: { lrs: [1, 2, 1], map: { a: [] } }
    steps:
      a: { run: echo, matrix: { lr: "$\{{ params.lrs }}" } }
      b: { run: echo, matrix: "$\{{ params.map }}" }
      c: { run: echo, matrix: { k: [1, 2], exclude: [{ j: 1 }, { k: [1, 2] }] } }
      d: { run: "echo $\{{ matrix.kk }}", matrix: { k: [1] } }
      e: { run: "echo $\{{ matrix.v }} $\{{ matrix.k.name }} $\{{ matrix.m.nam }}", matrix: { k: [1], m: [{ name: x }], include: [{ k: 2, v: 3 }] } }
      f: { run: "echo $\{{ steps.g.o }}", matrix: { k: [1] } }
      g: { run: echo, outputs: { o: "out/$\{{ matrix.k }}" }, matrix: { k: [1, 2] } }
      h: { run: "echo $\{{ steps.g.o }} $\{{ steps.i.o }}" }
      i: { run: echo, outputs: { o: "out/i/$\{{ matrix.k }}" }, matrix: { k: [3] } }
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:1:23: error: 1 occurs twice in "lr"
      1 | params: { lrs: [1, 2, 1], map: { a: [] } }
        |                       ^
      = Each value makes its own cell. Remove one of them.

    p.yaml:1:37: error: "matrix.a" cannot be empty
      1 | params: { lrs: [1, 2, 1], map: { a: [] } }
        |                                     ^^

    p.yaml:5:52: error: "j" is not a dimension of this matrix
      5 |   c: { run: echo, matrix: { k: [1, 2], exclude: [{ j: 1 }, { k: [1, 2] }] } }
        |                                                    ^
      = dimensions: k

    p.yaml:6:30: error: there is no matrix.kk
      6 |   d: { run: "echo \${{ matrix.kk }}", matrix: { k: [1] } }
        |                              ^^
      = dimensions of this step: k

    p.yaml:7:30: error: there is no matrix.v in the cell e[k=1,m={"name":"x"}]
      7 |   e: { run: "echo \${{ matrix.v }} \${{ matrix.k.name }} \${{ matrix.m.nam }}", matrix: { k: [1], m: [{…
        |                              ^
      = dimensions: k, m

    p.yaml:7:48: error: matrix.k is 1, which has no "name" in the cell e[k=1,m={"name":"x"}]
      7 |   e: { run: "echo \${{ matrix.v }} \${{ matrix.k.name }} \${{ matrix.m.nam }}", matrix: { k: [1], m: [{…
        |                                                ^^^^
      = Write \${{ matrix.k }}.

    p.yaml:7:67: error: there is no matrix.m in the cell e[k=2,v=3]
      7 |   e: { run: "echo \${{ matrix.v }} \${{ matrix.k.name }} \${{ matrix.m.nam }}", matrix: { k: [1], m: [{…
        |                                                                   ^
      = dimensions: k, v

    p.yaml:7:69: error: there is no matrix.m.nam in the cell e[k=1,m={"name":"x"}]
      7 | … { run: "echo \${{ matrix.v }} \${{ matrix.k.name }} \${{ matrix.m.nam }}", matrix: { k: [1], m: [{ nam…
        |                                                                  ^^^
      = did you mean "name"? matrix.m has: name

    p.yaml:8:48: error: this step already inherits the dimension "k" from step "g"
      8 |   f: { run: "echo \${{ steps.g.o }}", matrix: { k: [1] } }
        |                                                ^
      = Remove it, or give it another name.

    p.yaml:10:3: error: step "h" has no cells, because the matrices of g and i have no values in common
      10 |   h: { run: "echo \${{ steps.g.o }} \${{ steps.i.o }}" }
         |   ^
      = Dimensions of the same name are joined on equal values.
    "
  `);
});

test('a cell has the dimensions of every step that it refers to', async () => {
  const yaml = text`
    steps:
      data: { run: echo, outputs: { o: "d/$\{{ matrix.seed }}" }, matrix: { seed: [1, 2] } }
      train: { run: "echo $\{{ steps.data.o }}", outputs: { o: "t/$\{{ matrix.seed }}-$\{{ matrix.lr }}" }, matrix: { lr: [0.1, 0.2] } }
      other: { run: echo, outputs: { o: "o/$\{{ matrix.x }}" }, matrix: { x: [a, b] } }
      joined: { run: "echo $\{{ steps.train.o }} $\{{ steps.data.o }}" }
      crossed: { run: "echo $\{{ steps.data.o }} $\{{ steps.other.o }}" }
      gathered: { run: "echo $\{{ steps.train[*].o }}" }
      needed: { run: echo, needs: [train, other] }
      below: { run: "echo $\{{ steps.gathered.o }} $\{{ steps.other.o }}" }
  `.replace('[*].o }}" }', '[*].o }}", outputs: { o: g } }');
  const pipeline = await new Project().read(yaml);
  expect(names(pipeline)).toEqual([
    'data[seed=1]',
    'data[seed=2]',
    'train[lr=0.1,seed=1]',
    'train[lr=0.2,seed=1]',
    'train[lr=0.1,seed=2]',
    'train[lr=0.2,seed=2]',
    'other[x=a]',
    'other[x=b]',
    'joined[lr=0.1,seed=1]',
    'joined[lr=0.2,seed=1]',
    'joined[lr=0.1,seed=2]',
    'joined[lr=0.2,seed=2]',
    'crossed[seed=1,x=a]',
    'crossed[seed=1,x=b]',
    'crossed[seed=2,x=a]',
    'crossed[seed=2,x=b]',
    'gathered',
    'needed',
    'below[x=a]',
    'below[x=b]',
  ]);
  const cell = (name: string) => pipeline.cells.find((one) => one.name === name)!;
  expect(commands(cell('joined[lr=0.2,seed=1]'))).toEqual(['echo t/1-0.2 d/1']);
  expect(cell('joined[lr=0.2,seed=1]').reads).toEqual(['train[lr=0.2,seed=1]', 'data[seed=1]']);
  // [*] is in the order of the cells' names.
  expect(commands(cell('gathered'))).toEqual(['echo t/1-0.1 t/2-0.1 t/1-0.2 t/2-0.2']);
  expect(cell('needed').waits).toHaveLength(6);
  expect(cell('needed').reads).toEqual([]);
});

test('dimensions with the same name in two steps join on equal values; maps are inherited as a whole', async () => {
  const yaml = text`
    steps:
      a: { run: echo, outputs: { o: "a/$\{{ matrix.m.name }}" }, matrix: { m: [{ name: x, size: 1 }, { name: y, size: 2 }] } }
      b: { run: echo, outputs: { o: "b/$\{{ matrix.m.name }}$\{{ matrix.k }}" }, matrix: { k: [1, 2], m: [{ size: 2, name: y }, { name: z, size: 3 }] } }
      c: { run: "echo $\{{ steps.a.o }} $\{{ steps.b.o }} $\{{ matrix.m.size }}" }
  `;
  const pipeline = await new Project().read(yaml);
  expect(pipeline.cells.filter(({ step }) => step === 'c').map((cell) => [cell.name, ...commands(cell)])).toEqual([
    ['c[k=1,m={"name":"y","size":2}]', 'echo a/y b/y1 2'],
    ['c[k=2,m={"name":"y","size":2}]', 'echo a/y b/y2 2'],
  ]);
});

test('dependency cycles', async () => {
  const screen = await new Project({ 'x.txt': '' }).screen(text`
    steps:
      one: { run: "cat $\{{ steps.three.o }}", outputs: { o: out/1 } }
      two: { run: "cat $\{{ steps.one[*].o }}", outputs: { o: out/2 }, matrix: { k: [1] } }
      three: { run: "cat $\{{ steps.two[*].o }}", outputs: { o: out/3 } }
      p: { run: cat, needs: [q] }
      q: { run: cat, needs: p }
      x: { run: cat, inputs: { i: made/y }, outputs: { o: made/x } }
      y: { run: cat, inputs: { i: made/x }, outputs: { o: made/y } }
      after: { run: "cat $\{{ steps.three.o }} $\{{ params.none }}" }
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:2:20: error: these steps depend on each other: one → two → three → one
      2 |   one: { run: "cat \${{ steps.three.o }}", outputs: { o: out/1 } }
        |                    ^^^^^^^^^^^^^^^^^^^^
      = Remove one of the references.

    p.yaml:5:26: error: these steps depend on each other: p → q → p
      5 |   p: { run: cat, needs: [q] }
        |                          ^
      = Remove one of the references.

    p.yaml:8:31: error: these cells depend on each other: y → x → y
      8 |   y: { run: cat, inputs: { i: made/x }, outputs: { o: made/y } }
        |                               ^^^^^^
      = This path is inside an output of x.

    p.yaml:9:54: error: there is no parameter "none"
      9 |   after: { run: "cat \${{ steps.three.o }} \${{ params.none }}" }
        |                                                      ^^^^
      = parameters: none
    "
  `);
});
