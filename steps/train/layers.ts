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
  const head = 1 + Math.max(...names.map((name) => depthOf(name, family.prefix) ?? 0));
  return (name) =>
    frozen.has(name)
      ? undefined
      : {
          learningRateFactor: layer_wise_learning_rate_decay ** (head - (depthOf(name, family.prefix) ?? head)),
          weightDecay: parameters[name]!.decay ? weight_decay : 0,
        };
}

/** A pattern is some of a name's parts, as `embeddings` or `layer.0`; `*` stands for any letters of one part. */
function matching(pattern: string, names: string[]): string[] {
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^.]*');
  const found = names.filter((name) => new RegExp(`(^|\\.)${escaped}(\\.|$)`).test(name));
  if (found.length > 0) return found;
  throw new StepError(`freeze: no weight is called ${JSON.stringify(pattern)}`, `Names are such as ${listed(names, 4)}.`, ['freeze']);
}

/** 0 for the embeddings, 1 for the first layer; undefined for what lies above the layers: pooler and head. */
function depthOf(name: string, prefix: string): number | undefined {
  if (!name.startsWith(`${prefix}.`)) return undefined;
  if (name.startsWith(`${prefix}.embeddings.`)) return 0;
  const layer = /\.(?:layer|h|block|albert_layer_groups)\.(\d+)\./.exec(name);
  return layer ? Number(layer[1]) + 1 : undefined;
}
