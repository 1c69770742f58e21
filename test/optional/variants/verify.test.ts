/** verify without a cache, and the cells that it chooses. */
import { expect, test } from 'vitest';
import { FILES } from '../../engine/run/counted.ts';
import { project } from '../../rig.ts';

test('without a cache, dependencies run too; without a lockfile, the cache is compared', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const fresh = project(FILES);
  fresh.write('p.lock', p.read('p.lock'));
  const { code, screen } = await fresh.run('verify', 'p.yaml', 'count');
  expect([code, screen]).toEqual([0, '✔ count  <time>  identical outputs\n1 cell verified\n']);
  expect(fresh.find('.').sort()).toEqual(['count.mjs', 'hidden.txt', 'in/a.txt', 'in/b.txt', 'p.lock', 'p.yaml']);

  p.remove('p.lock');
  expect((await p.run('verify', 'p.yaml', '--cells', '9')).screen).toMatch(
    /compared with the results in the cache\n(.*\n)*2 of 4 cells not verified\n$/,
  );
  fresh.remove('p.lock');
  expect((await fresh.run('verify', 'p.yaml')).code).toBe(2);
});

test('cells are chosen by a seed, which is printed', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const drawn = async (seed: string) =>
    (await p.run('verify', 'p.yaml', '--cells', '2', '--seed', seed, '--json')).events.map(({ cell }) => cell);
  const one = await drawn('1');
  expect(one).toHaveLength(2);
  expect(await drawn('1')).toEqual(one);
  expect((await p.run('verify', 'p.yaml', '--cells', '1')).screen).toMatch(/^cells chosen with --seed \d+, compared with p\.lock\n/);
});
