/** Which weights are trained, and how fast: freezing, and learning rates that fall from the head down to the embeddings. */
import { StepError } from '../../engine/step.ts';
import { listed, type Model } from '../models/checkpoint.ts';
import type { WeightOptions } from '../runtime/runtime.ts';

/** `lora`: what is trained then, and nothing else. */
export interface LayerOptions {
  lora?: ReadonlySet<string> | undefined;
  freeze?: readonly string[] | undefined;
  layer_wise_learning_rate_decay: number;
  weight_decay: number;
}

export function weightOptions(
  { parameters, family, config }: Pick<Model, 'parameters' | 'family' | 'config'>,
  { lora, freeze = [], layer_wise_learning_rate_decay, weight_decay }: LayerOptions,
): (name: string) => WeightOptions | undefined {
  if (layer_wise_learning_rate_decay !== 1 && family.sharesLayers?.(config))
    throw new StepError(
      `layer_wise_learning_rate_decay: the layers of this ${family.type} share their weights, so none can learn slower than another`,
      'Leave it out.',
      ['layer_wise_learning_rate_decay'],
    );
  const names = Object.keys(parameters);
  const frozen = new Set(lora ? names.filter((name) => !lora.has(name)) : freeze.flatMap((pattern) => matching(pattern, names)));
  if (frozen.size === names.length) throw new StepError('all weights are frozen: nothing is left to train', undefined, ['freeze']);
  const depths = depthsOf(names, family.prefix);
  const head = 1 + Math.max(...depths.values());
  const optionsOf = (name: string): WeightOptions => ({
    learningRateFactor: layer_wise_learning_rate_decay ** (head - (depths.get(name) ?? head)),
    weightDecay: parameters[name]!.decay ? weight_decay : 0,
  });
  const trained = names.filter((name) => !frozen.has(name)).map(optionsOf);
  if (layer_wise_learning_rate_decay !== 1 && trained.every(({ learningRateFactor }) => learningRateFactor === 1))
    throw new StepError('layer_wise_learning_rate_decay means nothing here: all layers are frozen', 'Leave it out.', [
      'layer_wise_learning_rate_decay',
    ]);
  if (weight_decay > 0 && trained.every(({ weightDecay }) => weightDecay === 0))
    throw new StepError('weight_decay means nothing here: only biases and norms are trained', 'Leave it out.', ['weight_decay']);
  return (name) => (frozen.has(name) ? undefined : optionsOf(name));
}

/** A pattern is some of a name's parts, as `embeddings` or `layer.0`; `*` stands for any letters of one part. */
function matching(pattern: string, names: string[]): string[] {
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^.]*');
  const found = names.filter((name) => new RegExp(`(^|\\.)${escaped}(\\.|$)`).test(name));
  if (found.length > 0) return found;
  throw new StepError(`freeze: no weight is called ${JSON.stringify(pattern)}`, `Names are such as ${listed(names, 4)}.`, ['freeze']);
}

/**
 * 0 for the embeddings, 1 for the first layer; nothing for what lies above the layers: pooler and head. A decoder's lie above an
 * encoder's, whose last norm is of its last layer.
 */
function depthsOf(names: string[], prefix: string): Map<string, number> {
  const depths = new Map<string, number>();
  const base = names.filter((name) => prefix === '' || name.startsWith(`${prefix}.`));
  for (const name of base) if (EMBEDDINGS.test(name)) depths.set(name, 0);
  for (const stack of [
    /^encoder\.(?:block\.(\d+)|final_layer_norm)\./,
    /^decoder\.block\.(\d+)\./,
    /\.(?:layer|h|albert_layer_groups)\.(\d+)\./,
  ]) {
    const below = Math.max(0, ...depths.values());
    for (const name of base) {
      const layer = depths.has(name) ? null : stack.exec(name);
      if (layer) depths.set(name, layer[1] === undefined ? Math.max(...depths.values()) : below + Number(layer[1]) + 1);
    }
  }
  return depths;
}

/** BERT's and its kin's, what makes ALBERT's as wide as its layers, GPT-2's and T5's. */
const EMBEDDINGS = /(?:^|\.)(?:embeddings|embedding_hidden_mapping_in|wte|wpe|shared)\./;
