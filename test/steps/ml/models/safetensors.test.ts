/** Reading untrusted safetensors files. */
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  float32,
  int64,
  readSafetensors,
  type StoredTensor,
  toFloat32,
  writeSafetensors,
} from '../../../../steps/ml/models/safetensors.ts';
import { temporary } from '../../rig.ts';

test('a changed file is read as its header says or rejected with a sentence, and nothing large is allocated', async () => {
  const file = join(temporary(), 'x.safetensors');
  const tensors = {
    weight: float32(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]),
    bias: float32(Float32Array.of(7), [1]),
    empty: float32(new Float32Array(), [0, 4]),
    steps: int64(BigInt64Array.of(8n), []),
  };
  await writeSafetensors(file, tensors, { format: 'pt' });
  const whole = await readFile(file);
  const header = 8 + Number(whole.readBigUInt64LE(0));
  const next = randomBelow(20_261_124);
  let [read, refused] = [0, 0];
  for (let round = 0; round < 1000; round++) {
    writeFileSync(file, mutated(whole, header, next));
    try {
      for (const { dtype, shape, bytes } of Object.values(await readSafetensors(file))) {
        expect(bytes.length).toBeLessThanOrEqual(whole.length + 16);
        expect(bytes.length % shape.reduce((product, n) => product * n, 1) || 0, dtype).toBe(0);
      }
      read++;
    } catch (error) {
      expect(error, String((error as Error).stack)).toMatchObject({ name: 'StepError', message: expect.stringContaining('x.safetensors') });
      refused++;
    }
  }
  // Changed values, names or metadata are still valid files.
  expect(read).toBeGreaterThan(20);
  expect(refused).toBeGreaterThan(500);
});

test('names and shapes of all kinds', async () => {
  const file = join(temporary(), 'x.safetensors');
  const tensors: Record<string, StoredTensor> = { scalar: float32(Float32Array.of(1), []), none: float32(new Float32Array(), [3, 0]) };
  for (const name of ['constructor', '', '__proto__', 'ü/😀'])
    Object.defineProperty(tensors, name, { value: float32(Float32Array.of(2), [1, 1, 1]), enumerable: true });
  await writeSafetensors(file, tensors);
  const read = await readSafetensors(file);
  expect(Object.keys(read).sort()).toEqual(Object.keys(tensors).sort());
  expect([...toFloat32(Object.entries(read).find(([name]) => name === '__proto__')![1])!]).toEqual([2]);
});

/** Changes a byte, a run of them or a number of the header; truncates, or extends. */
function mutated(whole: Buffer, header: number, next: (below: number) => number): Buffer {
  const bytes = Buffer.from(whole);
  const numbers = ['0', '-1', '1e30', '9007199254740993', '0.5', '4294967296', '"1"', 'null', '[]'];
  switch (next(6)) {
    case 0:
      bytes[next(bytes.length)] = next(256);
      return bytes;
    case 1:
      bytes.writeBigUInt64LE(BigInt(next(2 ** 32)) << BigInt(next(32)), 0);
      return bytes;
    case 2:
      return bytes.subarray(0, next(bytes.length));
    case 3:
      return Buffer.concat([bytes, Buffer.alloc(1 + next(16))]);
    case 4: {
      const at = 8 + next(header - 8);
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + next(12))]);
    }
    default: {
      const text = bytes.subarray(8, header).toString('utf8');
      const found = [...text.matchAll(/\d+/g)];
      const { index, 0: old } = found[next(found.length)]!;
      const changed = Buffer.from(text.slice(0, index) + numbers[next(numbers.length)] + text.slice(index + old.length));
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(changed.length));
      return Buffer.concat([length, changed, bytes.subarray(header)]);
    }
  }
}

/** Park and Miller's generator: the same mutations each time. */
function randomBelow(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return Math.floor((state / 2_147_483_647) * below);
  };
}
