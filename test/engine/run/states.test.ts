/** Which cells run, which are fresh, which are restored, and why. */
import { cpSync, utimesSync } from 'node:fs';
import { expect, test } from 'vitest';
import { engine } from './rig.ts';

const CHAIN = `
params: { sort: sort, suffix: end }
steps:
  sorted:
    run: \${{ params.sort }} \${{ inputs.words }} > \${{ outputs.list }}
    inputs: { words: words/*.txt }
    outputs: { list: out/sorted.txt }
  ended:
    run: cat \${{ steps.sorted.list }} > \${{ outputs.list }}; echo \${{ params.suffix }} >> \${{ outputs.list }}
    outputs: { list: out/ended.txt }
`;
const WORDS = { 'words/a.txt': 'pear\napple\n', 'words/b.txt': 'fig\n' };

test('first run, then fresh; a change runs with its reason; reverting it restores', async () => {
  const p = engine(CHAIN, WORDS);
  const first = await p.go();
  expect(first.states).toEqual({ sorted: 'ran', ended: 'ran' });
  expect(first.why).toEqual({ sorted: 'first run', ended: 'first run' });
  expect(first.events.map(({ type }) => type)).toEqual(['start', 'running', 'cell', 'running', 'cell', 'summary']);
  expect(p.read('out/ended.txt')).toBe('apple\nfig\npear\nend\n');

  expect((await p.go()).states).toEqual({ sorted: 'fresh', ended: 'fresh' });

  p.write('words/b.txt', 'date\n');
  const changed = await p.go();
  expect(changed.states).toEqual({ sorted: 'ran', ended: 'ran' });
  expect(changed.why).toEqual({ sorted: 'input words changed: 1 of 2 files', ended: 'input steps.sorted.list changed' });

  p.write('words/b.txt', 'fig\n');
  const back = await p.go();
  expect(back.states).toEqual({ sorted: 'restored', ended: 'restored' });
  expect(back.why).toEqual({ sorted: 'reverted to an earlier result', ended: 'reverted to an earlier result' });

  const command = await p.go({ set: ['suffix=fin'] });
  expect(command.states).toEqual({ sorted: 'fresh', ended: 'ran' });
  expect(command.why.ended).toBe('params.suffix: end → fin');
});

test('a cell that runs again and makes identical outputs reruns no dependents', async () => {
  const p = engine(CHAIN, WORDS);
  await p.go();
  p.write('words/a.txt', 'apple\npear\n');
  expect((await p.go()).states).toEqual({ sorted: 'ran', ended: 'fresh' });
});

test('a new mtime and a copied checkout rerun nothing', async () => {
  const p = engine(CHAIN, WORDS);
  await p.go();
  for (const file of ['words/a.txt', 'out/sorted.txt', 'p.yaml']) utimesSync(p.path(file), 1, 1);
  expect((await p.go()).states).toEqual({ sorted: 'fresh', ended: 'fresh' });
  const copy = engine(CHAIN);
  cpSync(p.folder, copy.folder, { recursive: true });
  expect((await copy.go()).states).toEqual({ sorted: 'fresh', ended: 'fresh' });
});

test('added, removed and renamed inputs count as changed', async () => {
  const p = engine(CHAIN, WORDS);
  await p.go();
  p.write('words/c.txt', 'kiwi\n');
  p.write('words/.hidden.txt', 'no\n');
  expect((await p.plan()).sorted).toEqual({ state: 'run', why: 'input words changed: 1 of 3 files' });
  p.remove('words/c.txt');
  p.write('words/z.txt', 'fig\n');
  p.remove('words/b.txt');
  expect((await p.plan()).sorted).toEqual({ state: 'run', why: 'input words changed: 2 of 3 files' });
});

test('deleted and edited outputs are restored; the edited one is saved and reported', async () => {
  const p = engine(CHAIN, WORDS);
  await p.go();
  p.remove('out/sorted.txt');
  const deleted = await p.go();
  expect(deleted.states).toEqual({ sorted: 'restored', ended: 'fresh' });
  expect(deleted.why.sorted).toBe('output was deleted');
  expect(deleted.notices).toEqual([]);

  p.write('out/sorted.txt', 'my own work\n');
  const edited = await p.go();
  expect(edited.states).toEqual({ sorted: 'restored', ended: 'fresh' });
  expect(edited.why.sorted).toBe('output was edited');
  const kept = p.find('.tunesmith/kept');
  expect(kept.map((file) => p.read(file))).toEqual(['my own work\n']);
  expect(edited.notices).toEqual([`tunesmith did not write out/sorted.txt, so it was saved as ${kept[0]}`]);
});

test("a file at an output's path before the first run is saved; our own older result is not", async () => {
  const p = engine(CHAIN, { ...WORDS, 'out/sorted.txt': 'precious\n' });
  const first = await p.go();
  const kept = p.find('.tunesmith/kept');
  expect(kept.map((file) => p.read(file))).toEqual(['precious\n']);
  expect(first.notices).toHaveLength(1);
  p.write('words/b.txt', 'date\n');
  expect((await p.go()).notices).toEqual([]);
  expect(p.find('.tunesmith/kept')).toEqual(kept);
});

test('cache: false always runs, identical outputs rerun no dependents; nothing is stored', async () => {
  const p = engine(
    `
steps:
  now: { run: "echo x >> runs; echo same > \${{ outputs.o }}", cache: false, outputs: { o: now.txt } }
  below: { run: "cp \${{ steps.now.o }} \${{ outputs.o }}", outputs: { o: below.txt } }
`,
  );
  expect((await p.go()).states).toEqual({ now: 'ran', below: 'ran' });
  const again = await p.go();
  expect(again.states).toEqual({ now: 'ran', below: 'fresh' });
  expect(again.why.now).toBe('cache: false');
  expect(await p.plan()).toEqual({ now: { state: 'run', why: 'cache: false' }, below: { state: 'depends', why: 'now must run first' } });
  expect((await p.go({ only: ['below'] })).states).toEqual({ below: 'fresh' });
  expect(p.read('runs')).toBe('x\nx\n');
});

test('--force runs the selected cells and stores their results', async () => {
  const p = engine('steps: { a: { run: "date +%N > ${{ outputs.o }}", outputs: { o: o.txt } } }');
  await p.go();
  const before = p.read('o.txt');
  const forced = await p.go({ force: true });
  expect(forced.why.a).toBe('forced');
  expect(p.read('o.txt')).not.toBe(before);
  const after = p.read('o.txt');
  p.remove('o.txt');
  expect((await p.go()).states).toEqual({ a: 'restored' });
  expect(p.read('o.txt')).toBe(after);
});

test('an input that changes while the step runs: the result is used but not stored', async () => {
  const p = engine(
    'steps: { a: { run: "cat in.txt > ${{ outputs.o }}; echo late >> in.txt", inputs: { data: in.txt }, outputs: { o: o.txt } } }',
    {
      'in.txt': 'early\n',
    },
  );
  const run = await p.go();
  expect(run.states).toEqual({ a: 'ran' });
  expect(run.notices).toEqual(['input data (in.txt) changed while a ran, so its result was not stored; the next run executes it again']);
  expect(p.read('o.txt')).toBe('early\n');
  expect((await p.go()).states).toEqual({ a: 'ran' });
});

test('`when` also skips the readers of a cell', async () => {
  const p = engine(`
steps:
  one: { run: "echo 1 > \${{ outputs.o }}", matrix: { x: [a, b] }, outputs: { o: "out/\${{ matrix.x }}" } }
  off: { run: "echo > \${{ outputs.o }}", when: false, outputs: { o: off.txt } }
  reads: { run: "cat \${{ steps.off.o }}" }
  waits: { run: "true", needs: off }
`);
  const run = await p.go();
  expect(run.states).toEqual({ 'one[x=a]': 'ran', 'one[x=b]': 'ran', off: 'skipped', reads: 'skipped', waits: 'ran' });
  expect(Object.keys(await p.plan())).toEqual(['one[x=a]', 'one[x=b]', 'waits']);
});

test('planning changes nothing', async () => {
  const p = engine(CHAIN, WORDS);
  const bare = p.snapshot();
  expect(await p.plan()).toEqual({ sorted: { state: 'run', why: 'first run' }, ended: { state: 'depends', why: 'sorted must run first' } });
  expect(p.snapshot()).toEqual(bare);
  await p.go();
  p.remove('out/sorted.txt');
  p.write('words/new.txt', 'new\n');
  const before = p.snapshot();
  await p.plan();
  await p.plan({ force: true, only: ['ended', 'sorted'] });
  expect(p.snapshot()).toEqual(before);
});
