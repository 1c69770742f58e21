/**
 * The runtime `onnx` with `device: gpu`: onnxruntime's WebGPU provider, over a Vulkan driver that computes on the
 * CPU. Needs Debian's chromium-common, which contains one; TUNESMITH_TEST_VULKAN may name a folder with its
 * libraries, to save time.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../rig.ts';

const folder = mkdtempSync(join(tmpdir(), 'tunesmith-vulkan-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let vulkan = process.env.TUNESMITH_TEST_VULKAN ?? '';
beforeAll(() => {
  if (vulkan !== '') return;
  execFileSync('apt-get', ['download', 'chromium-common'], { cwd: folder, stdio: 'pipe' });
  const [archive] = readdirSync(folder);
  execFileSync('dpkg-deb', ['-x', archive!, 'unpacked'], { cwd: folder });
  vulkan = join(folder, 'unpacked/usr/lib/chromium');
});

/** Ten steps of a small BERT with dropout on both devices, and the last of them again from the same state. */
const SCRIPT = `
const { openRuntime } = await import('./steps/ml/device/open.ts');
const { tiny, toyAxes: axes, toyBatch, toyProgram, toyWeights } = await import('./test/steps/ml/runtime/toy.ts');
const { adamW, whole } = await import('./test/steps/ml/runtime/options.ts');
const options = { axes, ...adamW(0.01, (name) => /norm|bias/.test(name)), maxGradNorm: 1, paddingRows: { 'word.weight': 0 } };
const found = {};
for (const device of ['cpu', 'gpu']) {
  const runtime = await openRuntime('onnx', { device });
  const train = () => runtime.training(toyProgram(tiny), toyWeights(tiny), options);
  const step = (training, step) => training.step(whole(toyBatch(tiny, 4, step % 2 ? 8 : 12, step)), { seed: 3, epoch: 1, step, learningRate: 2e-3 });
  const [training, again] = [train(), train()];
  const losses = [];
  for (let i = 0; i < 10; i++) {
    losses.push((await step(training, i)).loss);
    await step(again, i);
  }
  const flat = (training) => Object.values(training.weights()).flatMap(({ data }) => [...data]);
  const { logits } = await training.evaluate(toyBatch(tiny, 4, 8));
  found[device] = { description: runtime.description, losses, weights: flat(training), again: flat(again), logits: [...logits.data] };
}
console.log(JSON.stringify(found));
`;

test('ten steps with dropout equal those of the CPU, repeat bit for bit, and so does evaluate', () => {
  const env = { ...process.env, LD_LIBRARY_PATH: vulkan, VK_ICD_FILENAMES: join(vulkan, 'vk_swiftshader_icd.json') };
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', SCRIPT], {
    cwd: root,
    encoding: 'utf8',
    env,
    maxBuffer: 1 << 26,
  });
  expect(status, stderr).toBe(0);
  const { cpu, gpu } = JSON.parse(stdout.split('\n').find((line) => line.startsWith('{'))!);
  expect(gpu.description).toMatch(/GPU by WebGPU/);
  expect(gpu.again).toEqual(gpu.weights);
  for (const [i, loss] of cpu.losses.entries()) expect(Math.abs(gpu.losses[i] - loss)).toBeLessThan(1e-4);
  const norm = (f: (x: number, i: number) => number) => Math.hypot(...cpu.weights.map(f));
  expect(norm((x, i) => x - gpu.weights[i]) / norm((x) => x)).toBeLessThan(1e-3);
  for (const [i, logit] of cpu.logits.entries()) expect(Math.abs(gpu.logits[i] - logit)).toBeLessThan(1e-3);
});
