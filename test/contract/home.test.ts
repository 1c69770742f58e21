/** `~/x` means the same as in a shell, in files, flags and variables; no folder is ever named `~`. */
import { existsSync } from 'node:fs';
import { userInfo } from 'node:os';
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

test("outputs outside of the project and in another user's home folder are refused", async () => {
  const p = project({
    'p.yaml': `
steps:
  a: { run: "echo > \${{ outputs.o }}", outputs: { o: ~/elsewhere/out } }
  b: { run: "echo > \${{ outputs.o }}", outputs: { o: ~somebody/out } }
`,
  });
  const { stderr, code } = await p.run('run', 'p.yaml');
  expect(code).toBe(2);
  expect(stderr).toContain('output "o" is outside the project');
  expect(stderr).toContain('output "o" begins with ~somebody, which tunesmith does not expand');
  expect(p.find('.', { all: true }).filter((path) => path.startsWith('~'))).toEqual([]);
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

test("an empty or relative HOME is ignored: the user's home comes from the system, and no folder is created here", async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: "echo $HOME > ${{ outputs.o }}", outputs: { o: x } } }\n' });
  for (const [home, seen] of [
    ['', '\n'],
    ['relative', '\n'],
    ['/some/where', '/some/where\n'],
  ] as const) {
    p.env.HOME = home;
    expect((await p.states('p.yaml', '--force')).cells).toEqual({ a: 'ran' });
    expect(p.read('x')).toBe(seen);
    expect((await p.run('generate', '~/no-model', 'a')).stderr).toContain(
      home.startsWith('/') ? '/some/where/no-model' : userInfo().homedir,
    );
  }
  expect(p.find('.', { all: true }).filter((path) => !path.startsWith('.tunesmith'))).toEqual(['p.lock', 'p.yaml', 'x']);
});

test("another user's home folder in a variable or an argument is refused, and no folder is created", async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: echo } }\n' });
  for (const name of ['TUNESMITH_CACHE', 'TUNESMITH_HOME', 'XDG_CACHE_HOME', 'HF_HOME']) {
    p.env[name] = '~somebody/folder';
    const { code, stderr } = await p.run('run', 'p.yaml');
    expect([code, stderr]).toEqual([2, expect.stringContaining(`${name} begins with ~somebody, which tunesmith does not expand`)]);
    delete p.env[name];
  }
  for (const command of [
    ['init', '~somebody/x'],
    ['schema', '-o', '~somebody/x.json'],
    ['cache', 'export', '~somebody/x.tar'],
    ['validate', '~somebody/p.yaml'],
  ]) {
    const { code, stderr } = await p.run(...command);
    expect([code, stderr]).toEqual([2, expect.stringContaining('begins with ~somebody, which tunesmith does not expand')]);
  }
  expect(p.find('.', { all: true })).toEqual(['p.yaml']);
});
