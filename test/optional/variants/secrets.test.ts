/** When a secret is needed. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

test('only executing a cell that reads a secret needs the secret', async () => {
  const yaml = `
params: { n: 1 }
steps:
  a: { run: "echo \${{ params.n }} > \${{ outputs.o }}", outputs: { o: a.txt } }
  b:
    run: 'echo got $TOKEN $OTHER; wc -l < \${{ steps.a.o }} > \${{ outputs.o }}'
    secrets: [TOKEN, OTHER]
    outputs: { o: b.txt }
`;
  const p = project({ 'p.yaml': yaml }, { TOKEN: undefined, OTHER: undefined });
  const readOnly = async () => {
    const commands = ['status', 'validate', 'graph', 'explain b', 'logs a', 'show a.o', 'run --dry-run'];
    for (const command of commands) expect([command, (await p.run(...command.split(' '))).code]).toEqual([command, 0]);
  };
  // Nothing runs in vain: b must run, because it has no result.
  const refused = `p.yaml:7:15: error: the environment variable TOKEN is not set
  7 |     secrets: [TOKEN, OTHER]
    |               ^^^^^
  = Set it before the run: export TOKEN=…

p.yaml:7:22: error: the environment variable OTHER is not set
  7 |     secrets: [TOKEN, OTHER]
    |                      ^^^^^
  = Set it before the run: export OTHER=…
`;
  expect(await p.run('run', 'p.yaml')).toMatchObject({ code: 2, screen: refused });
  expect(p.exists('a.txt')).toBe(false);
  expect((await p.states('p.yaml', '--only', 'a')).cells).toEqual({ a: 'ran' });
  await readOnly();
  // An empty value is set.
  Object.assign(p.env, { TOKEN: 'hunter2-is-long', OTHER: '' });
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'fresh', b: 'ran' });
  expect((await p.run('logs', 'b')).stdout).toBe('got ***\n');
  Object.assign(p.env, { TOKEN: undefined, OTHER: undefined });
  await readOnly();
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'fresh', b: 'fresh' });
  p.remove('b.txt');
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'fresh', b: 'restored' });
  const verified = await p.run('verify', 'p.yaml');
  expect(verified).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/✔ a .* identical outputs\n✖ b .* variable TOKEN is not set\n/),
  });
  // After a has run, b may be fresh. If b must run, only b fails.
  p.write('p.yaml', yaml.replace('> ${{ outputs.o }}"', '> ${{ outputs.o }} # other"').replace('echo $', 'echo   $'));
  const notice = 'the environment variable TOKEN is not set; b will fail if it must run. Set it before the run: export TOKEN=…';
  const fresh = await p.states('p.yaml');
  expect(fresh.cells).toEqual({ a: 'ran', b: 'fresh' });
  expect(fresh.events.flatMap(({ type, message }) => (type === 'notice' ? [message] : []))).toContain(notice);
  const failing = await p.run('run', 'p.yaml', '-p', 'n=2', '--plain');
  expect(failing).toMatchObject({ code: 1, screen: expect.stringContaining('the environment variable TOKEN is not set') });
  expect(p.read('a.txt')).toBe('2\n');
});
