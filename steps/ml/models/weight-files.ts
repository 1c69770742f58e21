/** The weights of a model folder as they are stored: model.safetensors, or an index and its shards. */

import { existsSync } from 'node:fs';
import path from 'node:path';
import { StepError } from '../../../engine/step.ts';
import { listed, readJson, shown } from './json.ts';
import { type Dtype, openSafetensors, type Safetensors, type StoredTensor } from './safetensors.ts';

export interface WeightFiles {
  /** Its name in messages. */
  source: string;
  /** By their names in the files. */
  tensors: ReadonlyMap<string, Tensor>;
  close(): Promise<void>;
}

interface Tensor {
  file: string;
  dtype: Dtype;
  shape: number[];
  read(): Promise<StoredTensor>;
}

/** Undefined if the folder contains no weights. */
export async function openWeights(folder: string): Promise<WeightFiles | undefined> {
  const source = WEIGHT_FILES.find((name) => existsSync(path.join(folder, name)));
  if (!source) {
    const foreign = FOREIGN_FILES.find((name) => existsSync(path.join(folder, name)));
    if (!foreign) return undefined;
    const pickle = foreign === 'pytorch_model.bin';
    throw new StepError(
      `${shown(folder)} has its weights in ${foreign}, which is not supported${pickle ? ': opening a pickle can run any code' : ''}`,
      pickle ? UNPICKLE : "Convert it once with Python's transformers: save_pretrained(folder) writes model.safetensors.",
    );
  }
  const index = source.endsWith('.json') ? await indexOf(folder, source) : undefined;
  const files = index ? [...new Set(Object.values(index))].sort() : [source];
  const opened = new Map<string, Safetensors>();
  const close = async () => void (await Promise.all([...opened.values()].map((file) => file.close())));
  try {
    for (const file of files) opened.set(file, await openSafetensors(path.join(folder, file)));
    const tensors: Map<string, Tensor> = new Map();
    for (const [file, stored] of opened) {
      for (const [name, { dtype, shape }] of stored.tensors) {
        if (tensors.has(name))
          throw new StepError(`${file}: there are two tensors for ${name}`, 'Save the model again, with each weight once.');
        tensors.set(name, { file, dtype, shape, read: () => stored.read(name) });
      }
    }
    if (index) refuseDisplaced(source, index, opened);
    return { source, tensors, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Copies, because tied weights share memory, which safetensors does not write. */
const UNPICKLE = `Convert it once with Python:
  import torch; from safetensors.torch import save_file
  weights = torch.load("pytorch_model.bin", weights_only=True)
  save_file({name: w.clone() for name, w in weights.items()}, "model.safetensors", {"format": "pt"})`;

const WEIGHT_FILES = ['model.safetensors', 'model.safetensors.index.json'];
const FOREIGN_FILES = ['pytorch_model.bin', 'pytorch_model.bin.index.json', 'tf_model.h5', 'flax_model.msgpack', 'model.ckpt.index'];

/** The file of the folder that contains each tensor. */
async function indexOf(folder: string, index: string): Promise<Record<string, string>> {
  const { weight_map } = (await readJson(path.join(folder, index))) as { weight_map?: Record<string, string> };
  const places = Object.entries(weight_map ?? {});
  if (places.length === 0) throw new StepError(`${index} of ${shown(folder)} lists no shards in "weight_map"`);
  const outside = places.find(([, file]) => typeof file !== 'string' || file !== path.basename(file));
  if (outside) throw new StepError(`${index} of ${shown(folder)} lists ${outside[1]}, which is not a file of the folder`);
  const missing = [...new Set(places.map(([, file]) => file))].filter((file) => !existsSync(path.join(folder, file))).sort();
  if (missing.length > 0) {
    const [name] = places.find(([, file]) => file === missing[0])!;
    throw new StepError(
      `${shown(folder)} lacks ${listed(missing)}, which ${index} lists for ${name} and others`,
      'Download the missing shards.',
    );
  }
  return weight_map!;
}

/** Otherwise a shard from another save than the index would mix two models. */
function refuseDisplaced(source: string, index: Record<string, string>, shards: Map<string, Safetensors>): void {
  for (const [name, file] of Object.entries(index)) {
    if (shards.get(file)!.tensors.has(name)) continue;
    const [elsewhere] = [...shards].find(([, { tensors }]) => tensors.has(name)) ?? [];
    throw new StepError(
      `${source} lists ${name} in ${file}, but ${elsewhere === undefined ? 'no shard contains it' : `it is in ${elsewhere}`}`,
      OTHER_SAVES,
    );
  }
  for (const [file, { tensors }] of shards) {
    const unnamed = [...tensors.keys()].filter((name) => !Object.hasOwn(index, name));
    if (unnamed.length > 0) throw new StepError(`${file} contains ${listed(unnamed)}, which ${source} does not list`, OTHER_SAVES);
  }
}

const OTHER_SAVES = 'The index and the shards are from different saves: download all of them again.';
