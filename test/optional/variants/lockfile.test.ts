/** Lockfiles that git merges, and runs of some cells. */
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const CHAIN = `
params: { suffix: end }
steps:
  sorted:
    run: sort \${{ inputs.words }} > \${{ outputs.list }}
    inputs: { words: words.txt }
    outputs: { list: out/sorted.txt }
  ended:
    run: cat \${{ steps.sorted.list }} > \${{ outputs.list }}; echo \${{ params.suffix }} \${{ matrix.n }} >> \${{ outputs.list }}
    matrix: { n: [1, "2"] }
    outputs: { list: "out/ended-\${{ matrix.n }}.txt" }
`;

const FILES = { 'p.yaml': CHAIN, 'words.txt': 'pear\napple\n' };

test('a run of some cells updates only their entries; removed cells are removed; a failed run writes nothing', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const lock = p.read('p.lock');
  await p.states('p.yaml', '--only', 'ended[n=1]', '-p', 'suffix=fin');
  const partly = p.read('p.lock').split('\n');
  expect(partly.filter((line, i) => line !== lock.split('\n')[i])).toHaveLength(2);

  p.write('p.yaml', CHAIN.replace('[1, "2"]', '[1]'));
  await p.states('p.yaml', '--only', 'sorted');
  expect(p.read('p.lock')).not.toContain('2\\"');
  const before = p.read('p.lock');
  p.write('p.yaml', CHAIN.replace('cat', 'false; cat'));
  await p.states('p.yaml');
  expect(p.read('p.lock')).toBe(before);
});

test('changes of two neighbouring cells merge in git', async () => {
  const p = project({ ...FILES, '.gitignore': 'out/\n.tunesmith/\n' });
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@localhost', ...args], { cwd: p.folder, encoding: 'utf8' });
  await p.states('p.yaml');
  git('init', '-q', '-b', 'main');
  git('add', '.');
  git('commit', '-qm', 'base');
  git('checkout', '-qb', 'other');
  await p.states('p.yaml', '--only', 'ended[n=1]', '-p', 'suffix=fin');
  git('commit', '-qam', 'one');
  git('checkout', '-q', 'main');
  await p.states('p.yaml', '--only', 'ended[n="2"]', '-p', 'suffix=fin');
  git('commit', '-qam', 'two');
  git('merge', '-q', 'other');
  expect((await p.run('run', 'p.yaml', '--locked', '-p', 'suffix=fin')).code).toBe(0);
});
