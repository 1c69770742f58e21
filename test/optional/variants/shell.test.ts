/** More options of commands. */
import { execFileSync } from 'node:child_process';
import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project, root } from '../../rig.ts';

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

test('two checkouts share one cache', async () => {
  const cache = project({});
  const one = project({ 'sort.yaml': SORT, ...WORDS }, { TUNESMITH_CACHE: cache.path('shared') });
  const two = project({ 'sort.yaml': SORT, ...WORDS }, { TUNESMITH_CACHE: cache.path('shared') });
  expect((await one.states('sort.yaml')).cells).toEqual({ sort: 'ran', count: 'ran' });
  expect((await two.states('sort.yaml')).cells).toEqual({ sort: 'restored', count: 'restored' });
  expect(two.read('out/sorted.txt')).toBe('apple\nfig\npear\n');
  expect(existsSync(one.path('.tunesmith/objects'))).toBe(false);
});

test('shell: bash has pipefail; sh does not', async () => {
  const step = (shell: string) => `steps: { a: { run: "false | true", ${shell} } }`;
  const p = project({ 'sh.yaml': step(''), 'bash.yaml': step('shell: bash') });
  expect((await p.states('sh.yaml')).code).toBe(0);
  expect((await p.states('bash.yaml')).code).toBe(1);
});

test('globs support **, are sorted by bytes and skip dotfiles and node_modules', async () => {
  const yaml = 'steps: { a: { run: "echo ${{ inputs.f }} > ${{ outputs.o }}", inputs: { f: "d/**/*.txt" }, outputs: { o: o.txt } } }';
  const p = project({ 'p.yaml': yaml, 'd/b.txt': '', 'd/B.txt': '', 'd/a/z.txt': '', 'd/.hidden.txt': '', 'd/node_modules/m.txt': '' });
  symlinkSync('b.txt', p.path('d/link.txt'));
  await p.states('p.yaml');
  expect(p.read('o.txt')).toBe('d/B.txt d/a/z.txt d/b.txt d/link.txt\n');
});

test('timeout stops a step and its children; retry runs it again', async () => {
  const yaml = `
steps:
  slow: { run: "(sleep 60; echo late > late.txt) & wait", timeout: 1s }
  flaky: { run: "echo x >> tries; test $(wc -l < tries) -ge 3", retry: { times: 3, delay: 1s } }
`;
  const p = project({ 'p.yaml': yaml });
  const started = Date.now();
  const result = await p.states('p.yaml', '--on-failure', 'continue');
  expect(result.cells).toEqual({ slow: 'failed', flaky: 'ran' });
  expect(Date.now() - started).toBeLessThan(20_000);
});

test('a closed pipe ends the run and its children without an error', async () => {
  const yaml = `
steps:
  first: { run: "sleep 1; echo > \${{ outputs.o }}", outputs: { o: first.txt } }
  second: { run: "sleep 60; echo > \${{ outputs.o }}", needs: first, outputs: { o: o.txt } }
`;
  const p = project({ 'p.yaml': yaml });
  const started = Date.now();
  // As `tunesmith … | head -1`, but with the exit code of tunesmith.
  const cli = join(root, 'dist/engine/cli.js');
  const script = `{ '${process.execPath}' '${cli}' run p.yaml --plain; echo $? > code; } | head -1 > seen`;
  execFileSync('/bin/sh', ['-c', script], { cwd: p.folder, env: { ...process.env, NO_COLOR: '1' } });
  expect(p.read('seen')).toBe('first: running (first run)\n');
  expect(Date.now() - started).toBeLessThan(15_000);
  expect(p.exists('o.txt')).toBe(false);
});
