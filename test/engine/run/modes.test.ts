/** Permissions of restored outputs and of a cache that a group shares. */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { project, root } from '../../rig.ts';

const modes = (p: ReturnType<typeof project>, names: string[]) =>
  Object.fromEntries(names.map((name) => [name, (p.stat(name).mode & 0o7777).toString(8)]));

test('an output is restored with its original permissions', async () => {
  const p = project({
    'p.yaml': `
steps:
  file: { run: "echo key > \${{ outputs.o }}; chmod 600 \${{ outputs.o }}", outputs: { o: out/key } }
  folder:
    run:
      - mkdir -p \${{ outputs.o }}/private \${{ outputs.o }}/locked
      - for n in private/a locked/b tool usual; do echo > \${{ outputs.o }}/$n; done
      - ln -s usual \${{ outputs.o }}/link
      - cd \${{ outputs.o }}; chmod 640 private/a; chmod 711 tool; chmod 400 locked/b; chmod 700 private; chmod 555 locked; chmod 4755 usual
    outputs: { o: out/folder }
`,
  });
  p.unprivileged();
  expect((await p.states('p.yaml')).cells).toEqual({ file: 'ran', folder: 'ran' });
  const names = ['out/key', ...['private', 'private/a', 'locked', 'locked/b', 'tool'].map((name) => `out/folder/${name}`)];
  const made = modes(p, names);
  expect(made).toMatchObject({ 'out/key': '600', 'out/folder/private/a': '640', 'out/folder/locked': '555' });
  p.remove('out');
  p.unprivileged();
  expect((await p.states('p.yaml')).cells).toEqual({ file: 'restored', folder: 'restored' });
  expect(modes(p, names)).toEqual(made);
  expect(modes(p, ['out/folder/usual'])).toEqual({ 'out/folder/usual': '755' });
  expect((await p.states('p.yaml')).cells).toEqual({ file: 'fresh', folder: 'fresh' });
  expect(p.find('.tunesmith/tmp', { all: true })).toEqual([]);
});

test.skipIf(process.getuid?.() !== 0)('a group shares a cache: with a group umask, another member stores results in it', () => {
  const cache = mkdtempSync(join(tmpdir(), 'tunesmith-shared-'));
  onTestFinished(() => rmSync(cache, { recursive: true, force: true }));
  mkdirSync(join(cache, 'c'));
  const group = 60_000;
  chownSync(join(cache, 'c'), 0, group);
  chmodSync(cache, 0o755);
  chmodSync(join(cache, 'c'), 0o2770);
  for (const user of [60_001, 60_002]) {
    const p = project({
      'p.yaml': `steps: { a: { run: "echo ${user} > \${{ outputs.o }}", outputs: { o: o.txt } }, b: { run: "echo same > \${{ outputs.o }}", outputs: { o: p.txt } } }`,
    });
    spawnSync('chown', ['-R', `${user}:${group}`, p.folder]);
    const as = ['setpriv', `--reuid=${user}`, `--regid=${user}`, `--groups=${group}`, 'sh', '-c', `umask 002; exec "$0" "$@"`];
    const command = [...as, process.execPath, join(root, 'dist/engine/cli.js'), 'run', 'p.yaml', '--json'];
    const env = { ...process.env, TUNESMITH_CACHE: join(cache, 'c') };
    const { status, stdout, stderr } = spawnSync(command[0]!, command.slice(1), { cwd: p.folder, env, encoding: 'utf8' });
    expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: '' });
    expect(stdout).not.toContain('read-only');
    const { cells } = JSON.parse(stdout.trim().split('\n').at(-1)!);
    expect(cells).toEqual(user === 60_001 ? { a: 'ran', b: 'ran' } : { a: 'ran', b: 'restored' });
  }
  expect(statSync(join(cache, 'c/index.sqlite')).mode & 0o777).toBe(0o664);
});
