/** Concurrent engines and killed engines: each cell runs once, no data is lost, no process survives. */
import { expect, test } from 'vitest';
import type { RunEvent } from '../../../engine/contract/events.ts';
import { engine } from './rig.ts';

test('two engines run each cell once; the waiting one uses the result', async () => {
  const p = engine(`
steps:
  a: { matrix: { x: [1, 2, 3] }, run: "echo \${{ matrix.x }} >> runs; sleep 1; echo \${{ matrix.x }} > \${{ outputs.o }}", outputs: { o: "out/\${{ matrix.x }}" } }
  all: { run: "echo all >> runs; cat \${{ steps.a[*].o }} > \${{ outputs.o }}", outputs: { o: all.txt } }
`);
  const one = p.apart();
  const two = p.apart();
  const [first, second] = [await one.ended, await two.ended].map(summary);
  expect(p.read('runs').trim().split('\n').sort()).toEqual(['1', '2', '3', 'all']);
  for (const cell of Object.keys(first!)) expect([first![cell], second![cell]].sort(), cell).toEqual(['fresh', 'ran']);
  const waited = [...one.events(), ...two.events()].filter((event) => event.type === 'waiting');
  for (const { pid } of waited) expect([one.pid, two.pid]).toContain(pid);
  expect(waited.length).toBeGreaterThan(0);
});

test('kill -9 in the middle: children end, the former output returns, the next run continues', async () => {
  const p = engine(
    `
steps:
  quick: { run: "echo x >> quick-runs; echo 1 > \${{ outputs.o }}", outputs: { o: quick.txt } }
  slow:
    run: echo half > \${{ outputs.o }}; test -e ready || (echo > begun; while :; do sleep 0.05; echo >> beats; done); echo whole > \${{ outputs.o }}
    needs: quick
    outputs: { o: slow.txt }
`,
    { 'slow.txt': 'former\n' },
  );
  const killed = p.apart();
  await p.until(() => p.exists('begun') && p.exists('beats'));
  killed.kill('SIGKILL');
  await killed.ended;
  const beats = await lastBeats(p);

  p.write('ready', '');
  const run = await p.go();
  expect(p.read('beats')).toBe(beats);
  expect(run.states).toEqual({ quick: 'fresh', slow: 'ran' });
  expect(p.read('slow.txt')).toBe('whole\n');
  // The content of the output's path after the kill, and the user's file that it replaced.
  expect(p.find('.tunesmith/failed')).toEqual([]);
  expect(
    p
      .find('.tunesmith/kept')
      .map((file) => p.read(file))
      .sort(),
  ).toEqual(['former\n', 'half\n']);
  expect(run.notices.sort()).toEqual([
    expect.stringMatching(
      /^interrupted in an earlier run: restored the former slow\.txt before this run; saved the content found at slow\.txt as \.tunesmith\/kept\/\S+\/slow\.txt$/,
    ),
    expect.stringMatching(/^tunesmith did not write slow\.txt, so it was saved as /),
  ]);
  expect(p.read('quick-runs')).toBe('x\n');
});

test('a step in a child process ends with its engine, even in a long computation', async () => {
  const p = engine('steps: { a: { uses: ./busy.mjs } }', {
    'busy.mjs': `import { appendFileSync } from 'node:fs';
      export default { name: 'busy', version: 1, outputs: { o: 'file' }, run({ folder }) { for (;;) { appendFileSync(folder + '/beats', 'x'); for (const end = Date.now() + 50; Date.now() < end;); } } };`,
  });
  const killed = p.apart();
  await p.until(() => p.exists('beats'));
  killed.kill('SIGKILL');
  await killed.ended;
  await lastBeats(p);
});

/** Waits until no process writes beats any more, which is soon after the engine was killed. */
async function lastBeats(p: ReturnType<typeof engine>): Promise<string> {
  for (let tries = 0; tries < 20; tries++) {
    const before = p.read('beats');
    await new Promise((resolve) => setTimeout(resolve, 400));
    if (p.read('beats') === before) return before;
  }
  throw new Error('a process of the killed engine goes on');
}

function summary(events: RunEvent[]): Record<string, string> {
  const last = events.at(-1);
  return last?.type === 'summary' ? last.cells : {};
}
