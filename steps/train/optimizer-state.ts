/**
 * The restorable state of a training, as tensors of safetensors files. An optimizer's tensors have names such as
 * `m/bert.pooler.dense.weight`.
 */
import { float32, type StoredTensor, toFloat32 } from '../models/safetensors.ts';
import type { HostTensors, OptimizerState, Training } from '../runtime/runtime.ts';

export function tensorsOfSlots(slots: OptimizerState['slots']): Record<string, StoredTensor> {
  const tensors: Record<string, StoredTensor> = {};
  for (const [kind, values] of Object.entries(slots))
    for (const [name, data] of Object.entries(values)) tensors[`${kind}/${name}`] = float32(data, [data.length]);
  return tensors;
}

export function slotsOfTensors(tensors: Record<string, StoredTensor>): OptimizerState['slots'] {
  const slots: OptimizerState['slots'] = {};
  for (const [key, tensor] of Object.entries(tensors)) {
    const kind = key.slice(0, key.indexOf('/'));
    slots[kind] ??= {};
    slots[kind][key.slice(kind.length + 1)] = toFloat32(tensor)!;
  }
  return slots;
}

export function weightsOfTensors(tensors: Record<string, StoredTensor>): HostTensors {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [name, { dtype: 'float32', shape: tensor.shape, data: toFloat32(tensor)! }]),
  );
}

/**
 * Describes the first tensor that is missing, has another size, or is superfluous; undefined if all fit. It is called
 * before anything changes.
 */
export function misfit(training: Training, weights: HostTensors, slots: OptimizerState['slots']): string | undefined {
  for (const [name, { shape }] of Object.entries(training.weights())) {
    const found = weights[name];
    if (!found) return `there is no tensor ${name}`;
    if (found.shape.join() !== shape.join()) return `${name} is [${found.shape}], but in the model it is [${shape}]`;
  }
  const own = training.optimizerState().slots;
  const foreign = Object.keys(slots).find((kind) => !(kind in own));
  if (foreign !== undefined) return `there are tensors ${foreign}/…, which belong to another optimizer`;
  for (const [kind, values] of Object.entries(own)) {
    for (const [name, { length }] of Object.entries(values)) {
      const found = slots[kind]?.[name];
      if (!found) return `there is no tensor ${kind}/${name}`;
      if (found.length !== length) return `${kind}/${name} has ${found.length} elements instead of ${length}`;
    }
  }
  return undefined;
}
