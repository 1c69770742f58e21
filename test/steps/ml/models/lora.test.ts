/** LoRA against PEFT: test/golden/lora.py made the adapters and the values. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { adapt } from '../../../../steps/ml/models/lora.ts';
import { loadModel } from '../../../../steps/ml/models/model-folder.ts';
import { golden, loraTests } from './lora-golden.ts';

describe('bert', () => loraTests('bert', 'bert', 'text-classification'));

describe('gpt2', () => loraTests('gpt2', 'gpt2/causal-lm', 'causal-lm'));

describe('t5', () => loraTests('t5', 't5/gated', 'seq2seq'));

test('A is initialized uniformly over ±1/√in, B to 0, so that the model does not change', async () => {
  const model = await loadModel(join(golden, 'bert/checkpoint'), 'text-classification');
  const { weights, merged } = adapt(model, [], { r: 8, alpha: 16, dropout: 0 }, 3);
  const name = 'bert.encoder.layer.0.attention.self.query';
  const a = weights[`${name}.lora_A.weight`]!;
  expect(a.shape).toEqual([8, 32]);
  expect(Math.max(...a.data)).toBeGreaterThan(0.9 / Math.sqrt(32));
  expect(Math.max(...a.data)).toBeLessThan(1 / Math.sqrt(32));
  expect(Math.min(...a.data)).toBeLessThan(-0.9 / Math.sqrt(32));
  expect(merged(weights)).toEqual(model.weights);
  const again = adapt(model, [], { r: 8, alpha: 16, dropout: 0 }, 4);
  expect(again.weights[`${name}.lora_A.weight`]!.data).not.toEqual(a.data);
});

test('targets match the ends of names; unknown targets, and weights that would stay random, are rejected', async () => {
  const model = await loadModel(join(golden, 'bert/checkpoint'), 'text-classification');
  const options = { r: 2, alpha: 2, dropout: 0 };
  const { trained } = adapt(model, [], { ...options, targets: ['attention.output.dense', 'bert.encoder.layer.1.intermediate.dense'] }, 0);
  expect([...trained].filter((name) => name.includes('lora_A'))).toEqual([
    'bert.encoder.layer.0.attention.output.dense.lora_A.weight',
    'bert.encoder.layer.1.attention.output.dense.lora_A.weight',
    'bert.encoder.layer.1.intermediate.dense.lora_A.weight',
  ]);
  expect(() => adapt(model, [], { ...options, targets: ['q_lin'] }, 0)).toThrow('lora.targets: no linear layer matches "q_lin"');
  expect(() => adapt(model, Object.keys(model.weights), options, 0)).toThrow(/^lora would not train .*, which are randomly initialized$/);
  expect(() => adapt(model, ['classifier.weight'], options, 0)).not.toThrow();
});
