/** A checkpoint after Ctrl-C, a timeout and kill -9. */
import { expect, test } from 'vitest';
import { kept, OUTPUT, pipeline, project } from '../../engine/run/counting.ts';

test('a checkpoint survives Ctrl-C, a timeout and kill -9; other options have their own', async () => {
  const p = project('wait');
  for (const [signal, attempt] of [
    ['SIGINT', 1],
    ['SIGKILL', 2],
  ] as const) {
    const other = p.apart();
    await p.until(() => other.events().some((event) => event.type === 'log' && event.line === `attempt ${attempt}`));
    other.kill(signal);
    await other.ended;
  }
  p.write('p.yaml', pipeline(', timeout: 1s'));
  const late = await p.go();
  expect(late.failures.count!.message).toBe('timed out after 1s');
  // On a busy machine, the step may not have started yet.
  const attempts = 2 + late.lines.length;
  p.write('how', 'end');
  p.write('p.yaml', pipeline().replace('data.txt }', 'data.txt, word: b }'));
  expect((await p.go()).lines).toEqual(['attempt 1']);
  expect(kept(p)).toEqual(['count']);
  p.write('p.yaml', pipeline(', cache: false'));
  p.env.TUNESMITH_CACHE = p.path('elsewhere');
  expect((await p.run('run', 'p.yaml')).code).toBe(0);
  expect(p.read(OUTPUT)).toBe(String(attempts + 1));
  expect(kept(p)).toEqual([]);
});
