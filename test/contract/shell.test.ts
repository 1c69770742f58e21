/** The contract of shell steps: states, paths, environment, outputs (docs/caching.md, docs/custom-steps.md). */
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project } from '../rig.ts';

const SORT = `
name: sort
params: { column: 1 }
steps:
  sort:
    run: sort -k \${{ params.column }} \${{ inputs.words }} > \${{ outputs.list }}
    inputs: { words: words/*.txt }
    outputs: { list: out/sorted.txt }
  count:
    run: wc -l < \${{ steps.sort.list }} > \${{ outputs.n }}
    outputs: { n: out/count.txt }
`;

const WORDS = { 'words/a.txt': 'pear\napple\n', 'words/b.txt': 'fig\n' };

test('a second run is fresh; an edit reruns its readers; reverting it restores', async () => {
  const p = project({ 'sort.yaml': SORT, ...WORDS });
  expect((await p.states('sort.yaml')).cells).toEqual({ sort: 'ran', count: 'ran' });
  expect(p.read('out/sorted.txt')).toBe('apple\nfig\npear\n');
  expect((await p.states('sort.yaml')).cells).toEqual({ sort: 'fresh', count: 'fresh' });

  p.write('words/b.txt', 'date\n');
  // Still three lines: `count` reads other bytes, so it runs and makes the same file.
  expect((await p.states('sort.yaml')).cells).toEqual({ sort: 'ran', count: 'ran' });
  p.write('words/b.txt', 'fig\n');
  expect((await p.states('sort.yaml')).cells).toEqual({ sort: 'restored', count: 'fresh' });
  expect(p.read('out/sorted.txt')).toBe('apple\nfig\npear\n');
});

test('a cell that runs again and makes identical outputs reruns no dependents', async () => {
  const p = project({ 'sort.yaml': SORT, ...WORDS });
  await p.states('sort.yaml');
  p.write('words/a.txt', 'apple\npear\n');
  expect((await p.states('sort.yaml')).cells).toEqual({ sort: 'ran', count: 'fresh' });
});

test('a new mtime, a moved checkout and another order of options rerun nothing', async () => {
  const p = project({ 'sort.yaml': SORT, ...WORDS });
  await p.states('sort.yaml');
  utimesSync(p.path('words/a.txt'), new Date(), new Date(Date.now() + 5000));
  utimesSync(p.path('out/sorted.txt'), new Date(), new Date(Date.now() + 5000));
  expect((await p.states('sort.yaml')).cells).toEqual({ sort: 'fresh', count: 'fresh' });

  const moved = project({});
  cpSync(p.folder, join(moved.folder, 'deep/er'), { recursive: true });
  expect((await moved.states('deep/er/sort.yaml')).cells).toEqual({ sort: 'fresh', count: 'fresh' });
});

test('deleted and edited outputs are restored; the edited file is saved and reported', async () => {
  const p = project({ 'sort.yaml': SORT, ...WORDS });
  await p.states('sort.yaml');
  p.remove('out/sorted.txt');
  expect((await p.states('sort.yaml')).cells).toEqual({ sort: 'restored', count: 'fresh' });

  p.write('out/sorted.txt', 'my own work\n');
  const run = await p.run('run', 'sort.yaml', '--plain');
  expect(run.code).toBe(0);
  expect(p.read('out/sorted.txt')).toBe('apple\nfig\npear\n');
  const kept = run.stdout.match(/\.tunesmith\/kept\/\S+/)?.[0];
  expect(kept).toBeDefined();
  expect(p.read(kept!.replace(/[.,:;]$/, ''))).toBe('my own work\n');
});

test("a file at an output's path before the first run is saved and reported", async () => {
  const p = project({ 'sort.yaml': SORT, ...WORDS, 'out/sorted.txt': 'precious\n' });
  const run = await p.run('run', 'sort.yaml', '--plain');
  const kept = run.stdout.match(/\.tunesmith\/kept\/\S+/)?.[0];
  expect(p.read(kept!.replace(/[.,:;]$/, ''))).toBe('precious\n');
});

test('on failure, the former files return, and partial outputs go to .tunesmith/failed', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: "echo new > ${{ outputs.o }}; cat missing", outputs: { o: out/o.txt } } }' });
  p.write('out/o.txt', 'former\n');
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code).toBe(1);
  expect(p.read('out/o.txt')).toBe('former\n');
  expect(
    p
      .find('.tunesmith/failed')
      .filter((f) => f.endsWith('o.txt'))
      .map((f) => p.read(f)),
  ).toEqual(['new\n']);
  expect(run.stdout + run.stderr).toMatch(/missing/);
});

test('a missing output fails the cell, and its dependents are skipped', async () => {
  const p = project({
    'p.yaml':
      'steps: { a: { run: "true", outputs: { o: out/o.txt } }, b: { run: "cat ${{ steps.a.o }} > ${{ outputs.o }}", outputs: { o: out/b.txt } } }',
  });
  const result = await p.states('p.yaml');
  expect(result.code).toBe(1);
  expect(result.cells).toEqual({ a: 'failed', b: 'skipped' });
});

test('a list of commands runs in order and stops at the first failure', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: ["echo one >> log", "false", "echo three >> log"] } }' });
  expect((await p.states('p.yaml')).code).toBe(1);
  expect(p.read('log')).toBe('one\n');
});

test('the child sees only declared variables; unset differs from empty', async () => {
  const yaml = 'steps: { a: { run: "env > ${{ outputs.o }}", env: [MY_VAR], outputs: { o: out/env.txt } } }';
  const p = project({ 'p.yaml': yaml }, { MY_VAR: 'seen', OTHER_VAR: 'unseen', HTTP_PROXY: 'http://127.0.0.1:9', LC_ALL: 'C' });
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
  const env = p.read('out/env.txt');
  expect(env).toMatch(/^MY_VAR=seen$/m);
  expect(env).toMatch(/^HTTP_PROXY=/m);
  expect(env).not.toMatch(/OTHER_VAR/);
  p.env.OTHER_VAR = 'changed';
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'fresh' });
  p.env.MY_VAR = '';
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
  delete p.env.MY_VAR;
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
});

test('a secret reaches only the child', async () => {
  const yaml =
    'steps: { a: { run: "echo token is $TOKEN; test -n \\"$TOKEN\\" && echo ok > ${{ outputs.o }}", secrets: [TOKEN], outputs: { o: o.txt } } }';
  const p = project({ 'p.yaml': yaml }, { TOKEN: 'hunter2-is-long' });
  const run = await p.run('run', 'p.yaml', '--json');
  expect(run.code).toBe(0);
  expect(run.stdout).not.toContain('hunter2');
  for (const file of p.find('.tunesmith')) expect(readFileSync(p.path(file)).includes('hunter2'), file).toBe(false);
  p.env.TOKEN = 'another-secret-value';
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'fresh' });
  // More about when it is needed: test/optional/variants/secrets.test.ts.
  p.env.TOKEN = undefined;
  const refused = await p.run('run', 'p.yaml', '--force');
  expect([refused.code, refused.screen]).toEqual([2, expect.stringContaining('error: the environment variable TOKEN is not set')]);
});

test('folders are outputs: names, bytes, executable bits, links, empty folders', async () => {
  const yaml = `
steps:
  tree:
    run: mkdir -p "tree/empty" "tree/with space"; echo x > "tree/with space/é"; printf '#!/bin/sh' > tree/tool; chmod +x tree/tool; ln -s tool tree/link; ln -s nowhere tree/dangling
    outputs: { tree: tree }
`;
  const p = project({ 'p.yaml': yaml });
  expect((await p.states('p.yaml')).cells).toEqual({ tree: 'ran' });
  p.remove('tree');
  expect((await p.states('p.yaml')).cells).toEqual({ tree: 'restored' });
  expect(p.find('tree', { all: true }).sort()).toEqual([
    'tree/dangling',
    'tree/empty',
    'tree/link',
    'tree/tool',
    'tree/with space',
    'tree/with space/é',
  ]);
  expect(p.stat('tree/tool').mode & 0o111).not.toBe(0);
  expect(p.stat('tree/with space/é').mode & 0o111).toBe(0);
  chmodSync(p.path('tree/tool'), 0o644);
  expect((await p.states('p.yaml')).cells).toEqual({ tree: 'restored' });
  expect(p.stat('tree/tool').mode & 0o111).not.toBe(0);
});

test('values become single shell words, lists become several, whatever their content', async () => {
  const nasty = `it's "quoted" $HOME; rm -rf * \\ é`;
  const yaml = `
params: { word: ${JSON.stringify(nasty)}, list: [a b, "*"], dash: -n }
steps:
  a:
    run: printf '%s\\n' \${{ params.word }} \${{ params.list }} \${{ inputs.files }} > \${{ outputs.o }}
    inputs: { files: ["in put/*.txt"] }
    outputs: { o: out/o.txt }
`;
  const p = project({ 'p.yaml': yaml, 'in put/one.txt': '', 'in put/two words.txt': '' });
  expect((await p.states('p.yaml')).code).toBe(0);
  expect(p.read('out/o.txt').trimEnd().split('\n')).toEqual([nasty, 'a b', '*', 'in put/one.txt', 'in put/two words.txt']);
});

test('paths are relative to the pipeline file, whatever the working folder; the project root is found in a parent folder', async () => {
  const p = project({ 'package.json': '{}', 'sub/p.yaml': SORT, 'sub/words/a.txt': 'b\na\n' });
  mkdirSync(p.path('elsewhere'));
  const run = await p.runIn('elsewhere', 'run', '../sub/p.yaml', '--json');
  expect(run.code).toBe(0);
  expect(p.read('sub/out/sorted.txt')).toBe('a\nb\n');
  expect(existsSync(p.path('.tunesmith/.gitignore'))).toBe(true);
  expect(existsSync(p.path('sub/.tunesmith'))).toBe(false);
});

test("an input inside a step's output makes a dependency", async () => {
  const yaml = `
steps:
  use: { run: "cat \${{ inputs.f }} > \${{ outputs.o }}", inputs: { f: "made/*.txt" }, outputs: { o: o.txt } }
  make: { run: "mkdir -p made; echo x > made/x.txt", outputs: { d: made } }
`;
  const p = project({ 'p.yaml': yaml });
  expect((await p.states('p.yaml')).cells).toEqual({ use: 'ran', make: 'ran' });
  expect(p.read('o.txt')).toBe('x\n');
});

test('cache: false always runs; identical outputs rerun no dependents', async () => {
  const yaml = `
steps:
  now: { run: "echo same > \${{ outputs.o }}", cache: false, outputs: { o: now.txt } }
  use: { run: "cat \${{ steps.now.o }} > \${{ outputs.o }}", outputs: { o: use.txt } }
`;
  const p = project({ 'p.yaml': yaml });
  await p.states('p.yaml');
  expect((await p.states('p.yaml')).cells).toEqual({ now: 'ran', use: 'fresh' });
});

test('--force runs the selected cells and stores the new result', async () => {
  const yaml =
    'steps: { a: { run: "date +%N > ${{ outputs.o }}", outputs: { o: o.txt } }, b: { run: "cp ${{ steps.a.o }} ${{ outputs.o }}", outputs: { o: p.txt } } }';
  const p = project({ 'p.yaml': yaml });
  await p.states('p.yaml');
  const before = p.read('o.txt');
  expect((await p.states('p.yaml', '--force', '--only', 'a')).cells).toEqual({ a: 'ran' });
  const after = p.read('o.txt');
  expect(after).not.toBe(before);
  p.remove('o.txt');
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'restored', b: 'ran' });
  expect(p.read('o.txt')).toBe(after);
});
