/** The order of cells and the delays between attempts. */
import { expect, test } from 'vitest';
import { longestFirst } from '../../../engine/run/scheduler.ts';
import { project } from '../../rig.ts';

test('the critical path runs first, by earlier durations', async () => {
  const cell = (name: string, reads: string[] = []) => ({ name, step: name.split('[')[0]!, reads, waits: [] }) as never;
  const order = longestFirst(
    [cell('z'), cell('x'), cell('y', ['x']), cell('t[1]'), cell('t[2]'), cell('t[3]'), cell('new')],
    new Map([...Object.entries({ z: 4, x: 1, y: 6, 't[1]': 2, 't[2]': 3 })]),
  );
  // t[3] counts with the average of t (2.5), `new` with the average of all (3.2).
  expect([...order.keys()]).toEqual(['x', 'y', 'z', 'new', 't[2]', 't[3]', 't[1]']);

  const p = project({
    'p.yaml': `
params: { n: 1 }
steps:
  a: { run: "sleep 0.1; echo a \${{ params.n }} >> order" }
  b: { run: "sleep 0.1; echo b \${{ params.n }} >> order; sleep 3" }
  c: { run: "sleep 0.1; echo c \${{ params.n }} >> order; sleep 1.5" }
`,
  });
  await p.run('run', 'p.yaml', '-j', '1');
  await p.run('run', 'p.yaml', '-j', '1', '-p', 'n=2');
  expect(p.read('order')).toBe('a 1\nb 1\nc 1\nb 2\nc 2\na 2\n');
});

test('retry delays grow up to a limit', async () => {
  const p = project({
    'p.yaml': `
steps:
  a:
    run: date +%s%N >> tries; test $(wc -l < tries) = 5
    retry: { times: 5, delay: 0.3s, factor: 2, max_delay: 1s }
`,
  });
  const { events, cells } = await p.states('p.yaml');
  expect(cells).toEqual({ a: 'ran' });
  expect(events.filter(({ type }) => type === 'running').map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4, 5]);
  const tries = p
    .read('tries')
    .trim()
    .split('\n')
    .map((nanoseconds) => Number(BigInt(nanoseconds) / 1_000_000n));
  for (const [i, least] of [300, 600, 1000, 1000].entries())
    expect(tries[i + 1]! - tries[i]!, `before ${i + 2}`).toBeGreaterThanOrEqual(least);
  expect(tries[4]! - tries[3]!).toBeLessThan(2400);
});
