/** Home folders: empty, relative, and of another user. */
import { userInfo } from 'node:os';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

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
