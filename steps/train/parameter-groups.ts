/** Selects the weights that are trained, and their learning rates: freezing, and layer-wise learning rate decay. */

import { StepError } from '../../engine/contract/step.ts';
import { listed } from '../ml/models/json.ts';
import type { Model } from '../ml/models/model-folder.ts';
import type { WeightOptions } from '../ml/runtime/runtime.ts';

/** `lora`: the weights to train; all others are frozen. */
export interface LayerOptions {
  lora?: ReadonlySet<string> | undefined;
  freeze?: readonly string[] | undefined;
  layer_wise_learning_rate_decay: number;
  weight_decay: number;
}

export function parameterGroups(
  { parameters, family, config }: Pick<Model, 'parameters' | 'family' | 'config'>,
  { lora, freeze = [], layer_wise_learning_rate_decay, weight_decay }: LayerOptions,
): (name: string) => WeightOptions | undefined {
  if (layer_wise_learning_rate_decay !== 1 && family.sharesLayers?.(config))
    throw new StepError(
      `layer_wise_learning_rate_decay cannot be used with ${family.type}, whose layers share their weights`,
      'Remove it.',
      ['layer_wise_learning_rate_decay'],
    );
  const names = Object.keys(parameters);
  const frozen = new Set(lora ? names.filter((name) => !lora.has(name)) : freeze.flatMap((pattern) => matching(pattern, names)));
  if (frozen.size === names.length) throw new StepError('all weights are frozen: nothing is left to train', undefined, ['freeze']);
  const depthOf = (name: string) => family.depthOf(name, config);
  const head = 1 + Math.max(...names.map((name) => depthOf(name) ?? 0));
  const optionsOf = (name: string): WeightOptions => ({
    learningRateFactor: layer_wise_learning_rate_decay ** (head - (depthOf(name) ?? head)),
    weightDecay: parameters[name]!.decay ? weight_decay : 0,
  });
  const trained = names.filter((name) => !frozen.has(name)).map(optionsOf);
  if (layer_wise_learning_rate_decay !== 1 && trained.every(({ learningRateFactor }) => learningRateFactor === 1))
    throw new StepError('layer_wise_learning_rate_decay has no effect: all layers are frozen', 'Remove it.', [
      'layer_wise_learning_rate_decay',
    ]);
  if (weight_decay > 0 && trained.every(({ weightDecay }) => weightDecay === 0))
    throw new StepError('weight_decay has no effect: only biases and norms are trained', 'Remove it.', ['weight_decay']);
  return (name) => (frozen.has(name) ? undefined : optionsOf(name));
}

/** A pattern consists of consecutive parts of a name, such as `embeddings` or `layer.0`; `*` matches any characters within one part. */
function matching(pattern: string, names: string[]): string[] {
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^.]*');
  const matches = names.filter((name) => new RegExp(`(^|\\.)${escaped}(\\.|$)`).test(name));
  if (matches.length > 0) return matches;
  throw new StepError(
    `freeze: no weight matches ${JSON.stringify(pattern)}`,
    `Names of weights are, for example, ${listed(names, 4)}. In names, layers are counted from 0.`,
    ['freeze'],
  );
}
