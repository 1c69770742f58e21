/** `tunesmith doctor` reports GPUs, what is missing, and the next command. */
import { chmodSync } from 'node:fs';
import { expect, test } from 'vitest';
import { hasNvidiaDriver } from '../../steps/ml/runtime/tensorflow/setup.ts';
import { type Files, project } from '../rig.ts';

async function doctor(files: Files = {}) {
  const p = project(files);
  if (files['nvidia-smi']) {
    chmodSync(p.path('nvidia-smi'), 0o755);
    p.env.PATH = `${p.folder}:${p.env.PATH}`;
  }
  p.env.TUNESMITH_HOME = p.folder;
  const { stdout } = await p.run('doctor', '--json');
  const { checks } = JSON.parse(stdout) as { checks: { name: string; state: string; detail: string; next?: string }[] };
  return Object.fromEntries(checks.map(({ name, ...check }) => [name, check]));
}

const CARD = "#!/bin/sh\necho 'NVIDIA L4, 23034 MiB, 550.54.15, 8.9'\n";

test.skipIf(hasNvidiaDriver())('without a GPU: suggests the build for CPUs, and auto is onnx', async () => {
  const checks = await doctor();
  expect(checks.GPU).toEqual({ needed: false, state: 'missing', detail: 'no NVIDIA driver; training runs on the CPU' });
  expect(checks.TensorFlow).toMatchObject({ state: 'missing', next: 'tunesmith setup tensorflow' });
  expect(checks['runtime: auto']!.detail).toMatch(/^onnx, on the CPU with \d+ threads: TensorFlow is not set up$/);
});

test('with a GPU: prints its name, driver and compute capability, and the command that makes use of it', async () => {
  const checks = await doctor({ 'nvidia-smi': CARD });
  expect(checks.GPU).toEqual({
    needed: false,
    state: 'ok',
    detail: 'NVIDIA L4, 23034 MiB, driver 550.54.15, compute capability 8.9',
  });
  expect(checks.TensorFlow).toMatchObject({ state: 'missing', next: 'tunesmith setup tensorflow --gpu' });
});
