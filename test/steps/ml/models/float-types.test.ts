/** Half precision against PyTorch: test/golden/float-types.py made the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { asFloatType, type FloatType, sharedFloatType, withFloatType } from '../../../../steps/ml/models/float-types.ts';
import { float32, int64, type StoredTensor, toFloat32 } from '../../../../steps/ml/models/safetensors.ts';

const golden = JSON.parse(readFileSync(join(import.meta.dirname, '../../../golden/float-types.json'), 'utf8')) as Record<string, number[]>;
const one = (...values: number[]) => float32(Float32Array.from(values), [values.length]);

describe.each(['float16', 'bfloat16'] as const)('%s', (type) => {
  test('numbers are rounded to the same bits as in PyTorch', () => {
    const values = new Float32Array(Uint32Array.from(golden.float32!).buffer);
    const { bytes, dtype, shape } = asFloatType(float32(values, [2, values.length / 2]), type, 'weight');
    expect([dtype, shape]).toEqual([type === 'float16' ? 'F16' : 'BF16', [2, values.length / 2]]);
    expect([...new Uint16Array(bytes.buffer)]).toEqual(golden[type]);
  });

  test('every number of the type stays the same', () => {
    const finite = Uint16Array.from({ length: 0x10000 }, (_, bits) => bits).filter(
      (bits) => (bits & (type === 'float16' ? 0x7c00 : 0x7f80)) !== (type === 'float16' ? 0x7c00 : 0x7f80),
    );
    const stored = {
      dtype: type === 'float16' ? ('F16' as const) : ('BF16' as const),
      shape: [finite.length],
      bytes: new Uint8Array(finite.buffer),
    } satisfies StoredTensor;
    const wide = asFloatType(stored, 'float32', 'weight');
    expect(wide.dtype).toBe('F32');
    expect(Buffer.compare(asFloatType(wide, type, 'weight').bytes, stored.bytes)).toBe(0);
  });
});

test.each<[FloatType, number, string | undefined]>([
  ['float16', 65519.99, undefined],
  ['float16', 65520, 'weight contains 65520, which is too large for float16'],
  ['float16', -1e9, 'weight contains -1000000000, which is too large for float16'],
  ['bfloat16', 3.389e38, undefined],
  ['bfloat16', -3.4e38, 'is too large for bfloat16'],
  ['bfloat16', Number.NaN, 'weight contains NaN or infinite numbers'],
  ['float16', -Infinity, 'weight contains NaN or infinite numbers'],
])('%s: %d is rounded or refused', (type, value, message) => {
  if (message === undefined) expect(toFloat32(asFloatType(one(value), type, 'weight'))![0]! / value).toBeCloseTo(1, 2);
  else expect(() => asFloatType(one(1, value), type, 'weight')).toThrow(message);
});

test('whole numbers stay, and do not count for the type of the weights', () => {
  const ids = int64(BigInt64Array.of(1n, 2n), [2]);
  expect(asFloatType(ids, 'float16', 'ids')).toBe(ids);
  const half = asFloatType(one(1), 'float16', 'weight');
  expect(sharedFloatType([half, ids])).toBe('float16');
  expect(sharedFloatType([half, one(1)])).toBe('float32');
  expect(sharedFloatType([asFloatType(one(1), 'bfloat16', 'weight')])).toBe('bfloat16');
});

test('config.json gets the type under the name of transformers, and under the older one if it has it', () => {
  expect(withFloatType({ a: 1 }, 'float16')).toEqual({ a: 1, dtype: 'float16' });
  expect(withFloatType({ torch_dtype: 'float32' }, 'float16')).toEqual({ torch_dtype: 'float16', dtype: 'float16' });
});
