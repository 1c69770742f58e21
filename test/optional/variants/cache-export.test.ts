/** Results that are moved to another machine. */
import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const FILES = {
  'p.yaml': `steps:
  a: { matrix: { n: [1, 2] }, run: "head -c 2000 /dev/zero > \${{ outputs.o }}; echo \${{ matrix.n }} >> \${{ outputs.o }}", outputs: { o: "out/\${{ matrix.n }}" } }
  b: { run: "mkdir \${{ outputs.o }}; cp \${{ steps.a[*].o }} \${{ outputs.o }}", outputs: { o: out/both } }
`,
};

test('results can be moved to another machine, where a run restores them', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const lock = p.read('p.lock');
  expect((await p.run('cache', 'export', 'all.tar')).stdout).toMatch(/^wrote 3 results with 3 objects, [\d.]+ KB, to all\.tar\n$/);
  expect((await p.run('cache', 'export', 'one.tar', 'a[n=1]')).stdout).toMatch(/^wrote 1 result with 1 object, /);
  const again = await p.run('cache', 'export', 'all.tar');
  expect([again.code, again.screen]).toEqual([1, expect.stringContaining('all.tar already exists')]);
  expect((await p.run('cache', 'export', 'none.tar', 'c')).code).toBe(2);

  const other = project(FILES);
  const take = async (name: string) => (await other.run('cache', 'import', p.path(name))).screen;
  expect(await take('one.tar')).toMatch(/^added 1 result with 1 object, [\d.]+ [KM]B\n$/);
  expect(await take('all.tar')).toMatch(/^added 2 results with 2 objects, .*; 1 was already in the cache\n$/);
  expect(await take('all.tar')).toMatch(/^added 0 results with 0 objects, 0 bytes; 3 were already in the cache\n$/);
  expect((await other.states('p.yaml', '--json')).cells).toEqual({ 'a[n=1]': 'restored', 'a[n=2]': 'restored', b: 'restored' });
  expect(other.read('p.lock')).toBe(lock);

  writeFileSync(p.path('cut.tar'), p.read('all.tar').slice(0, 3000));
  const cut = await other.run('cache', 'import', p.path('cut.tar'));
  expect([cut.code, cut.stderr]).toEqual([1, expect.stringContaining('Nothing was imported. Copy the archive again, or export it again.')]);
});
