/** The command `promote`: moves a pointer, goes back, and never leaves it half done. */
import { spawn } from 'node:child_process';
import { cpSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { promote, rollBack } from '../../../steps/ml/answering/promote.ts';
import { contentHash, currentBundle, currentOf, isPointer, promotionsOf } from '../../../steps/ml/models/pointer.ts';
import { project, root } from '../../rig.ts';
import { temporary } from '../rig.ts';
import { promotable } from './bundles.ts';

test('the command promotes, lists the history and goes back', async () => {
  const p = project();
  promotable('a', p.path('a'));
  promotable('b', p.path('b'));
  expect((await p.run('promote', 'a', 'models/spam')).stdout).toMatch(/^models\/spam now names [0-9a-f]{12} \(a\)\n$/);
  const second = await p.run('promote', 'b', 'models/spam', '--json');
  const { bundle: b, before, changed, path } = JSON.parse(second.stdout);
  expect(changed).toBe(true);
  expect(await contentHash(path)).toBe(b);
  expect(before).toBe(await contentHash(p.path('a')));
  // The pointer has its own copy.
  p.remove('a');
  p.remove('b');
  expect((await p.run('promote', 'models/spam', '--rollback')).stdout).toMatch(/ now names \w{12} \(a\)\nbefore: \w{12} \(b\)\n$/);
  const history = (await p.run('promote', 'models/spam', '--history')).stdout.trimEnd().split('\n');
  expect(history.map((line) => line.replace(/ \d{4}-\S+ \S+ UTC /, '').replace(/ [0-9a-f]{12} /, ''))).toEqual([
    '   3  rollback  a  (current)',
    '   2  promote   b',
    '   1  promote   a',
  ]);
  const none = await p.run('promote', 'models/spam', '--rollback');
  expect(none.code).toBe(1);
  expect(none.screen).toContain('promotion 3 has none before it to go back to');
});

test('mistakes in the arguments are explained', async () => {
  const p = project();
  const a = promotable('a', p.path('a'));
  const pointer = p.path('pointer');
  const said = async (...args: string[]) => {
    const { code, screen } = await p.run('promote', ...args);
    return `${code} ${screen}`;
  };
  expect(await said('a')).toMatch(/^2 error: promote needs a bundle and a pointer/);
  expect(await said('a', 'pointer', '--rollback')).toContain('promote --rollback takes one path, that of the pointer');
  expect(await said('pointer', '--history')).toContain('pointer is not a pointer');
  await expect(promote(p.path('nothing'), pointer)).rejects.toThrow('nothing does not exist');
  await expect(promote(pointer, a)).rejects.toThrow(/a contains \S+, so it is another folder and cannot become a pointer/);
  await expect(promote(a, pointer, { expect: 'xyz' })).rejects.toThrow('xyz is not the hash of a bundle');
  await expect(promote(a, pointer, { expect: '0123456789' })).rejects.toThrow('pointer names no bundle, but 0123456789 was expected');
  expect(p.exists('pointer')).toBe(false);
});

test('promoting the current bundle again changes nothing, also with the expectation of the first time', async () => {
  const pointer = join(temporary(), 'pointer');
  const a = promotable('a');
  await promote(a, pointer, { expect: 'none' });
  expect(await promote(a, pointer, { expect: 'none' })).toMatchObject({ changed: false, promotion: { number: 1 } });
  await promote(promotable('b'), pointer, { expect: (await contentHash(a)).slice(0, 8) });
  await expect(promote(promotable('c'), pointer, { expect: await contentHash(a) })).rejects.toThrow(
    /names \w{12} \(promotion 2, .*\), but \w{12} was expected/,
  );
  expect(await currentOf(pointer)).toMatchObject({ number: 2, name: 'b' });
});

test('a pointer in place of a bundle means its current bundle', async () => {
  const [staging, production] = [join(temporary(), 'staging'), join(temporary(), 'production')];
  const a = promotable('a');
  await promote(a, staging);
  await promote(staging, production);
  expect(await contentHash(await currentBundle(production))).toBe(await contentHash(a));
  expect(isPointer(a)).toBe(false);
  expect(await currentBundle(a)).toBe(a);
});

test('each rollback goes back one more promotion', async () => {
  const pointer = join(temporary(), 'pointer');
  for (const name of ['a', 'b', 'c']) await promote(promotable(name), pointer);
  expect((await rollBack(pointer)).promotion.name).toBe('b');
  expect((await rollBack(pointer)).promotion.name).toBe('a');
  await promote(promotable('d'), pointer);
  expect((await rollBack(pointer)).promotion.name).toBe('a');
  expect((await promotionsOf(pointer)).map(({ name }) => name)).toEqual(['a', 'b', 'c', 'b', 'a', 'd', 'a']);
});

test('of several promotions at once, each counts, or its error names the one that came first', async () => {
  const pointer = join(temporary(), 'pointer');
  const start = promotable('start');
  await promote(start, pointer);
  const expect_ = await contentHash(start);
  const names = ['a', 'b', 'c', 'd'];
  const ended = await Promise.allSettled(names.map((name) => promote(promotable(name), pointer, { expect: expect_ })));
  const won = ended.filter(({ status }) => status === 'fulfilled');
  expect(won).toHaveLength(1);
  for (const one of ended) if (one.status === 'rejected') expect(one.reason.message).toMatch(/now names|was expected/);
  expect(await promotionsOf(pointer)).toHaveLength(2);
});

test('a bundle that was changed in the pointer is refused', async () => {
  const pointer = join(temporary(), 'pointer');
  const [a, b] = [promotable('a'), promotable('b')];
  await promote(a, pointer);
  writeFileSync(join(await currentBundle(pointer), 'training.json'), '{"name": "x"}');
  await promote(b, pointer);
  await expect(rollBack(pointer)).rejects.toThrow(/was changed after it was stored/);
  expect((await currentOf(pointer))?.name).toBe('b');
});

test('a kill at any moment leaves the old promotion or the new one, and the bundle is whole', async () => {
  const p = project();
  const pointer = p.path('pointer');
  const bundles = [promotable('a', p.path('a')), promotable('b', p.path('b'))];
  const hashes = await Promise.all(bundles.map(contentHash));
  await promote(bundles[0]!, pointer);
  const script = `import { promote } from ${JSON.stringify(join(root, 'dist/steps/ml/answering/promote.js'))};
    console.log('ready');
    for (let i = 0; ; i++) await promote(process.argv[1 + (i % 2)], process.argv[3]);`;
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, ...bundles, pointer], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    await setTimeout(Math.random() * 40);
    const closed = new Promise((resolve) => child.on('close', resolve));
    child.kill('SIGKILL');
    await closed;
    const all = await promotionsOf(pointer);
    expect(all.map(({ number }) => number)).toEqual(all.map((_, i) => i + 1));
    expect(hashes).toContain(all.at(-1)!.bundle);
    for (const name of readdirSync(join(pointer, 'bundles')))
      if (!name.startsWith('.')) expect(await contentHash(join(pointer, 'bundles', name))).toBe(name);
    // Whatever was left does not hinder the next promotion.
    await promote(bundles[round % 2]!, pointer);
  }
});

test('a run reads the pointer once for each lot of data: after a promotion nothing runs, with new data the step runs', async () => {
  const p = project({
    'data/1.jsonl': '{"text": "first"}\n',
    'p.yaml': `
steps:
  deployed: { uses: deployed, with: { pointer: models/spam, data: "data/*.jsonl" } }
  name: { run: "cp \${{ inputs.model }}/training.json \${{ outputs.name }}", inputs: { model: "\${{ steps.deployed.model }}" }, outputs: { name: name.json } }
`,
  });
  const nothing = await p.run('run', 'p.yaml', '--plain');
  expect(nothing.code).toBe(1);
  expect(nothing.screen).toContain('nothing has been promoted to models/spam');
  const [a, b] = [promotable('a'), promotable('b')];
  const pointer = p.path('models/spam');
  await promote(a, pointer);
  expect((await p.states('p.yaml')).cells).toEqual({ deployed: 'ran', name: 'ran' });
  await promote(b, pointer);
  expect((await p.states('p.yaml', '--locked')).cells).toEqual({ deployed: 'fresh', name: 'fresh' });
  expect(p.read('name.json')).toBe('{"name":"a"}');
  p.write('data/2.jsonl', '{"text": "second"}\n');
  expect((await p.states('p.yaml')).cells).toEqual({ deployed: 'ran', name: 'ran' });
  expect(p.read('name.json')).toBe('{"name":"b"}');
  // The first lot again: the bundle of that time, although it is no longer current.
  p.remove('data/2.jsonl');
  expect((await p.states('p.yaml')).cells).toEqual({ deployed: 'restored', name: 'restored' });
  expect(p.read('name.json')).toBe('{"name":"a"}');
});

test('the step promote moves the pointer once, and fails if the pointer was moved since the model was compared', async () => {
  const p = project({
    'data/1.jsonl': '{"text": "first"}\n',
    'p.yaml': `
steps:
  deployed: { uses: deployed, with: { pointer: spam, data: "data/*.jsonl", initial: a } }
  promote: { uses: promote, with: { pointer: spam, bundle: new, expect: "\${{ steps.deployed.promotion }}" } }
`,
  });
  const [a, b, c] = ['a', 'b', 'c'].map((name) => promotable(name, p.path(name)));
  cpSync(b!, p.path('new'), { recursive: true });
  expect((await p.states('p.yaml')).cells).toEqual({ deployed: 'ran', promote: 'ran' });
  expect(await currentOf(p.path('spam'))).toMatchObject({ number: 1, name: 'b' });
  await promote(a!, p.path('spam'));
  await rollBack(p.path('spam'));
  // `verify` moves no pointer.
  expect((await p.run('verify', 'p.yaml', 'promote')).screen).toContain('it depends on a pointer outside of its inputs and outputs');
  expect((await p.states('p.yaml')).cells).toEqual({ deployed: 'fresh', promote: 'fresh' });
  // Another bundle, judged against the model of the first lot.
  p.remove('new');
  cpSync(c!, p.path('new'), { recursive: true });
  const failed = await p.run('run', 'p.yaml', '--plain');
  expect(failed.code).toBe(1);
  expect(failed.screen).toMatch(/names \w{12} \(promotion 3, .*\), but nothing was expected/);
});
