/** `init` creates a pipeline that trains, selects by the validation split, evaluates once on the test split, and deploys. */
import { spawnSync } from 'node:child_process';
import { expect, onTestFinished, test } from 'vitest';
import { project } from '../rig.ts';

const mounts = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;

test('the example runs without a network, is fresh the second time, and its bundle predicts', async () => {
  const p = project();
  const { screen } = await p.run('init');
  expect(screen).toContain('wrote starter.yaml, reviews.csv, pipeline.schema.json\n');
  expect(p.find('.')).toEqual(['pipeline.schema.json', 'reviews.csv', 'starter.yaml']);
  // Its quality after all epochs is tested where there is time for them (test/optional/package.test.ts).
  p.write('starter.yaml', p.read('starter.yaml').replace('epochs: 8', 'epochs: 1'));
  const [head, ...reviews] = p.read('reviews.csv').trimEnd().split('\n');
  p.write('reviews.csv', `${[head, ...reviews.filter((_, i) => i % 3 === 0)].join('\n')}\n`);
  const states = async () => [...new Set(Object.values((await p.states('starter.yaml')).cells))];
  expect(await states()).toEqual(['ran']);
  expect(await states()).toEqual(['fresh']);
  const measured = p.find('.tunesmith/outputs/starter').filter((file) => /(validate|test)[^/]*\/metrics$/.test(file));
  expect(measured.map((file) => JSON.parse(p.read(file)).split)).toEqual(['test', 'validation', 'validation']);
  const predicted = await p.feed('The lamp is great.\n', 'predict', '.tunesmith/outputs/starter/deploy/bundle', '-', '--format', 'lines');
  expect(['good', 'bad']).toContain(JSON.parse(predicted.stdout).label);
});

test('every path that init prints works in the folder that it names', async () => {
  const p = project({ 'package.json': '{}' });
  const commands = async (cwd: string, ...args: string[]) => {
    const { stdout } = await p.runIn(cwd, 'init', ...args);
    return stdout.split('\n').filter((line) => line.startsWith('  '));
  };
  // The outputs of a pipeline below a project are at the root of the project.
  const [cd, run, , serve] = await commands('.', "my demo's/one");
  expect(cd).toBe("  cd 'my demo'\\''s/one'");
  expect(run).toMatch(/^ {2}tunesmith run starter\.yaml /);
  expect(serve).toBe('  tunesmith serve ../../.tunesmith/outputs/starter/deploy/bundle');
  expect(spawnSync('sh', ['-c', `${cd}; pwd`], { cwd: p.folder, encoding: 'utf8' }).stdout).toBe(`${p.path("my demo's/one")}\n`);
  p.write('inner/.git/HEAD', '');
  expect((await commands('inner')).at(-1)).toBe('  tunesmith serve .tunesmith/outputs/starter/deploy/bundle');
  p.write('inner/sub/x', '');
  expect((await commands('inner/sub', '../-a')).filter((line) => / (cd|tunesmith serve) /.test(line))).toEqual([
    '  cd ../-a',
    '  tunesmith serve ../.tunesmith/outputs/starter/deploy/bundle',
  ]);
  expect((await commands('inner', '--', '-b'))[0]).toBe('  cd ./-b');
});

test.skipIf(!mounts).each([
  ['init', 'init'],
  ['new-step', 'new-step', 'own'],
])('%s on a full disk leaves nothing behind and works when there is space', async (_, ...command) => {
  const p = project();
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', p.folder]).status !== 0) throw new Error('cannot mount');
  onTestFinished(() => void spawnSync('umount', ['-l', p.folder]));
  spawnSync('sh', ['-c', 'head -c 9m /dev/zero > filler'], { cwd: p.folder });
  const full = await p.run(...command);
  expect(full).toMatchObject({ code: 1, screen: expect.stringContaining('disk is full') });
  expect(p.find('.', { all: true })).toEqual(['filler']);
  p.remove('filler');
  expect(await p.run(...command)).toMatchObject({ code: 0, screen: expect.stringContaining('wrote ') });
});

test('no file is overwritten: if one file exists, none is written', async () => {
  const p = project({ 'pipeline.schema.json': '{}' });
  const { code, screen } = await p.run('init');
  expect([code, screen]).toEqual([2, expect.stringContaining('pipeline.schema.json already exists')]);
  expect(p.find('.')).toEqual(['pipeline.schema.json']);
});
