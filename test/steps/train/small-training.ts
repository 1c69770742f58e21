/** Short trainings of a small model, and their weights. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { readSafetensors, toFloat32 } from '../../../steps/ml/models/safetensors.ts';
import step from '../../../steps/train/step.ts';
import { ranStep } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';

export const quick = { epochs: 1, learning_rate: 0.005, batch_size: 4, dropout: 0, runtime: 'onnx' };

export type Weights = Record<string, Float32Array>;

export async function trained(options: object, inputs: { model: string; tokens: string }) {
  const ran = await ranStep(step, { ...quick, ...options }, inputs);
  const stored = await readSafetensors(join(ran.outputs.model!, 'model.safetensors'));
  const weights: Weights = Object.fromEntries(Object.entries(stored).map(([name, tensor]) => [name, toFloat32(tensor)!]));
  const history = readFileSync(ran.outputs.history!, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return { ...ran, weights, history };
}

export async function smallInputs(change: object = {}) {
  const model = smallModel(change);
  return { model, tokens: await smallTokens(model) };
}

export async function sameWeights(lora?: object): Promise<void> {
  const inputs = await smallInputs({ num_hidden_layers: 4 });
  const options = { batch_size: 16, dropout: 0.1 };
  const learned = { ...inputs, model: (await trained(options, inputs)).outputs.model! };
  const plain = await trained({ ...options, ...(lora && { lora }) }, learned);
  const checkpointed = await trained({ ...options, ...(lora && { lora }), gradient_checkpointing: true }, learned);
  expect(checkpointed.weights).toEqual(plain.weights);
}
