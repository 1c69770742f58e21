/** Comparisons of a generating model with transformers: test/golden/make-generating.py made the checkpoints and the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { loadModel } from '../../../../steps/ml/models/model-folder.ts';
import type { HostTensors } from '../../../../steps/ml/runtime/runtime.ts';
import { nextTokens } from '../../../../steps/ml/tasks/predicted-tokens.ts';
import { KEY_BIAS_WITHIN } from '../../../golden/zero.ts';
import { adamW, type COMPILED, whole } from '../runtime/options.ts';
import { compareStep, difference, int32, withoutDropout } from './golden.ts';

export const MODELS = ['gpt2/causal-lm', 'gpt2/varied', 'gpt2/text-classification', 't5/seq2seq', 't5/gated', 't5/tied', 't5/varied'];

export const golden = (name: string): string => join(import.meta.dirname, '../../../golden', name);

export const valuesOf = (name: string) => JSON.parse(readFileSync(join(golden(name), 'inputs.json'), 'utf8'));

/** A runtime, and whether it computes activations again. */
export type Way = [runtime: typeof COMPILED, checkpointing?: boolean];

export function trainingTests(name: string, ways: Way[]): void {
  const values = valuesOf(name);
  const inputs: HostTensors = { input_ids: int32(values.input_ids), attention_mask: int32(values.attention_mask) };
  const learned = learnedOf(name, inputs, values);

  for (const [runtimeName, checkpointing] of ways) {
    test(`${runtimeName}${checkpointing ? ' with gradient checkpointing' : ''}: logits, loss, gradients and the weights after a step of AdamW equal those of PyTorch`, async () => {
      const model = await loadModel(join(golden(name), 'checkpoint'));
      const runtime = await openRuntime(runtimeName, { threads: 1 });
      const inference = runtime.inference(model.program, model.weights, model.axes);
      const { labels: _, label_positions: __, ...given } = learned;
      const { logits } = await inference.run(given);
      expect(difference(logits!.data, values.logits.flat(2))).toBeLessThan(1e-5);
      await inference.dispose();

      const training = runtime.training(withoutDropout(model), model.weights, {
        axes: model.axes,
        checkpointing: checkpointing ?? false,
        ...adamW(0.01, (weight) => !model.parameters[weight]!.decay),
        maxGradNorm: 1,
      });
      const at = { seed: 0, epoch: 1, step: 0, learningRate: 1e-3 };
      const { loss, gradNorm } = await training.step(whole(learned), at);
      expect(difference([loss], [values.loss])).toBeLessThan(1e-5);
      expect(difference([gradNorm], [values.grad_norm])).toBeLessThan(1e-4);
      await compareStep(training, golden(name), Math.min(1, values.grad_norm), amidKeyBias);
      await training.dispose();
    });
  }
}

/**
 * Adds the inputs that the program needs for the labels: the positions that count, and the tokens to predict there.
 */
export function learnedOf(name: string, inputs: HostTensors, { labels }: any): HostTensors {
  const given = { ...inputs, labels: int32(labels) };
  if (name.endsWith('classification')) return given;
  return nextTokens(given, { task: name.startsWith('t5') ? 'seq2seq' : 'causal-lm', pad_token_id: 0, decoder_start_token_id: 0 });
}

/** Softmax ignores the bias of the keys, which GPT-2 stores between those of queries and values. */
export const amidKeyBias = (weight: string, element: number, size: number) =>
  KEY_BIAS_WITHIN.test(weight) && Math.floor(element / (size / 3)) === 1;
