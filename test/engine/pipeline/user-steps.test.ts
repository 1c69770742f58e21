/** Custom steps: their declarations are read in a child process, and errors are reported at `uses`. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sealed, unsealed } from '../../../cache/database.ts';
import { codeOf } from '../../../engine/contract/step-code.ts';
import { describeStep } from '../../../engine/pipeline/resolve-step.ts';
import { project } from '../../rig.ts';
import { byName, options, Project, text } from './project.ts';

const STEP =
  "{ name: 'mine', version: 3, options: { n: { type: 'integer', minimum: 1, default: 2 } }, inputs: { data: 'file' }, outputs: { out: 'file' }, run() {} }";
const ESM = `import { defineStep } from 'tunesmith';\nexport default defineStep(${STEP});\n`;
const TS = ESM.replace('run()', 'async run({ options }: { options: { n: number } }): Promise<void>');
const CJS = `const { defineStep } = require('tunesmith');\nmodule.exports = defineStep(${STEP});\n`;

test('in every kind of module, in a package of any type, or as an installed package', async () => {
  const project = new Project({
    'x.txt': '',
    'a.ts': TS,
    'b.mts': TS,
    'c.js': ESM,
    'd.mjs': ESM,
    'e.cjs': CJS,
    'f.cts': `${CJS}const typed: number = 1;\n`,
    'g.js': CJS,
    'esm/package.json': '{"type": "module"}',
    'esm/a.ts': TS,
    'esm/c.js': ESM,
    'node_modules/@scope/step/package.json':
      '{"name": "@scope/step", "version": "1.2.3", "type": "module", "exports": {"import": "./lib/step.js"}}',
    'node_modules/@scope/step/lib/step.js': ESM,
    'node_modules/old-step/package.json': '{"name": "old-step", "version": "0.1.0", "main": "lib"}',
    'node_modules/old-step/lib/index.js': CJS,
  });
  const uses = [
    './a.ts',
    './b.mts',
    './c.js',
    './d.mjs',
    './e.cjs',
    './f.cts',
    './g.js',
    './esm/a.ts',
    './esm/c.js',
    '@scope/step',
    'old-step',
  ];
  const steps = uses.map((one, i) => `  s${i}: { uses: "${one}", with: { data: x.txt } }\n`);
  const { cells } = await project.read(`steps:\n${steps.join('')}`);
  for (const [i, cell] of cells.entries()) {
    expect(cell.action, uses[i]).toMatchObject({
      kind: 'step',
      uses: uses[i],
      definition: { name: 'mine', version: 3 },
      options: { n: 2 },
    });
    expect(cell.outputs.out!.path).toBe(join(project.folder, `.tunesmith/outputs/p/s${i}/out`));
  }
  expect((cells[9]!.action as any).module.path).toBe(join(project.folder, 'node_modules/@scope/step/lib/step.js'));
});

test('its options are checked like those of a built-in step', async () => {
  const project = new Project({ 'mine.ts': TS, 'x.txt': '' });
  expect(
    await project.screen(text`
      steps:
        a: { uses: ./mine.ts, with: { data: x.txt, n: 0 } }
        b: { uses: ./mine.ts, with: { dat: x.txt, m: "$\{{ steps.a.out }}", n: "$\{{ steps.a.out }}" } }
        c: { uses: ./mine.ts }
        d: { run: "cat $\{{ steps.a.put }}" }
    `),
  ).toMatchInlineSnapshot(`
    "p.yaml:2:49: error: "n" takes a number of at least 1, found 0
      2 |   a: { uses: ./mine.ts, with: { data: x.txt, n: 0 } }
        |                                                 ^

    p.yaml:3:33: error: unknown option "dat"
      3 |   b: { uses: ./mine.ts, with: { dat: x.txt, m: "\${{ steps.a.out }}", n: "\${{ steps.a.out }}" } }
        |                                 ^^^
      = did you mean "data"? ./mine.ts takes: data, n

    p.yaml:3:45: error: unknown option "m"
      3 |   b: { uses: ./mine.ts, with: { dat: x.txt, m: "\${{ steps.a.out }}", n: "\${{ steps.a.out }}" } }
        |                                             ^
      = ./mine.ts takes: data, n

    p.yaml:3:74: error: "n" is an option of ./mine.ts, and options cannot refer to outputs of steps
      3 |   b: { uses: ./mine.ts, with: { dat: x.txt, m: "\${{ steps.a.out }}", n: "\${{ steps.a.out }}" } }
        |                                                                          ^^^^^^^^^^^^^^^^^^
      = inputs of ./mine.ts: data

    p.yaml:4:3: error: missing input "data" of ./mine.ts
      4 |   c: { uses: ./mine.ts }
        |   ^
      = Write \`data:\` below \`with\`, with a path or \${{ steps.STEP.OUTPUT }}.

    p.yaml:5:30: error: step "a" has no output "put"
      5 |   d: { run: "cat \${{ steps.a.put }}" }
        |                              ^^^
      = did you mean "out"? its outputs: out
    "
  `);
});

test('errors of a module are reported at `uses`', async () => {
  const project = new Project({
    'helper.ts': 'export const x = ;\n',
    'syntax.ts': `import { x } from './helper.ts';\nx();\n${TS}`,
    'own-syntax.ts': 'export default {\n  name: 1 2\n};\n',
    'none.mjs': 'export const x = 1;\n',
    'empty.ts': '',
    'string.mjs': "export default 'step';\n",
    'no-run.mjs': "export default { name: 'x', version: 1, outputs: {} };\n",
    'no-version.mjs': "export default { name: 'x', outputs: {}, run() {} };\n",
    'kind.mjs': "export default { name: 'x', version: 1, outputs: { o: 'dir' }, run() {} };\n",
    'both.mjs': "export default { name: 'x', version: 1, options: { a: {} }, inputs: { a: 'file' }, outputs: {}, run() {} };\n",
    'schema.mjs': "export default { name: 'x', version: 1, options: { a: { type: 'strnig', default: 1 } }, outputs: {}, run() {} };\n",
    'throws.mjs': "throw new TypeError('boom\\nand more');\n",
    'exits.mjs': 'console.log(1); process.exit(3);\n',
    'missing-package.mjs': "import x from 'not-there';\nexport default x;\n",
    'missing-file.mjs': "import x from './not-there.js';\nexport default x;\n",
    'data.json': '{}',
    'node_modules/no-step/package.json': '{"name": "no-step", "version": "1.0.0", "exports": {"./other": "./x.js"}}',
  });
  const uses = [
    'syntax.ts',
    'own-syntax.ts',
    'none.mjs',
    'empty.ts',
    'string.mjs',
    'no-run.mjs',
    'no-version.mjs',
    'kind.mjs',
    'both.mjs',
    'schema.mjs',
    'throws.mjs',
  ]
    .concat(['exits.mjs', 'missing-package.mjs', 'missing-file.mjs', 'nothing.mjs', 'none', 'data.json', '.', '..'])
    .map((file) => (file.startsWith('.') ? file : `./${file}`))
    .concat(['none.mjs', 'no-step', 'no-step/other', '@scope/none', 'trian', '']);
  expect(await project.screen(`steps:\n${uses.map((one, i) => `  s${i}: { uses: "${one}" }\n`).join('')}`)).toMatchInlineSnapshot(`
    "p.yaml:2:15: error: ./syntax.ts: helper.ts:1:18: Unexpected ";"
      2 |   s0: { uses: "./syntax.ts" }
        |               ^^^^^^^^^^^^^

    p.yaml:3:15: error: ./own-syntax.ts: line 2, column 11: Expected "}" but found "2"
      3 |   s1: { uses: "./own-syntax.ts" }
        |               ^^^^^^^^^^^^^^^^^

    p.yaml:4:15: error: ./none.mjs: none.mjs has no default export
      4 |   s2: { uses: "./none.mjs" }
        |               ^^^^^^^^^^^^
      = Write \`export default defineStep({ … })\`.

    p.yaml:5:15: error: ./empty.ts: empty.ts has no default export
      5 |   s3: { uses: "./empty.ts" }
        |               ^^^^^^^^^^^^
      = Write \`export default defineStep({ … })\`.

    p.yaml:6:15: error: ./string.mjs: the default export of string.mjs is not a step
      6 |   s4: { uses: "./string.mjs" }
        |               ^^^^^^^^^^^^^^
      = Write \`export default defineStep({ … })\`.

    p.yaml:7:15: error: ./no-run.mjs: the default export of no-run.mjs is not a step: it has no function \`run\`
      7 |   s5: { uses: "./no-run.mjs" }
        |               ^^^^^^^^^^^^^^
      = \`tunesmith new-step\` writes an example of a step.

    p.yaml:8:15: error: ./no-version.mjs: the default export of no-version.mjs has no \`version\`
      8 |   s6: { uses: "./no-version.mjs" }
        |               ^^^^^^^^^^^^^^^^^^
      = Write \`version: 1\`, and raise it when the same inputs and options give a different result.

    p.yaml:9:15: error: ./kind.mjs: the default export of kind.mjs declares "o" as "dir"
      9 |   s7: { uses: "./kind.mjs" }
        |               ^^^^^^^^^^^^
      = The kind of an input or output is "file", "folder" or "any".

    p.yaml:10:15: error: ./both.mjs: the default export of both.mjs declares "a" both as an input and as an option
      10 |   s8: { uses: "./both.mjs" }
         |               ^^^^^^^^^^^^
      = Rename one of them, because \`with\` holds both.

    p.yaml:11:15: error: ./schema.mjs declares options that are not a valid JSON Schema: a/type must be equal to one of the allowed values
      11 |   s9: { uses: "./schema.mjs" }
         |               ^^^^^^^^^^^^^^
      = Fix the schema in the step.

    p.yaml:12:16: error: ./throws.mjs: it failed while loading: TypeError: boom
      12 |   s10: { uses: "./throws.mjs" }
         |                ^^^^^^^^^^^^^^
      = at throws.mjs:1:7

    p.yaml:13:16: error: ./exits.mjs: Node ended while loading it (exit code 3)
      13 |   s11: { uses: "./exits.mjs" }
         |                ^^^^^^^^^^^^^

    p.yaml:14:16: error: ./missing-package.mjs: it imports the package not-there, which is not installed
      14 |   s12: { uses: "./missing-package.mjs" }
         |                ^^^^^^^^^^^^^^^^^^^^^^^
      = Install it: npm install not-there

    p.yaml:15:16: error: ./missing-file.mjs: line 1, column 15: Could not resolve "./not-there.js"
      15 |   s13: { uses: "./missing-file.mjs" }
         |                ^^^^^^^^^^^^^^^^^^^^

    p.yaml:16:16: error: there is no file ./nothing.mjs
      16 |   s14: { uses: "./nothing.mjs" }
         |                ^^^^^^^^^^^^^^^
      = \`tunesmith new-step\` creates an example of a step.

    p.yaml:17:16: error: there is no file ./none
      17 |   s15: { uses: "./none" }
         |                ^^^^^^^^
      = did you mean ./none.mjs?

    p.yaml:18:16: error: ./data.json is not a step
      18 |   s16: { uses: "./data.json" }
         |                ^^^^^^^^^^^^^
      = A step is a .ts, .js or .mjs file.

    p.yaml:19:16: error: . is not a step
      19 |   s17: { uses: "." }
         |                ^^^
      = A step is a .ts, .js or .mjs file.

    p.yaml:20:16: error: .. is not a step
      20 |   s18: { uses: ".." }
         |                ^^^^
      = A step is a .ts, .js or .mjs file.

    p.yaml:21:16: error: there is no step "none.mjs"
      21 |   s19: { uses: "none.mjs" }
         |                ^^^^^^^^^^
      = To use the file, write ./none.mjs

    p.yaml:22:16: error: the package no-step has no module to import
      22 |   s20: { uses: "no-step" }
         |                ^^^^^^^^^
      = The package is not a step.

    p.yaml:23:16: error: the package no-step has no module ./other
      23 |   s21: { uses: "no-step/other" }
         |                ^^^^^^^^^^^^^^^
      = The package is not a step.

    p.yaml:24:16: error: there is no step "@scope/none"
      24 |   s22: { uses: "@scope/none" }
         |                ^^^^^^^^^^^^^
      = steps: collect, clean, split, check, drift, reduce, tokenize, train, calibrate, evaluate, behavior, select, … (18)
        Write a custom step as ./my-step.ts. A package must be installed.

    p.yaml:25:16: error: there is no step "trian"
      25 |   s23: { uses: "trian" }
         |                ^^^^^^^
      = did you mean "train"?
        Write a custom step as ./my-step.ts. A package must be installed.

    p.yaml:26:16: error: "uses" cannot be empty
      26 |   s24: { uses: "" }
         |                ^^
    "
  `);
});

test('a module that never finishes loading is stopped', async () => {
  const { folder } = new Project({ 'slow.mjs': 'await new Promise(() => setInterval(() => {}, 1000));\n' });
  const described = await describeStep(join(folder, 'slow.mjs'), { root: folder, patience: 1500 });
  expect(described).toMatchObject({ message: 'it was still loading after 1.5 s' });
});

test('the declaration is cached by the code; with readOnly, nothing is written', async () => {
  const project = new Project({
    'mine.ts': `import { n } from './n.ts';\n${TS.replace('default: 2', 'default: n')}`,
    'n.ts': 'export const n = 5;\n',
    'x.txt': '',
  });
  const yaml = 'steps: { a: { uses: ./mine.ts, with: { data: x.txt } } }\n';
  const kept = join(project.folder, '.tunesmith/descriptions');
  await project.read(yaml, { readOnly: true });
  expect(existsSync(join(project.folder, '.tunesmith'))).toBe(false);
  await project.read(yaml);
  const [first] = readdirSync(kept);
  expect(readFileSync(join(project.folder, '.tunesmith/.gitignore'), 'utf8')).toBe('*\n');
  // Only the declaration is cached, not the whole pipeline.
  rmSync(join(project.folder, '.tunesmith/pipelines'), { recursive: true });
  const changed = unsealed(readFileSync(join(kept, first!), 'utf8'))!.replace('"default":5', '"default":7');
  writeFileSync(join(kept, first!), sealed(changed));
  expect(options(byName(await project.read(yaml)).a!)).toEqual({ n: 7 });
  rmSync(join(project.folder, '.tunesmith/pipelines'), { recursive: true });
  writeFileSync(join(kept, first!), '{ damaged');
  expect(options(byName(await project.read(yaml)).a!)).toEqual({ n: 5 });
});

test('a compile error of a module is reported with its reason', async () => {
  const project = new Project({ 'package.json': '{}', 'waits.ts': `await 1;\nexport default ${STEP};\n` });
  expect(await describeStep(join(project.folder, 'waits.ts'), { root: project.folder, readOnly: true })).toEqual({
    message: expect.stringMatching(/^it failed while loading: .*: .*waits\.ts:1:0: ERROR: Top-level await is/),
  });
});

test("a step's code: its files, its imports, and the versions of packages", async () => {
  const project = new Project({
    'steps/mine.ts':
      "import { defineStep } from 'tunesmith';\nimport type { T } from './types.ts';\nimport { a } from '../lib/a.js';\nimport fs from 'node:fs';\nimport path from 'path';\nimport dep from 'dep/sub';\nimport scoped from '@s/dep';\nimport data from './data.json';\nexport default [a, fs, path, dep, scoped, data, defineStep, await import('./lazy.mjs')];\n",
    'steps/types.ts': 'export type T = 1;\n',
    'steps/data.json': '{}',
    'steps/lazy.mjs': "import 'gone';\n",
    'lib/a.ts': "export { b as a } from './b';\n",
    'lib/b.ts': 'export const b = 1;\n',
    'lib/unused.ts': 'export {};\n',
    'node_modules/dep/package.json': '{"name": "dep", "version": "1.2.3"}',
    'node_modules/@s/dep/package.json': '{"name": "@s/dep", "version": "4.5.6"}',
    'node_modules/pkg/package.json': '{"name": "pkg", "version": "7.8.9"}',
    'node_modules/pkg/x.js': '',
  });
  const at = (path: string) => join(project.folder, path);
  const code = await codeOf(at('steps/mine.ts'));
  expect(Object.keys(code.files)).toEqual(['../lib/a.ts', '../lib/b.ts', 'data.json', 'lazy.mjs', 'mine.ts']);
  expect(code.packages).toEqual({ '@s/dep': '4.5.6', dep: '1.2.3', gone: 'not installed' });
  expect(code.hash).toMatch(/^[0-9a-f]{64}$/);
  expect(await codeOf(at('node_modules/pkg/x.js'))).toMatchObject({ files: {}, packages: { pkg: '7.8.9' } });
});

test('two steps of one package are different code, even if they declare the same name', async () => {
  const step = (method: string, option: string) =>
    `import { readFileSync, writeFileSync } from 'node:fs';
     export default { name: 'case', version: 1, options: { ${option}: { type: 'string', default: '' } }, inputs: { text: 'file' }, outputs: { text: 'file' },
       run({ inputs, outputs }) { writeFileSync(outputs.text, readFileSync(inputs.text, 'utf8').${method}()); } };`;
  const pipeline = (option: string) =>
    `steps: { up: { uses: pair/up, with: { text: in.txt, ${option} } }, low: { uses: pair/low, with: { text: in.txt } } }`;
  const p = project({
    'package.json': '{}',
    'in.txt': 'Hello',
    'p.yaml': pipeline(''),
    'node_modules/pair/package.json': '{"name": "pair", "version": "1.0.0", "type": "module", "exports": {"./*": "./*.js"}}',
    'node_modules/pair/up.js': step('toUpperCase', 'a'),
    'node_modules/pair/low.js': step('toLowerCase', 'b'),
  });
  expect((await p.states('p.yaml')).cells).toEqual({ up: 'ran', low: 'ran' });
  expect(['up', 'low'].map((cell) => p.read(`.tunesmith/outputs/p/${cell}/text`))).toEqual(['HELLO', 'hello']);
  // Their descriptions are stored apart, too.
  p.write('p.yaml', pipeline('c: x'));
  expect((await p.run('validate', 'p.yaml')).stderr).toContain('pair/up takes: text, a');
});
