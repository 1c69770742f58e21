/**
 * Obstacles at output paths, and executions of killed engines that cannot be rolled back: each is reported once, with
 * path and hint, and all other pipelines of the project run. The tests run as an unprivileged user, because root may do
 * everything.
 */
import { chmodSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cutOff, step, unprivileged } from './obstacles.ts';

test.each([
  ['file', 'echo half > ${{ outputs.o }}', 'out/o', 'out/o'],
  ['folder', 'mkdir ${{ outputs.o }}; echo half > ${{ outputs.o }}/half', 'out/o', 'out/o/mine'],
])(
  'a %s that a user created at the output of a killed cell is saved and reported, also if the cell then succeeds',
  async (_, half, output, mine) => {
    const p = unprivileged({});
    const run = (last: string) => `${half}; ${last}`;
    p.write('p.yaml', step(run(': first'), output));
    expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
    await cutOff(p, output, run('echo > begun; sleep 60'));
    p.remove(output);
    p.write(mine, 'precious');
    p.unprivileged();
    p.write('p.yaml', step(run(': last'), output));
    const { code, screen } = await p.run('run', 'p.yaml', '--plain');
    expect(code, screen).toBe(0);
    const kept = p.find('.tunesmith/kept');
    expect(kept.map((name) => p.read(name))).toEqual(['precious']);
    const said = screen.replace(/\s+/g, ' ');
    expect(said).toContain(
      'note: a: interrupted in an earlier run: restored the former out/o before this run; saved the content found at out/o as',
    );
    expect(said).toContain('as .tunesmith/kept/');
    expect(said).not.toContain('.tunesmith/failed');
    for (const command of [['run', 'p.yaml', '--force'], ['gc']]) await p.run(...command);
    expect(p.read(kept[0]!)).toBe('precious');
  },
);

test('a name that the disk refuses anyway fails its cell with a message', async () => {
  // With the folders around it, the path is too long for the system.
  const p = unprivileged({ 'p.yaml': step('mkdir -p out; echo > ${{ outputs.o }}', `out/${'d/'.repeat(10)}x`) });
  p.write('.tunesmith', 'a file');
  const { code, screen } = await p.run('run', 'p.yaml');
  expect({ code, screen }).toEqual({ code: 1, screen: expect.stringContaining('.tunesmith is not a folder') });
});

test("the user's file in a read-only folder: the cell fails, the message has the folder's owner and mode, and the file stays", async () => {
  const p = unprivileged({ 'p.yaml': step('echo > ${{ outputs.o }}', 'out/x'), 'out/x': 'mine' });
  chmodSync(p.path('out'), 0o555);
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  chmodSync(p.path('out'), 0o755);
  expect(code, screen).toBe(1);
  expect(screen.replace(/\s+/g, ' ')).toMatch(
    /permission denied: the folder \S+\/out is not writable \(its owner is user \d+, its mode 555\)/,
  );
  expect(screen).not.toContain('.tunesmith/work');
  expect(p.read('out/x')).toBe('mine');
});
