/**
 * LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685), as in PEFT: a linear layer's weight W is frozen, and two
 * low-rank matrices are trained, A [r, in] and B [out, r]. The layer computes x Wᵀ + bias + α/r · dropout(x) Aᵀ Bᵀ.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import type { HostTensor, HostTensors } from '../runtime/runtime.ts';
import { taskFacts } from './config.ts';
import { listed } from './json.ts';
import type { Model } from './model-folder.ts';
import { adapters, type Parameter } from './nn.ts';
import { random } from './random.ts';
import { float32, writeSafetensors } from './safetensors.ts';

export interface LoraOptions {
  r: number;
  alpha: number;
  dropout: number;
  /** Modules by name, or by the ends of their names; the family's by default. */
  targets?: readonly string[] | undefined;
}

/** A model with adapters. Its weights are those of the model, and A and B. */
export interface Adapted extends Model {
  /** The trained weights: A and B, and those of the head. */
  trained: ReadonlySet<string>;
  /** The model without adapters, which are merged into its weights. */
  merged(weights: HostTensors): HostTensors;
  /** Writes what PEFT's save_pretrained writes. `base`: the model that the adapters belong to. */
  save(folder: string, weights: HostTensors, base: string): Promise<void>;
}

/** `fresh`: the model's weights that were just randomly initialized. */
export function adapt(model: Model, fresh: readonly string[], options: LoraOptions, seed: number): Adapted {
  const { family, task, config, labels } = model;
  const { r, alpha, dropout } = options;
  const scale = alpha / r;
  const head = Object.keys(family.heads[task]!.parameters(config, labels.length));
  const unlearned = fresh.filter((name) => !head.includes(name) || !taskFacts(task).newHead);
  if (unlearned.length > 0)
    throw new StepError(
      `lora would not train ${listed(unlearned, 3)}, which ${unlearned.length === 1 ? 'is' : 'are'} randomly initialized`,
      'lora adapts a pretrained model: use one that has its weights, or remove lora.',
      ['lora'],
    );
  const modules = targetsOf(model, head, options.targets ?? family.loraTargets);
  const parameters = { ...model.parameters };
  const weights = { ...model.weights };
  for (const module of modules) {
    const { shape, layer } = model.parameters[`${module}.weight`]!;
    const [out, into] = (layer === 'Conv1D' ? shape.toReversed() : shape) as [number, number];
    const [a, b] = [nameOfA(module), nameOfB(module)];
    parameters[a] = { shape: [r, into], start: 'normal', decay: true };
    parameters[b] = { shape: [out, r], start: 'zeros', decay: true };
    weights[a] = kaimingUniform([r, into], random('lora', seed, a));
    weights[b] = { dtype: 'float32', shape: [out, r], data: new Float32Array(out * r) };
  }
  return {
    ...model,
    parameters,
    weights,
    trained: new Set([...modules.flatMap((module) => [nameOfA(module), nameOfB(module)]), ...(taskFacts(task).newHead ? head : [])]),
    program(weights, inputs, drop) {
      for (const module of modules)
        adapters.set(weights[`${module}.weight`]!, {
          a: weights[nameOfA(module)]!,
          b: weights[nameOfB(module)]!,
          scale,
          dropout: (x) => drop(x, dropout),
        });
      return model.program(weights, inputs, drop);
    },
    merged(weights) {
      const whole = Object.fromEntries(Object.keys(model.parameters).map((name) => [name, weights[name]!]));
      for (const module of modules) {
        const name = `${module}.weight`;
        whole[name] = plusProduct(whole[name]!, weights[nameOfB(module)]!, weights[nameOfA(module)]!, scale, model.parameters[name]!.layer);
      }
      return whole;
    },
    save: (folder, weights, base) => saveAdapter(folder, model, weights, { ...options, modules, head, base }),
  };
}

const nameOfA = (module: string): string => `${module}.lora_A.weight`;
const nameOfB = (module: string): string => `${module}.lora_B.weight`;

/** The linear layers with such names, as PEFT matches them: by the whole name, or by its last parts. */
function targetsOf({ parameters }: Model, head: string[], targets: readonly string[]): string[] {
  const linear = Object.entries(parameters).flatMap(([name, { layer }]) =>
    layer && !head.includes(name) ? [name.replace(/\.weight$/, '')] : [],
  );
  const named = (module: string, target: string) => module === target || module.endsWith(`.${target}`);
  for (const target of targets)
    if (!linear.some((module) => named(module, target)))
      throw new StepError(
        `lora.targets: no linear layer matches ${JSON.stringify(target)}`,
        `The linear layers are ${listed([...new Set(linear.map((module) => module.replace(/^.*\.\d+\./, '')))])}.`,
        ['lora', 'targets'],
      );
  return linear.filter((module) => targets.some((target) => named(module, target)));
}

/** PyTorch's kaiming_uniform_ with a = √5, as for its linear layers and PEFT's A: uniform over ±1/√in. */
function kaimingUniform(shape: [number, number], uniform: () => number): HostTensor {
  const bound = 1 / Math.sqrt(shape[1]);
  return { dtype: 'float32', shape, data: Float32Array.from({ length: shape[0] * shape[1] }, () => bound * (2 * uniform() - 1)) };
}

/** W + scale · B A, or its transpose if W is transposed. */
function plusProduct(weight: HostTensor, b: HostTensor, a: HostTensor, scale: number, layer: Parameter['layer']): HostTensor {
  const [r, into] = a.shape as [number, number];
  const out = b.shape[0]!;
  const sum = new Float64Array(into);
  const data = new Float32Array(weight.data.length);
  const place = (row: number, i: number) => (layer === 'Conv1D' ? i * out + row : row * into + i);
  for (let row = 0; row < out; row++) {
    sum.fill(0);
    for (let k = 0; k < r; k++) {
      const factor = b.data[row * r + k]!;
      for (let i = 0; i < into; i++) sum[i]! += factor * a.data[k * into + i]!;
    }
    for (let i = 0; i < into; i++) data[place(row, i)] = weight.data[place(row, i)]! + scale * sum[i]!;
  }
  return { ...weight, data };
}

type Saved = LoraOptions & { modules: string[]; head: string[]; base: string };

async function saveAdapter(folder: string, { family, task, parameters }: Model, weights: HostTensors, saved: Saved): Promise<void> {
  const { r, alpha, dropout, modules, head, base } = saved;
  const kept = taskFacts(task).newHead ? head : [];
  const config = {
    peft_type: 'LORA',
    task_type: taskFacts(task).peft ?? null,
    base_model_name_or_path: base,
    r,
    lora_alpha: alpha,
    lora_dropout: dropout,
    bias: 'none',
    fan_in_fan_out: modules.some((module) => parameters[`${module}.weight`]!.layer === 'Conv1D'),
    init_lora_weights: true,
    inference_mode: true,
    target_modules: modules,
    // A module of the model, or of its base: `classifier` and `pooler`, not the layers within.
    modules_to_save: kept.length > 0 ? [...new Set(kept.map((name) => name.replace(`${family.prefix}.`, '').split('.')[0]!))] : null,
  };
  const tensors = [...modules.flatMap((module) => [nameOfA(module), nameOfB(module)]), ...kept].map((name) => {
    const { data, shape } = weights[name]!;
    return [`base_model.model.${name}`, float32(data as Float32Array, shape)] as const;
  });
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, 'adapter_config.json'), `${JSON.stringify(config, null, 2)}\n`);
  await writeSafetensors(path.join(folder, 'adapter_model.safetensors'), Object.fromEntries(tensors), { format: 'pt' });
}
