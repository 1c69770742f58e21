/** Unusual outputs: all valid file names, empty files, sparse files. The restored outputs equal the original ones. */
import { linkSync, lstatSync, mkdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { faulty, tree } from '../../engine/chaos/rig.ts';

const STEP = {
  'package.json': '{}',
  'p.yaml': `
name: p
steps:
  made: { run: "cp -a --sparse=always from \${{ outputs.made }}", inputs: { from: from }, outputs: { made: out/made } }
  again: { run: "cp -a --sparse=always \${{ steps.made.made }} \${{ outputs.made }}", outputs: { made: "out/made again" } }
`,
};

const NAMES = [
  'with spaces ',
  ' leading',
  'new\nline',
  'tab\tand\rreturn',
  '-rf',
  '"quotes\' `and` $(such) \\',
  '*?[a]{b,c}!#%&;|<>~',
  'ünïcödé',
  'u\u0308nicode apart',
  '文件',
  '🦄🦄',
  'שלום',
  '\u{10ffff}',
  '\ue000',
  `long ${'x'.repeat(250)}`,
  '.hidden',
  'a.b.c.txt',
  'CON',
  'tunesmith folder 1',
];

test('names of every kind, empty files and folders, holes: all are restored, here and in another checkout', async () => {
  const p = faulty(STEP);
  for (const name of NAMES) {
    p.write(join('from', name), `in ${name}`);
    p.write(join('from/below', name, name), '');
    mkdirSync(p.path(join('from/empty', name)), { recursive: true });
  }
  p.write('from/sparse', 'start');
  truncateSync(p.path('from/sparse'), 64 << 20);
  p.write('from/hole', '');
  truncateSync(p.path('from/hole'), 5000);
  p.env.TUNESMITH_CACHE = p.path('cache');
  expect((await p.states('p.yaml')).cells).toEqual({ made: 'ran', again: 'ran' });
  const made = tree(p);
  expect(Object.keys(made).filter((name) => name.startsWith('out/made/'))).toHaveLength(4 * NAMES.length + 4);
  const copies = Object.entries(made).filter(([name]) => name.startsWith('out/made again'));
  expect(copies.map(([name, what]) => [name.replace('made again', 'made'), what])).toEqual(
    Object.entries(made).filter(([name]) => name.startsWith('out/made') && !name.startsWith('out/made again')),
  );

  p.remove('out');
  expect((await p.states('p.yaml')).cells).toEqual({ made: 'restored', again: 'restored' });
  expect(tree(p)).toEqual(made);
  expect(statSync(p.path('out/made/sparse')).blocks * 512).toBeLessThan(1 << 20);

  const other = faulty(STEP);
  other.env.TUNESMITH_CACHE = p.path('cache');
  for (const name of p.find('from', { all: true })) {
    if (p.stat(name).isDirectory()) mkdirSync(other.path(name), { recursive: true });
    else other.write(name, p.stat(name).size > 1 << 20 ? '' : p.read(name));
  }
  other.write('from/sparse', 'start');
  truncateSync(other.path('from/sparse'), 64 << 20);
  expect((await other.states('p.yaml')).cells).toEqual({ made: 'restored', again: 'restored' });
  expect(tree(other)).toEqual(made);
  // Checkouts and cache share no files, so an edit changes only one of them.
  for (const at of [p, other]) for (const name of at.find('out')) expect(lstatSync(at.path(name)).nlink, name).toBe(1);
  other.write('out/made/hole', 'edited in the other checkout');
  expect((await p.states('p.yaml')).cells).toEqual({ made: 'fresh', again: 'fresh' });
  expect((await other.states('p.yaml')).cells).toEqual({ made: 'restored', again: 'fresh' });
  expect(tree(other)).toEqual(made);
});

test('an output that is a file, sparse, or empty; one with a second hard link', async () => {
  const p = faulty({
    'package.json': '{}',
    'p.yaml': `
name: p
steps:
  empty: { run: ": > \${{ outputs.o }}", outputs: { o: out/empty } }
  folder: { run: "mkdir \${{ outputs.o }}", outputs: { o: out/folder } }
  holes: { run: "truncate -s 100M \${{ outputs.o }}", outputs: { o: out/holes } }
  linked: { run: "echo text > \${{ outputs.o }}", outputs: { o: out/linked } }
`,
  });
  await p.run('run', 'p.yaml');
  linkSync(p.path('out/linked'), p.path('elsewhere'));
  const made = tree(p);
  expect(new Set(Object.values((await p.states('p.yaml')).cells))).toEqual(new Set(['fresh']));
  p.remove('out');
  expect(new Set(Object.values((await p.states('p.yaml')).cells))).toEqual(new Set(['restored']));
  expect(tree(p)).toEqual(made);
  expect(statSync(p.path('out/holes')).blocks * 512).toBeLessThan(1 << 20);
  // Writing through the second link of a former output does not change our files.
  writeFileSync(p.path('elsewhere'), 'edited');
  expect(new Set(Object.values((await p.states('p.yaml')).cells))).toEqual(new Set(['fresh']));
  expect(tree(p)).toEqual(made);
});
