/** Signals during a run: the terminal is closed, or the engine or a step is stopped and continued. */
import { spawn, spawnSync } from 'node:child_process';
import { expect, onTestFinished, test } from 'vitest';
import { project, root } from '../../rig.ts';

const SLOW = `steps: { a: { run: "echo half > \${{ outputs.o }}; echo $$ > step.new; mv step.new step; until [ -e go ]; do sleep 0.05; done; echo whole > \${{ outputs.o }}", outputs: { o: out/o } } }`;

const isAlive = (pid: number) => spawnSync('kill', ['-0', String(pid)]).status === 0;

test('SIGHUP stops a run cleanly: steps end, former outputs return, the run is recorded as canceled', async () => {
  const p = project({ 'p.yaml': SLOW, 'out/o': 'mine' });
  const run = p.start('run', 'p.yaml', '--plain');
  await p.until(() => p.exists('step'));
  run.kill('SIGHUP');
  const { code, screen } = await run.done;
  expect({ code, screen }).toMatchObject({ code: 129, screen: expect.stringContaining('p: 1 canceled') });
  expect(p.read('out/o')).toBe('mine');
  expect(isAlive(Number(p.read('step')))).toBe(false);
  expect((await p.run('runs')).stdout).toContain('1 canceled');
  p.write('go', '');
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
});

test.skipIf(spawnSync('script', ['--version']).status !== 0)('closing the terminal stops a run cleanly', async () => {
  const p = project({ 'p.yaml': SLOW, 'out/o': 'mine' });
  const command = `${process.execPath} ${root}/dist/engine/cli.js run p.yaml`;
  const terminal = spawn('script', ['-qfec', command, '/dev/null'], { cwd: p.folder, stdio: ['pipe', 'ignore', 'ignore'] });
  onTestFinished(() => void terminal.kill('SIGKILL'));
  await p.until(() => p.exists('step'));
  terminal.kill('SIGKILL');
  await p.until(() => p.exists('out/o') && p.read('out/o') === 'mine');
  await p.until(() => !isAlive(Number(p.read('step'))));
  await p.until(() => p.find('.tunesmith/work', { all: true }).length === 0);
  // The engine writes the record of the run last.
  let last: any;
  do [last] = (await p.run('runs', '--json')).events.flat();
  while (last.state === 'running');
  expect(last).toMatchObject({ state: 'ended', counts: { canceled: 1 } });
});

test('an engine that is stopped and continued uses what its step made in between; another engine waits for it', async () => {
  const p = project({ 'p.yaml': SLOW });
  const run = p.start('run', 'p.yaml', '--plain');
  await p.until(() => p.exists('step'));
  run.kill('SIGSTOP');
  const other = p.start('run', 'p.yaml', '--json');
  await p.until(() => other.output().includes('"type":"waiting"'));
  p.write('go', '');
  await p.until(() => p.exists('out/o') && p.read('out/o') === 'whole\n');
  run.kill('SIGCONT');
  expect(await run.done).toMatchObject({ code: 0, screen: expect.stringContaining('a: ran') });
  expect(await other.done).toMatchObject({ code: 0, screen: expect.not.stringContaining('"ran":1') });
  expect(p.read('out/o')).toBe('whole\n');
});
