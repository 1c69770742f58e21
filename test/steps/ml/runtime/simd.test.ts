import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import wabt from 'wabt';
import { SIMD_WASM } from '../../../../steps/ml/runtime/optimizers.ts';

test('the WebAssembly module is simd.wat, compiled', async () => {
  const source = readFileSync(new URL('../../../../steps/ml/runtime/simd.wat', import.meta.url), 'utf8');
  const module = (await wabt()).parseWat('simd.wat', source, { simd: true });
  expect(Buffer.from(module.toBinary({}).buffer).toString('base64')).toBe(SIMD_WASM);
});
