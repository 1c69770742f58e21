/** Failures: messages, former outputs, and the effect on other cells when a cell fails, is interrupted or is killed. */
import { existsSync } from 'node:fs';
import { relative } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { engine } from './rig.ts';

test('the former output returns, partial outputs are moved away, the end of the log is shown', async () => {
  const p = engine('steps: { a: { run: "echo half > ${{ outputs.o }}; echo oops >&2; exit 3", outputs: { o: out/o.txt } } }', {
    'out/o.txt': 'former\n',
  });
  const run = await p.go();
  expect(run.states).toEqual({ a: 'failed' });
  expect(run.failures.a).toMatchObject({ message: 'exited with 3', tail: ['oops'] });
  expect(relative(p.folder, run.failures.a!.log)).toBe('.tunesmith/logs/1/a.log');
  expect(p.read('out/o.txt')).toBe('former\n');
  expect(p.below('.tunesmith/failed').map((file) => p.read(`.tunesmith/failed/${file}`))).toEqual(['half\n']);
  expect(p.exists('.tunesmith/kept')).toBe(false);
  expect(p.find('.tunesmith/work')).toEqual([]);
});

test('a missing output, and one of the wrong kind', async () => {
  const p = engine(
    `
steps:
  none: { run: "true", outputs: { o: out/none.txt } }
  link: { run: "ln -s nowhere \${{ outputs.o }}", outputs: { o: out/link } }
  step: { uses: ./step.mjs }
`,
    {
      'step.mjs':
        "export default { name: 's', version: 1, outputs: { o: 'folder' }, run({ outputs }) { return import('node:fs').then((fs) => fs.writeFileSync(outputs.o, '')); } };",
    },
  );
  const { failures } = await p.go({ onFailure: 'continue' });
  expect(failures.none!.message).toBe('did not make output o at out/none.txt');
  expect(failures.link!.message).toBe('output o is a broken link');
  expect(failures.step!.message).toBe('made output o as a file, but declares a folder');
});

const BRANCHES = `
steps:
  bad: { run: "until [ -e begun ]; do sleep 0.05; done; exit 1", outputs: { o: bad.txt } }
  below: { run: "cat \${{ steps.bad.o }}" }
  after: { run: "true", needs: below }
  slow: { run: "echo > begun; sleep 1; echo > ended; echo > \${{ outputs.o }}", outputs: { o: slow.txt } }
  later: { run: "cp \${{ steps.slow.o }} \${{ outputs.o }}", outputs: { o: later.txt } }
`;

test('stop lets running cells finish and starts none; continue runs the others; kill ends all', async () => {
  const stop = await engine(BRANCHES).go();
  expect(stop.states).toEqual({ bad: 'failed', below: 'skipped', after: 'skipped', slow: 'ran', later: 'canceled' });
  const goOn = await engine(BRANCHES).go({ onFailure: 'continue' });
  expect(goOn.states).toEqual({ bad: 'failed', below: 'skipped', after: 'skipped', slow: 'ran', later: 'ran' });
  const p = engine(BRANCHES);
  const kill = await p.go({ onFailure: 'kill' });
  expect(kill.states).toEqual({ bad: 'failed', below: 'skipped', after: 'skipped', slow: 'canceled', later: 'canceled' });
  // Time to end, if it were not killed.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect(p.exists('ended')).toBe(false);
});

test('retry runs the cell again after a delay; the log has all attempts', async () => {
  const p = engine('steps: { a: { run: "echo try >> tries; test $(wc -l < tries) = 3", retry: { times: 2, delay: 1s } } }');
  const run = await p.go();
  expect(run.states).toEqual({ a: 'ran' });
  expect(run.of('running').map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
  expect(run.summary.seconds).toBeGreaterThan(2);
  expect(p.read('.tunesmith/logs/1/a.log')).toBe('attempt 1 failed: exited with 1\nattempt 2 failed: exited with 1\n');
  const out = await engine('steps: { a: { run: "echo >> tries; exit 1", retry: 1 } }').go();
  expect(out.states).toEqual({ a: 'failed' });
});

/** Grandchildren in the background and in a pipe, one of which ignores SIGTERM. */
const FAMILY = `(trap '' TERM; while :; do sleep 0.1; echo a >> beats; done) & sleep 600 | cat & sleep 600`;

test('a timeout ends the child and its descendants', async () => {
  const p = engine(`steps: { a: { run: "echo half > \${{ outputs.o }}; ${FAMILY}", timeout: 1s, outputs: { o: o.txt } } }`);
  const run = await p.go();
  expect(run.failures.a!.message).toBe('timed out after 1s');
  expect(p.exists('o.txt')).toBe(false);
  expect(await still(p, 'beats')).toBe(true);
});

test('background processes of a step end with it', async () => {
  const p = engine('steps: { a: { run: "(while :; do sleep 0.05; echo a >> beats; done) & sleep 0.2" } }');
  expect((await p.go()).states).toEqual({ a: 'ran' });
  expect(await still(p, 'beats')).toBe(true);
});

test.skipIf(process.platform !== 'linux')('a process in another session does not delay the end of its cell, and is reported', async () => {
  const p = engine(
    `
steps:
  shell: { run: "setsid sh -c 'echo $$ > shell.pid; exec sleep 60' & until [ -s shell.pid ]; do sleep 0.02; done; echo said; echo x > \${{ outputs.o }}", outputs: { o: o.txt } }
  step: { uses: ./own.mjs }
  quiet: { run: "setsid sh -c 'echo $$ > quiet.pid; exec sleep 60' > log 2>&1 & until [ -s quiet.pid ]; do sleep 0.02; done" }
`,
    {
      'own.mjs': `import { spawn } from 'node:child_process';
export default { name: 'own', version: 1, outputs: {}, run() { spawn('sh', ['-c', 'echo $$ > step.pid; exec sleep 60'], { detached: true, stdio: 'inherit' }).unref(); } };`,
    },
  );
  onTestFinished(() => {
    for (const cell of ['shell', 'step', 'quiet']) process.kill(Number(p.read(`${cell}.pid`)));
  });
  const run = await p.go({ jobs: 1 });
  expect(run.states).toEqual({ shell: 'ran', step: 'ran', quiet: 'ran' });
  expect(p.read('.tunesmith/logs/1/shell.log')).toBe('said\n');
  expect(run.notices.sort()).toEqual(
    ['shell', 'step'].map((cell) => expect.stringMatching(`^a process that ${cell} started in another session still runs\\.`)),
  );
  for (const cell of run.of('cell')) expect([cell.cell, cell.seconds < 5]).toEqual([cell.cell, true]);
});

test('Ctrl-C ends children cleanly; former outputs return; the next run continues', async () => {
  const p = engine(
    `
steps:
  quick: { run: "echo 1 > \${{ outputs.o }}", outputs: { o: quick.txt } }
  slow: { run: "trap 'echo saved > saved; exit' TERM; echo half > \${{ outputs.o }}; echo > begun; while :; do sleep 0.05; done", needs: quick, outputs: { o: slow.txt } }
  below: { run: "cat \${{ steps.slow.o }}" }
`,
    { 'slow.txt': 'former\n' },
  );
  const stop = new AbortController();
  const going = p.go({ signal: stop.signal });
  await p.until(() => p.exists('begun'));
  stop.abort();
  const run = await going;
  expect(run.states).toEqual({ quick: 'ran', slow: 'canceled', below: 'canceled' });
  expect(p.read('slow.txt')).toBe('former\n');
  expect(p.read('saved')).toBe('saved\n');
  expect(p.find('.tunesmith/work')).toEqual([]);
});

test('a kill from outside, probably because memory ran out, is reported as such', async () => {
  const p = engine(
    `
steps:
  killed: { run: "kill -9 $$" }
  inside: { run: "sh -c 'kill -9 $$'" }
  segfault: { run: "kill -SEGV $$" }
  missing: { run: "no-such-command-here" }
  heap: { uses: ./heap.mjs }
`,
    {
      'heap.mjs': `export default { name: 'heap', version: 1, outputs: {}, run() {
      process.stderr.write('FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\\n');
      return new Promise((resolve) => setTimeout(() => process.abort(), 100)); } };`,
    },
  );
  const { failures } = await p.go({ onFailure: 'continue' });
  expect(failures.killed!.message).toMatch(/^killed, probably out of memory: .* \(the memory limit is [\d.]+ [MG]B\)$/);
  expect(failures.inside!.message).toMatch(/^killed, probably out of memory: /);
  expect(failures.segfault!.message).toBe('killed by SIGSEGV');
  expect(failures.missing!.message).toBe('exited with 127: a command was not found');
  expect(failures.heap!.message).toBe("out of memory: the step used up Node's heap");
});

test('a cell that fails after its input changed reports the change', async () => {
  const p = engine('steps: { a: { run: "echo other > in.txt; exit 1", inputs: { data: in.txt } } }', { 'in.txt': 'some\n' });
  const { failures } = await p.go();
  expect(failures.a).toMatchObject({
    message: 'exited with 1',
    hint: expect.stringMatching(/^input data \(in\.txt\) changed during the run/),
  });
});

test('an input that was removed or has another kind fails only its cell', async () => {
  const p = engine(
    `
steps:
  first: { run: "rm in.txt; echo > \${{ outputs.o }}", outputs: { o: first.txt } }
  second: { run: "cat \${{ inputs.data }}", inputs: { data: in.txt }, needs: first }
  third: { run: "true", needs: first }
`,
    { 'in.txt': '' },
  );
  const run = await p.go({ onFailure: 'continue' });
  expect(run.states).toEqual({ first: 'ran', second: 'failed', third: 'ran' });
  expect(run.failures.second!.message).toBe('input data: in.txt does not exist');
  expect(existsSync(run.failures.second!.log)).toBe(true);
});

/** Whether a file has stopped growing. */
async function still(p: ReturnType<typeof engine>, file: string): Promise<boolean> {
  const before = p.exists(file) ? p.read(file) : '';
  await new Promise((resolve) => setTimeout(resolve, 400));
  return (p.exists(file) ? p.read(file) : '') === before;
}
