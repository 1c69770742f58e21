/** Which runtime is opened, and the error if that is impossible. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { nvidiaGpus } from '../../../../steps/ml/device/libraries.ts';
import { knownChoice, measure, openRuntime } from '../../../../steps/ml/device/open.ts';
import { hasNvidiaDriver } from '../../../../steps/ml/runtime/tensorflow/setup.ts';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'tunesmith-home-'));
  vi.stubEnv('TUNESMITH_HOME', home);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true, force: true });
});

/** A build whose record exists but whose files do not. */
function pretend(build: 'cpu' | 'cuda'): void {
  const folder = join(home, 'tensorflow/node_modules/@tensorflow/tfjs-node-gpu');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{}');
  writeFileSync(join(home, 'tensorflow/installed.json'), JSON.stringify({ tensorflow: '2.21.0', build, wheels: {} }));
}

function pretendDriver(says = 'NVIDIA H100 80GB HBM3, 81559 MiB, 560.35.03, 9.0'): void {
  const program = join(home, 'nvidia-smi');
  writeFileSync(program, `#!/bin/sh\necho '${says}'\n`);
  chmodSync(program, 0o755);
  vi.stubEnv('PATH', `${home}:${process.env.PATH}`);
}

/** The message and the hint. */
const refusal = async (name: 'auto' | 'onnx' | 'tensorflow' | 'eager', options = {}) => {
  const error = await openRuntime(name, options).then(
    () => undefined,
    (error: Error & { hint?: string }) => error,
  );
  return `${error?.message}. ${error?.hint}`;
};

test('auto is onnx if TensorFlow is not set up, and nothing is measured', async () => {
  const runtime = await openRuntime('auto');
  expect(runtime.description).toMatch(/^onnxruntime-node 1\.\d+\.\d+, CPU/);
  expect(knownChoice({ threads: 2, device: 'auto', precision: 'fp32' })).toEqual({ name: 'onnx', why: 'TensorFlow is not set up' });
  expect(existsSync(join(home, 'runtimes.json'))).toBe(false);
});

test('auto is onnx if TensorFlow is set up but cannot be loaded', async () => {
  pretend('cpu');
  expect((await openRuntime('auto')).name).toBe('onnx');
});

test('auto needs no measurement if only one runtime supports the precision or the optimizer', () => {
  pretend('cpu');
  const auto = { threads: 2, device: 'auto', precision: 'fp32' } as const;
  expect(knownChoice({ ...auto, optimizer: 'sgd' })).toEqual({ name: 'onnx', why: 'only onnx supports sgd' });
  expect(knownChoice({ ...auto, precision: 'bf16' })).toEqual({ name: 'tensorflow', why: 'only tensorflow supports bf16' });
  expect(knownChoice({ ...auto, optimizer: 'adamw' })).toBeUndefined();
});

test('auto measures a training whose loss falls', async () => {
  const { milliseconds, loss } = await measure(await openRuntime('onnx'));
  expect(milliseconds).toBeGreaterThan(0);
  expect(loss).toBeLessThan(0.75);
});

// On a machine with a driver the errors differ.
test.skipIf(hasNvidiaDriver())('an unavailable runtime or device is rejected with the command that helps', async () => {
  expect(await refusal('tensorflow')).toBe('TensorFlow is not set up on this machine. Run: tunesmith setup tensorflow');
  expect(await refusal('tensorflow', { device: 'gpu' })).toBe(
    '`device: gpu` needs an NVIDIA GPU for the runtime tensorflow, but this machine has no driver for one. Use `device: auto` or `cpu`. `tunesmith doctor` shows what is available.',
  );
  pretendDriver();
  expect(await refusal('tensorflow', { device: 'gpu' })).toBe(
    'TensorFlow is not set up on this machine. Run: tunesmith setup tensorflow --gpu',
  );
  pretend('cpu');
  expect(await refusal('tensorflow', { device: 'gpu' })).toBe(
    '`device: gpu` needs the GPU build of TensorFlow, but the CPU build is set up. Run: tunesmith setup tensorflow --gpu',
  );
  expect(await nvidiaGpus()).toEqual([{ name: 'NVIDIA H100 80GB HBM3', memory: '81559 MiB', driver: '560.35.03', capability: '9.0' }]);
});

test('bf16 needs tensorflow', async () => {
  for (const name of ['onnx', 'eager'] as const)
    expect(await refusal(name, { precision: 'bf16' })).toContain(`\`precision: bf16\` needs \`runtime: tensorflow\`, not ${name}`);
  expect(await refusal('auto', { precision: 'bf16' })).toContain('TensorFlow is not set up');
});
