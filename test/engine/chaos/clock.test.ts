/** Clocks that jump: the machine's, and the one that files were stamped by. What is stale and what is fresh hangs on bytes alone. */
import { utimesSync } from 'node:fs';
import { expect, test } from 'vitest';
import { faulty, tree } from './rig.ts';

/** The engine's clock is that many hours off, from `after` ms of its life on. */
const clock = (hours: number, after = 0) => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(
    `const now = Date.now, born = now(); Date.now = () => now() + (now() - born >= ${after} ? ${hours} * 3600e3 : 0);`,
  )}`,
});

const YEAR = 365 * 24;

test.each([
  ['a year behind', clock(-YEAR)],
  ['a year ahead', clock(YEAR)],
  ['set back in the middle of a run', clock(-YEAR, 300)],
  ['set forward in the middle of a run', clock(YEAR, 300)],
])('the clock is %s: a change runs, what is fresh stays fresh, an edit is seen', async (_, env) => {
  const p = faulty();
  await p.run('run', 'p.yaml');
  Object.assign(p.env, env);
  p.write('words/two.txt', 'fig\ndate\n');
  expect((await p.states('p.yaml')).cells).toMatchObject({ words: 'ran', all: 'ran' });
  p.env.NODE_OPTIONS = undefined;
  expect(new Set(Object.values((await p.states('p.yaml')).cells))).toEqual(new Set(['fresh']));
  const clean = tree(p);
  Object.assign(p.env, env);
  // As long as before.
  p.write('out/words.txt', p.read('out/words.txt').toUpperCase());
  expect((await p.states('p.yaml')).cells).toMatchObject({ words: 'restored', all: 'fresh' });
  expect(tree(p)).toEqual(clean);
});

test('files stamped in the future, in the past or all alike: only their bytes count', async () => {
  const p = faulty();
  await p.run('run', 'p.yaml');
  const clean = tree(p);
  const files = () => ['words/one.txt', 'words/two.txt', 'p.yaml', 'count.mjs', 'out/words.txt', 'out/pages a/deep/1.txt', 'out/all.txt'];
  for (const when of [0, 1, Date.now() / 1000 + 1e8, 4e9]) {
    for (const file of files()) utimesSync(p.path(file), when, when);
    expect(new Set(Object.values((await p.states('p.yaml')).cells)), `stamped ${when}`).toEqual(new Set(['fresh']));
    // Another text of the same length, and the same stamp again.
    const text = p.read('words/two.txt');
    p.write('words/two.txt', 'FIG\n');
    utimesSync(p.path('words/two.txt'), when, when);
    expect((await p.states('p.yaml')).cells.words, `stamped ${when}`).toMatch(/ran|restored/);
    p.write('words/two.txt', text);
    utimesSync(p.path('words/two.txt'), when, when);
    expect((await p.states('p.yaml')).cells).toMatchObject({ words: 'restored', all: 'restored' });
    expect(tree(p)).toEqual(clean);
  }
});
