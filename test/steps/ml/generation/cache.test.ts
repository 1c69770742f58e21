/**
 * The KV cache, compared with plain lists over many steps: rows that are selected, dropped and duplicated, slots that
 * run out.
 */
import { expect, test } from 'vitest';
import { KeyValueCache } from '../../../../steps/ml/generation/kv-cache.ts';
import { random } from '../../../../steps/ml/models/random.ts';
import type { HostTensors } from '../../../../steps/ml/runtime/runtime.ts';

const sizes = { layers: 2, heads: 3, width: 4 };
const names = ['key.0', 'value.0', 'key.1', 'value.1'];

test('every row keeps its own tokens', () => {
  const uniform = random('cache');
  /** For each row and token: whether it counts, and by name its numbers for each head. */
  let expected: { counts: number; numbers: Record<string, number[][]> }[][] = [[], []];
  const cache = new KeyValueCache(sizes, 2, 3);
  for (let step = 0; step < 120; step++) {
    const tokens = step === 0 ? 5 : 1;
    const rows = expected.length;
    const outputs: HostTensors = Object.fromEntries(
      names.map((name) => {
        const data = Float32Array.from({ length: rows * sizes.heads * tokens * sizes.width }, () => uniform());
        return [name, { dtype: 'float32', shape: [rows, sizes.heads, tokens, sizes.width], data }];
      }),
    );
    const mask = Int32Array.from({ length: rows * tokens }, () => (step === 0 && uniform() < 0.3 ? 0 : 1));
    cache.append(outputs, mask, tokens);
    for (let row = 0; row < rows; row++)
      for (let token = 0; token < tokens; token++) {
        const at = (head: number) => ((row * sizes.heads + head) * tokens + token) * sizes.width;
        const numbersOf = (name: string) =>
          [0, 1, 2].map((head) => [...(outputs[name]!.data as Float32Array).subarray(at(head), at(head) + sizes.width)]);
        expected[row]!.push({
          counts: mask[row * tokens + token]!,
          numbers: Object.fromEntries(names.map((name) => [name, numbersOf(name)])),
        });
      }
    if (step % 3 === 1) {
      const parents = Array.from({ length: 1 + Math.floor(uniform() * 4) }, () => Math.floor(uniform() * rows));
      cache.choose(parents);
      expected = parents.map((parent) => [...expected[parent]!]);
    }
    const { past_mask, ...buffers } = cache.inputs;
    const slots = past_mask!.shape[1]!;
    expect(slots).toBeLessThan(Math.max(4, expected[0]!.length * 1.25 + 33));
    for (const [row, own] of expected.entries()) {
      const filled = [...own.map(({ counts }) => counts), ...new Array(slots - own.length).fill(0)];
      expect([...(past_mask!.data as Int32Array).subarray(row * slots, (row + 1) * slots)]).toEqual(filled);
      const last = own.length - 1;
      for (const name of names)
        for (const token of [0, last >> 1, last])
          for (let head = 0; head < sizes.heads; head++) {
            const start = ((row * sizes.heads + head) * slots + token) * sizes.width;
            const found = [...(buffers[`past_${name}`]!.data as Float32Array).subarray(start, start + sizes.width)];
            expect(found).toEqual(own[token]!.numbers[name]![head]);
          }
    }
  }
});
