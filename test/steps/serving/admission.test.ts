/** Requests that do not fit beside those that run wait for them. */
import { expect, test } from 'vitest';
import { Admission } from '../../../steps/serving/admission.ts';

const never = new AbortController().signal;

function opened() {
  const started: string[] = [];
  const leaves = new Map<string, () => void>();
  // An object for each, as two requests may need the same.
  const admission = new Admission<{ size: number }>((needs) => needs.reduce((sum, { size }) => sum + size, 0) <= 10);
  const enter = async (name: string, size: number, signal = never) => {
    leaves.set(name, await admission.enter({ size }, signal));
    started.push(name);
  };
  const leave = async (name: string) => {
    leaves.get(name)!();
    await settled();
  };
  return { started, enter, leave };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

test('a request waits until there is room, smaller ones may pass it, and one that is larger than all room runs alone', async () => {
  const { started, enter, leave } = opened();
  for (const [name, size] of [
    ['a', 6],
    ['large', 8],
    ['b', 4],
    ['huge', 20],
  ] as const)
    void enter(name, size);
  await settled();
  expect(started).toEqual(['a', 'b']);
  await leave('a');
  expect(started).toEqual(['a', 'b']);
  await leave('b');
  expect(started).toEqual(['a', 'b', 'large']);
  await leave('large');
  expect(started).toEqual(['a', 'b', 'large', 'huge']);
});

test('a large request waits for a limited number of smaller ones', async () => {
  const { started, enter, leave } = opened();
  await enter('first', 5);
  void enter('large', 8);
  for (let i = 0; i < 30; i++) {
    void enter(`small ${i}`, 5);
    await settled();
    if (!started.includes(`small ${i}`)) break;
    await leave(`small ${i}`);
  }
  expect(started.length).toBe(17);
  await leave('first');
  expect(started.at(-1)).toBe('large');
});

test('an aborted request leaves, and those behind it move up', async () => {
  const { started, enter, leave } = opened();
  await enter('a', 9);
  const gone = new AbortController();
  const aborted = enter('b', 2, gone.signal);
  void enter('c', 3);
  gone.abort(new Error('hung up'));
  await expect(aborted).rejects.toThrow('hung up');
  await leave('a');
  expect(started).toEqual(['a', 'c']);
  await expect(enter('d', 1, gone.signal)).rejects.toThrow('hung up');
});
