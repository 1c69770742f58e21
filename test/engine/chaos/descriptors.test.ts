/** Few file descriptors: every failure is reported, and with more descriptors the next run is like a clean run. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../../rig.ts';
import { faulty, tree } from './rig.ts';

const cli = join(root, 'dist/engine/cli.js');

test.skipIf(process.platform === 'win32')('from too few to load the engine to too few for its cells: an error, without delay', async () => {
  const clean = faulty();
  await clean.run('run', 'p.yaml');
  for (const most of [24, 30, 40, 64]) {
    const p = faulty();
    const { status, signal, stderr } = spawnSync(
      '/bin/sh',
      ['-c', `ulimit -n ${most}; exec "$0" "$@"`, process.execPath, cli, 'run', 'p.yaml', '--plain'],
      { cwd: p.folder, timeout: 60_000, killSignal: 'SIGKILL', encoding: 'utf8' },
    );
    expect([most, status, signal], stderr).toEqual([most, expect.toSatisfy((code) => code === 0 || code === 1), null]);
    expect((await p.states('p.yaml')).code, `after ${most}`).toBe(0);
    expect(tree(p), `after ${most}`).toEqual(tree(clean));
  }
});
