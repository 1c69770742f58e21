/** Runs with few file descriptors. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'vitest';
import { root } from '../../rig.ts';
import { faulty, tree } from './rig.ts';

const cli = join(root, 'dist/engine/cli.js');

/** With each of these limits a run ends soon, without a crash, and the next one without a limit is like a clean run. */
export async function expectErrorsWithDescriptors(limits: number[]): Promise<void> {
  const clean = faulty();
  await clean.run('run', 'p.yaml');
  for (const most of limits) {
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
}
