/**
 * The scheduling of inputs, with threads that only count: an input `{ text: '3' }` has three sequences of ten tokens, and
 * `{ text: '3 of 8' }` three of eight.
 */
import { expect, test } from 'vitest';
import { Queue } from '../../../steps/serving/queue.ts';
import type { ModelWorker, Numbered, Thread, WorkerReport } from '../../../steps/serving/workers.ts';

interface Counted {
  /** The texts of each run, in the order of the runs. */
  runs: string[][];
  /** The texts that were encoded and run in one call. */
  alone: string[];
  dropped: number[];
  started: number;
}

/** `bomb` ends the thread that runs it. `pause`: what a token takes, in milliseconds. */
function worker(pause = 0): ModelWorker & { seen: Counted } {
  const texts = new Map<number, string>();
  const seen: Counted = { runs: [], alone: [], dropped: [], started: 0 };
  const thread = (): Thread => {
    seen.started++;
    const left = new Map<number, number>();
    let alive = true;
    const thread: Thread = {
      get alive() {
        return alive;
      },
      async encode(inputs: Numbered[]) {
        await tick();
        return inputs.map(({ id, input: { text } }): WorkerReport => {
          if (text === 'unreadable') return { id, refused: { message: 'unreadable', ofUser: true } };
          texts.set(id, text!);
          left.set(id, Number.parseInt(text!, 10) || 1);
          return { id, lengths: new Array(left.get(id)!).fill(Number(/of (\d+)/.exec(text!)?.[1] ?? 10)) };
        });
      },
      async run(parts) {
        await tick();
        await tick();
        if (pause > 0) await new Promise((resolve) => setTimeout(resolve, 10 * parts.length * pause));
        seen.runs.push(parts.map(({ id }) => texts.get(id)!));
        if (seen.runs.at(-1)!.includes('bomb')) {
          alive = false;
          throw new Error('the thread ended');
        }
        for (const { id } of parts) left.set(id, left.get(id)! - 1);
        return parts.flatMap(({ id }) => (left.get(id) === 0 ? [{ id, prediction: texts.get(id)! }] : []));
      },
      async answer(input) {
        const [report] = await thread.encode([input]);
        if (!('lengths' in report!) || report.lengths.length > 1) return report!;
        seen.alone.push(input.input.text!);
        const [answered] = await thread.run([{ id: input.id, sequence: 0 }]);
        return answered!;
      },
      drop: (ids) => void seen.dropped.push(...ids),
      async end() {
        alive = false;
      },
    };
    return thread;
  };
  return { thread: thread(), start: async () => thread(), seen };
}

const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

const inputs = (...texts: string[]) => texts.map((text) => ({ text }));

test('a short request beside one of 1,000 inputs is in the second run after it came', async () => {
  const { seen, ...model } = worker();
  const queue = new Queue(model, { tokens: 40 });
  const many = queue.answer(inputs(...new Array(1000).fill('1 of many')));
  while (seen.runs.length < 3) await tick();
  const before = seen.runs.length;
  const [outcome] = await queue.answer(inputs('1 short'));
  expect(outcome).toEqual({ prediction: '1 short' });
  expect(seen.runs.findIndex((run) => run.includes('1 short')) - before).toBeLessThanOrEqual(2);
  expect(await many).toHaveLength(1000);
});

test('a slow model runs fewer sequences at once, so that nobody waits for long', async () => {
  const { seen, ...model } = worker(1);
  const queue = new Queue(model, { tokens: 1000, milliseconds: { run: 45, encode: 1000 } });
  const many = queue.answer(inputs(...new Array(60).fill('1 of many')));
  while (seen.runs.length < 3) await tick();
  const before = seen.runs.length;
  await queue.answer(inputs('1 short'));
  // Who came last goes first in the next run.
  expect(seen.runs.findIndex((run) => run.includes('1 short')) - before).toBeLessThanOrEqual(1);
  await many;
  const sizes = seen.runs.map(({ length }) => length);
  expect(sizes[0]).toBe(1); // nothing was known
  expect(Math.max(...sizes)).toBeLessThanOrEqual(4);
  // Where time is of no account, all are run at once.
  const { seen: other, ...others } = worker(0.01);
  await new Queue(others, { tokens: 1000 }).answer(inputs(...new Array(60).fill('1 of many')));
  expect(Math.max(...other.runs.map(({ length }) => length))).toBe(60);
});

test('a short request waits for one run of an input with 1,000 sequences, not for all', async () => {
  const { seen, ...model } = worker();
  const queue = new Queue(model, { tokens: 40 });
  const long = queue.answer(inputs('1000 long', '1000 long'));
  while (seen.runs.length < 3) await tick();
  const before = seen.runs.length;
  await queue.answer(inputs('1 short'));
  expect(seen.runs.length - before).toBeLessThanOrEqual(3);
  expect(await long).toEqual([{ prediction: '1000 long' }, { prediction: '1000 long' }]);
});

test('requests take turns', async () => {
  const { seen, ...model } = worker();
  const queue = new Queue(model, { tokens: 10 });
  const answers = ['a', 'b', 'c'].map((name) => queue.answer(inputs(...new Array(4).fill(`1 ${name}`))));
  await Promise.all(answers);
  // The first began alone.
  expect(seen.runs.flat().slice(1, 10).sort()).toEqual(['a', 'a', 'a', 'b', 'b', 'b', 'c', 'c', 'c'].map((name) => `1 ${name}`));
  for (const name of ['b', 'c']) expect(seen.runs.flat().slice(0, 4)).toContain(`1 ${name}`);
});

test('an input that ends its thread has an error; the others of its run are answered by a new thread', async () => {
  const { seen, ...model } = worker();
  const queue = new Queue(model, { tokens: 100 });
  void queue.answer(inputs('1 first'));
  const [others, harmful] = await Promise.all([queue.answer(inputs('1 a', '1 b', '2 c')), queue.answer(inputs('bomb'))]);
  expect(others).toEqual(['1 a', '1 b', '2 c'].map((prediction) => ({ prediction })));
  expect(harmful).toEqual([{ failed: expect.objectContaining({ message: 'the thread ended' }) }]);
  expect(seen.runs[1]).toEqual(expect.arrayContaining(['1 a', 'bomb']));
  expect(seen.started).toBe(3);
  expect(await queue.answer(inputs('1 after'))).toEqual([{ prediction: '1 after' }]);
});

test('a request that is given up is worked on no more; an error ends its request only', async () => {
  const { seen, ...model } = worker();
  const queue = new Queue(model, { tokens: 40 });
  const gone = new AbortController();
  const long = queue.answer(inputs(...new Array(50).fill('100 long')), { signal: gone.signal });
  while (seen.runs.length < 3) await tick();
  gone.abort(new Error('hung up'));
  await expect(long).rejects.toThrow('hung up');
  expect(queue.length).toBe(0);
  await queue.answer(inputs('1 a'));
  const before = seen.runs.length;
  for (let i = 0; i < 10; i++) await tick();
  expect(seen.runs.slice(before)).toEqual([]);
  expect(seen.dropped.length).toBeGreaterThan(0);

  const [refused, answered] = await Promise.all([
    queue.answer(inputs('unreadable', ...new Array(500).fill('1 more')), { untilError: true }),
    queue.answer(inputs('1 b')),
  ]);
  expect(refused[0]).toEqual({ refused: expect.objectContaining({ name: 'StepError', message: 'unreadable' }) });
  expect(answered).toEqual([{ prediction: '1 b' }]);
  expect(queue.length).toBe(0);
  await expect(queue.answer(inputs('1'), { signal: gone.signal })).rejects.toThrow('hung up');
});

test('sequences of similar lengths share a run, and one of an unusual length waits for a few runs at most', async () => {
  const { seen, ...model } = worker();
  const queue = new Queue(model, { tokens: 100 });
  const texts = Array.from({ length: 48 }, (_, i) => `1 of ${i === 5 ? 50 : i % 2 === 0 ? 8 : 24} as ${i}`);
  const first = queue.answer(inputs('1'));
  const answers = texts.map((text) => queue.answer(inputs(text)));
  expect((await Promise.all(answers)).map(([outcome]) => outcome)).toEqual(texts.map((prediction) => ({ prediction })));
  await first;
  const lengths = seen.runs.slice(1).map((run) => run.map((text) => Number(/of (\d+)/.exec(text)![1])));
  for (const run of lengths) expect(Math.max(...run) * run.length).toBeLessThanOrEqual(1.5 * run.reduce((sum, length) => sum + length, 16));
  expect(lengths.filter((run) => run.includes(8) && run.includes(24)).length).toBeLessThanOrEqual(2);
  expect(lengths.findIndex((run) => run.includes(50))).toBeLessThan(6);
});

test('an input with one sequence that is alone is answered in one call, and others not', async () => {
  const { seen, ...model } = worker();
  const queue = new Queue(model, { tokens: 40 });
  for (const text of ['1 a', '2 b', '1 c', 'unreadable', '0']) await queue.answer(inputs(text));
  expect(seen.alone).toEqual(['1 a', '1 c', '0']);
  expect(await queue.answer(inputs('1 d', '1 e'))).toEqual([{ prediction: '1 d' }, { prediction: '1 e' }]);
  expect(seen.runs).toEqual([['1 a'], ['2 b', '2 b'], ['1 c'], ['0'], ['1 d', '1 e']]);
  expect(await queue.answer(inputs('bomb'))).toEqual([{ failed: expect.objectContaining({ message: 'the thread ended' }) }]);
});

test('a thread that ends while it runs answers nothing twice', async () => {
  const { seen, ...model } = worker();
  const queue = new Queue(model, { tokens: 20 });
  const texts = Array.from({ length: 150 }, (_, i) => (i % 50 === 49 ? 'bomb' : `1 as ${i}`));
  const outcomes = await Promise.all(texts.map((text) => queue.answer(inputs(text, text))));
  for (const [i, both] of outcomes.entries()) {
    const expected = texts[i] === 'bomb' ? { failed: expect.objectContaining({ message: 'the thread ended' }) } : { prediction: texts[i] };
    expect(both).toEqual([expected, expected]);
  }
  expect(seen.started).toBeGreaterThan(6);
  expect(queue.length).toBe(0);
});
