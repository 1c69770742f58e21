/**
 * The KV cache, compared with plain lists over many steps: rows that begin, end, are selected and duplicated, and slots that run
 * out.
 */
import { expect, test } from 'vitest';
import { type CacheRow, KeyValueCache } from '../../../../steps/ml/generation/kv-cache.ts';
import { random } from '../../../../steps/ml/models/random.ts';
import type { HostTensors } from '../../../../steps/ml/runtime/runtime.ts';

const sizes = { layers: 2, heads: 3, width: 4 };
const names = ['key.0', 'value.0', 'key.1', 'value.1'];

/** A row, and what it should contain: by name, the numbers of each slot for each head. */
interface Expected {
  row: CacheRow;
  own: Record<string, number[][]>[];
  source: Record<string, number[][]>[];
}

for (const source of [false, true])
  test(`every row keeps its own tokens${source ? ' and those of its prompt' : ''}`, () => {
    const uniform = random('cache', `${source}`);
    const cache = new KeyValueCache({ ...sizes, source });
    let expected: Expected[] = [];
    const below = (limit: number) => Math.floor(uniform() * limit);
    /** A program's output for these tokens of each row, and the numbers of each. */
    const outputs = (prefix: string, lengths: number[]): { outputs: HostTensors; rows: Record<string, number[][]>[][] } => {
      const width = Math.max(...lengths);
      const shape = [lengths.length, sizes.heads, width, sizes.width];
      const data = Object.fromEntries(names.map((name) => [name, Float32Array.from({ length: shape.reduce((a, b) => a * b) }, uniform)]));
      const numbers = (name: string, row: number, token: number) =>
        [0, 1, 2].map((head) => [...data[name]!.slice(((row * 3 + head) * width + token) * 4).slice(0, 4)]);
      return {
        outputs: Object.fromEntries(names.map((name) => [prefix + name, { dtype: 'float32', shape, data: data[name]! }])),
        rows: lengths.map((length, row) =>
          Array.from({ length }, (_, token) => Object.fromEntries(names.map((name) => [name, numbers(name, row, token)]))),
        ),
      };
    };
    const read = (of: KeyValueCache, lengths: number[]) => {
      const { outputs: all, rows } = outputs('', lengths);
      of.append(all, lengths);
      return rows;
    };

    for (let step = 0; step < 75; step++) {
      if (step % 7 === 0) {
        // A search joins.
        const joining = new KeyValueCache({ ...sizes, source });
        const count = 1 + below(3);
        joining.begin(count);
        const prompts = Array.from({ length: count }, () => 1 + below(step === 35 ? 150 : 9));
        const ofSource = source ? outputs('cross_', prompts) : undefined;
        if (ofSource) joining.read(ofSource.outputs, prompts);
        const first = read(joining, prompts);
        const more = read(
          joining,
          prompts.map(() => below(3)),
        );
        for (const [i, row] of cache.copy(joining).entries())
          expected.push({ row, own: [...first[i]!, ...more[i]!], source: ofSource?.rows[i] ?? [] });
      }
      const rows = read(
        cache,
        cache.rows.map(() => 1),
      );
      for (const { row, own } of expected) own.push(...rows[row.at]!);
      if (step % 5 === 1) {
        const of = expected.filter((_, i) => i % 2 === step % 2);
        const parents = Array.from({ length: 1 + below(4) }, () => below(of.length)).filter(() => of.length > 0);
        const chosen = cache.choose(
          of.map(({ row }) => row),
          parents,
        );
        const others = expected.filter((one) => !of.includes(one));
        expected = [...others, ...chosen.map((row, i) => ({ ...of[parents[i]!]!, row, own: [...of[parents[i]!]!.own] }))];
      }
      if (step % 11 === 10) cache.remove(expected.splice(0, below(expected.length)).map(({ row }) => row));

      expect(cache.rows.length).toBe(expected.length);
      const { past_mask, encoder_attention_mask, ...buffers } = cache.inputs;
      for (const [kind, mask] of [['own', past_mask!], ...(source ? [['source', encoder_attention_mask!] as const] : [])] as const) {
        const slots = mask.shape[1]!;
        expect(slots % 64).toBe(0);
        if (step % 5 !== 1) expect(slots).toBeLessThanOrEqual(64 + Math.max(64, 2 * Math.max(...expected.map((one) => one[kind].length))));
        for (const one of expected) {
          const { at } = one.row;
          const filled = one[kind];
          expect([...mask.data.subarray(at * slots, (at + 1) * slots)]).toEqual(
            Array.from({ length: slots }, (_, slot) => (slot < filled.length ? 1 : 0)),
          );
          if (kind === 'own') expect(cache.lengthOf(one.row)).toBe(filled.length);
          for (const token of new Set([0, filled.length >> 1, filled.length - 1]))
            for (const name of names) {
              const { data, shape } = buffers[`${kind === 'own' ? 'past_' : 'cross_'}${name}`]!;
              expect(shape).toEqual([expected.length, 3, slots, 4]);
              const found = [0, 1, 2].map((head) => [...data.slice(((at * 3 + head) * slots + token) * 4).slice(0, 4)]);
              expect(found).toEqual(filled[token]![name]);
            }
        }
      }
    }
    cache.remove([...cache.rows]);
    expect(cache.inputs.past_mask!.data.length).toBe(0);
  });
