/** gc by age and size, and on a terminal. */
import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import { checkOf } from '../../../cache/database.ts';
import { FILES, objects, runs } from '../../engine/run/gc-project.ts';
import { project } from '../../rig.ts';

test('on a terminal, it asks for confirmation', async () => {
  const p = project(FILES);
  await runs(p, 'one', 'two');
  p.write('terminal.mjs', 'for (const stream of [process.stdin, process.stdout]) stream.isTTY = true;');
  p.env.NODE_OPTIONS = `--import=file://${p.path('terminal.mjs')}`;
  for (const answer of ['n\n', '\n', '']) {
    const no = await p.feed(answer, 'gc', '--keep-runs', '1');
    expect([no.code, no.stdout], JSON.stringify(answer)).toEqual([
      0,
      expect.stringMatching(/Remove 2 results, .*\? \[y\/N\][\s\S]*nothing was removed\n$/),
    ]);
  }
  expect(objects(p)).toBe(6);
  expect((await p.feed('yes\n', 'gc', '--keep-runs', '1')).stdout).toContain('removed 2 results, 2 objects');
  expect(objects(p)).toBe(4);
});

test('by age: results that were not used for that time; by size: the least recently used results', async () => {
  const p = project({
    'p.yaml':
      'params: { n: 1 }\nsteps: { a: { run: "head -c 1000 /dev/zero | tr \'\\\\0\' ${{ params.n }} > ${{ outputs.o }}", outputs: { o: o.txt } } }',
  });
  for (const n of [1, 2, 3, 4]) await p.states('p.yaml', '-p', `n=${n}`);
  const index = new Sqlite(p.path('.tunesmith/index.sqlite'));
  const days = [40, 10, 35, 0];
  for (const [i, age] of days.entries()) {
    const at = new Date(Date.now() - age * 86_400_000).toISOString();
    index.prepare('update uses set began = ? where id = ?').run(at, i + 1);
    index.prepare('update results set created = ? where number = ?').run(at, i + 1);
  }
  index.function('check_of', { varargs: true }, checkOf);
  index.exec('update results set checked = check_of(fingerprint, subject, outputs, record, created)');
  index.close();
  const size = JSON.parse((await p.run('gc', '--max-size', '3000', '--json')).stdout);
  expect([size.results.length, size.bytes, size.left, size.removed]).toEqual([1, 1000, 3000, false]);
  expect((await p.run('gc', '--older-than', '50d')).stdout).toMatch(/^there is nothing to remove\n/);
  // Both rules must allow it: 1 and 3 are old, 3 is among the last two runs.
  expect(JSON.parse((await p.run('gc', '--older-than', '30d', '--keep-runs', '2', '--json')).stdout).results).toHaveLength(1);
  expect((await p.run('gc', '--older-than', '30d', '--yes')).stdout).toContain('removed 2 results, 2 objects (2.0 KB)');
  const left = await Promise.all([2, 4].map((n) => p.run('status', 'p.yaml', '-p', `n=${n}`, '--json')));
  expect(left.map(({ stdout }) => JSON.parse(stdout).cells.a.state)).toEqual(['restore', 'fresh']);
});
