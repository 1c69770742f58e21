/** The commands `cache ls`, `du`, `verify`, `export` and `import`. */
import { chmodSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const FILES = {
  'p.yaml': `steps:
  a: { matrix: { n: [1, 2] }, run: "head -c 2000 /dev/zero > \${{ outputs.o }}; echo \${{ matrix.n }} >> \${{ outputs.o }}", outputs: { o: "out/\${{ matrix.n }}" } }
  b: { run: "mkdir \${{ outputs.o }}; cp \${{ steps.a[*].o }} \${{ outputs.o }}", outputs: { o: out/both } }
`,
};

test('results and their disk usage: shared objects count once', async () => {
  const p = project(FILES);
  expect((await p.run('cache', 'ls')).screen).toBe('the cache is empty\n');
  expect((await p.run('cache', 'ls', 'a')).screen).toBe('there is no such result in the cache\n');
  expect((await p.run('cache', 'verify')).screen).toBe('0 objects read, 0 bytes: all intact\n');
  expect(p.exists('.tunesmith')).toBe(false);
  await p.states('p.yaml');
  expect((await p.run('cache', 'ls')).stdout.split('\n').map((line) => line.slice(0, 13).trimEnd())).toEqual([
    'result',
    'p.yaml b',
    expect.stringMatching(/^p\.yaml a\[n=/),
    expect.stringMatching(/^p\.yaml a\[n=/),
    '',
  ]);
  const list = async (...args: string[]) => (await p.run('cache', 'ls', '--json', ...args)).events.map(({ subject }) => subject).sort();
  expect(await list('a')).toEqual(['p.yaml a[n=1]', 'p.yaml a[n=2]']);
  expect(await list('a[n=2]', 'b', '-f', 'p.yaml')).toEqual(['p.yaml a[n=2]', 'p.yaml b']);
  expect(await list('-f', 'q.yaml')).toEqual([]);
  const [used] = (await p.run('cache', 'du', '--json')).events;
  expect(used.results).toEqual([
    { step: 'p.yaml b', results: 1, bytes: used.objects },
    { step: 'p.yaml a', results: 2, bytes: 4004 },
  ]);
  expect(used.unneeded).toBe(0);
  expect((await p.run('cache', 'du')).stdout).toMatch(/^p\.yaml a +2 +4\.0 KB$/m);
  expect((await p.run('cache', 'what')).screen).toContain('error: cache has no subcommand "what"\n');
});

test('verify finds a damaged object and its result; the next run that needs the result makes it again', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const [object] = p.find('.tunesmith/objects').filter((name) => p.stat(name).size === 2002);
  chmodSync(p.path(object!), 0o644);
  writeFileSync(p.path(object!), p.read(object!).replace(/\n/, '!'));
  const verify = await p.run('cache', 'verify');
  expect(verify.code).toBe(1);
  expect(verify.stdout).toMatch(
    /^3 objects read, [\d.]+ KB: 1 damaged\nmoved the damaged objects to <?\S+damaged:\n {2}[\da-f]{64}\nthese results are incomplete/,
  );
  expect(verify.stdout).toMatch(/\n {2}p\.yaml b\n/);
  expect((await p.run('cache', 'export', 'x.tar')).stdout).toMatch(/^wrote 1 result with 1 object.*\nleft out, .*: .*p\.yaml b/);
  p.remove('out');
  const { cells } = await p.states('p.yaml');
  expect(Object.values(cells).filter((state) => state === 'ran')).toHaveLength(1);
  expect((await p.run('cache', 'verify')).code).toBe(0);
});
