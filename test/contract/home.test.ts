/** `~/x` means the same as in a shell, in files, flags and variables; no folder is ever named `~`. */
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project } from '../rig.ts';

test('inputs, globs, steps, flags, the cache and the pipeline itself in the home folder', async () => {
  const p = project({
    'home/data/a.txt': 'a\n',
    'home/data/b.txt': 'b\n',
    'home/own.mjs':
      "import { writeFileSync } from 'node:fs';\nexport default { name: 'own', version: 1, inputs: { i: 'file' }, outputs: { o: 'file' }, run: ({ inputs, outputs }) => writeFileSync(outputs.o, inputs.i) };\n",
    'home/over.yaml': 'file: ~/data/b.txt\n',
    'work/package.json': '{}',
    'work/p.yaml': `
params: { file: ~/data/a.txt }
steps:
  one: { run: "cat \${{ inputs.i }} \${{ inputs.all }} > \${{ outputs.o }}", inputs: { i: "\${{ params.file }}", all: "~/data/*.txt" }, outputs: { o: out/one } }
  own: { uses: ~/own.mjs, with: { i: ~/data/a.txt } }
`,
  });
  Object.assign(p.env, { HOME: p.path('home'), TUNESMITH_CACHE: '~/cache' });
  expect((await p.runIn('work', 'run', 'p.yaml', '--params=~/over.yaml', '--json')).events.at(-1).cells).toEqual({
    one: 'ran',
    own: 'ran',
  });
  expect(p.read('work/out/one')).toBe('b\na\nb\n');
  expect(p.read('work/.tunesmith/outputs/p/own/o')).toBe(p.path('home/data/a.txt'));
  expect(p.exists('home/cache/index.sqlite')).toBe(true);
  // The cached pipeline depends on the home folder, too.
  p.write('other/data/a.txt', 'other\n');
  p.env.HOME = p.path('other');
  expect((await p.runIn('work', 'validate', 'p.yaml')).stderr).toContain('own.mjs');
  p.env.HOME = p.path('home');
  p.write('home/q.yaml', 'steps: { a: { run: echo } }\n');
  expect((await p.runIn('work', 'validate', '~/q.yaml')).code).toBe(0);
  expect(existsSync(p.path('work/~'))).toBe(false);
});

test('a relative TUNESMITH_CACHE is relative to the working folder, for steps as well', async () => {
  const p = project({
    'package.json': '{}',
    'sub/p.yaml': 'steps: { a: { run: "echo > ${{ outputs.o }}", outputs: { o: x } }, b: { uses: collect, with: { files: t.txt } } }\n',
    'sub/t.txt': 'a\n',
  });
  p.env.TUNESMITH_CACHE = 'shared/cache';
  expect((await p.states('sub/p.yaml')).cells).toEqual({ a: 'ran', b: 'ran' });
  expect(p.exists('shared/cache/index.sqlite')).toBe(true);
  expect(p.exists('sub/shared')).toBe(false);
});
