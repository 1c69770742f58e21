/** Copies the rows of kept tokens and the kept layers from the files of a model, in the type in which they are stored or in another. */

import { StepError } from '../../engine/contract/step.ts';
import { type Config, type Family, type GeneratingHead, type Head, vocabularyWeights } from '../ml/models/family.ts';
import { asFloatType, type FloatType } from '../ml/models/float-types.ts';
import { nameFor } from '../ml/models/model-folder.ts';
import type { StoredTensor, WeightFiles } from '../ml/models/safetensors.ts';

export interface Reduction {
  family: Family;
  /** The config of the model before and after. */
  before: Config;
  after: Config;
  /** The old ids of the tokens that are kept, in order; undefined if all are. */
  rows?: number[] | undefined;
  /** The old numbers of the layers, from 1, in their new order; undefined if all are kept. */
  layers?: readonly number[] | undefined;
  /** The type in which the weights are stored; undefined if it stays. */
  dtype?: FloatType | undefined;
}

export async function reducedWeights({ source, tensors }: WeightFiles, reduction: Reduction): Promise<Record<string, StoredTensor>> {
  const { family, before, rows, layers, dtype } = reduction;
  const vocabulary = withTokenRows(family, before);
  const own = namesOf(family, before);
  const names = layers ? movedNames([...tensors.keys()], reduction, layers) : new Map([...tensors.keys()].map((name) => [name, name]));
  const reduced: Record<string, StoredTensor> = Object.create(null);
  for (const [to, from] of names) {
    const { file, shape, read } = tensors.get(from)!;
    const name = nameFor(from, family, own);
    const stored = async () => {
      const tensor = await read();
      return dtype ? asFloatType(tensor, dtype, `${file}: "${from}"`) : tensor;
    };
    if (!rows || !vocabulary.has(name)) {
      if (rows && shape[0] === before.vocab_size && !(name in own) && !layerOf(family, from, before))
        throw new StepError(
          `${file}: "${from}" has ${shape[0]} rows, as many as the vocabulary has tokens, but no ${family.type} model here has this weight`,
          'It may belong to the vocabulary: remove the weight from the file if it is not needed.',
        );
      reduced[to] = await stored();
      continue;
    }
    if (shape[0] !== before.vocab_size)
      throw new StepError(
        `${source} does not fit its config.json: ${from} is [${shape}], but the vocabulary has ${before.vocab_size} tokens`,
        'Use the config.json that was saved with the weights.',
      );
    reduced[to] = rowsOf(await stored(), rows);
  }
  return reduced;
}

/** The number of values, without copies of tied weights. */
export function countParameters(tensors: Iterable<[name: string, tensor: { shape: number[] }]>, family: Family): number {
  const copies = new Set(headsOf(family).flatMap(({ tied = {} }) => Object.keys(tied)));
  let count = 0;
  for (const [name, { shape }] of tensors) if (!copies.has(name)) count += shape.reduce((product, n) => product * n, 1);
  return count;
}

function rowsOf({ dtype, shape, bytes }: StoredTensor, rows: number[]): StoredTensor {
  const width = bytes.length / shape[0]!;
  const kept = new Uint8Array(width * rows.length);
  for (const [to, from] of rows.entries()) kept.set(bytes.subarray(from * width, (from + 1) * width), to * width);
  return { dtype, shape: [rows.length, ...shape.slice(1)], bytes: kept };
}

const headsOf = (family: Family): (Head | GeneratingHead)[] => Object.values(family.heads);

/** The weights of the base model and of every head, by name. */
const namesOf = (family: Family, config: Config): ReturnType<Family['parameters']> =>
  Object.assign({}, ...headsOf(family).map((head) => head.parameters(config, 2)), family.parameters(config));

/** The weights with a row for each token, and copies of them. */
function withTokenRows(family: Family, config: Config): Set<string> {
  const names = new Set(vocabularyWeights((other) => namesOf(family, other), config));
  for (const { tied = {} } of headsOf(family))
    for (const [copy, original] of Object.entries(tied)) if (names.has(original)) names.add(copy);
  return names;
}

/** The new name of each tensor that stays → its old name. */
function movedNames(names: string[], { family, before, after }: Reduction, layers: readonly number[]): Map<string, string> {
  const moved = new Map<string, string>();
  for (const name of names) {
    const layer = layerOf(family, name, before);
    if (!layer) {
      moved.set(name, name);
      continue;
    }
    const place = layers.indexOf(layer.number);
    if (place >= 0) moved.set(layer.named(place), name);
  }
  // Some weights exist only in the first layer, such as T5's relative positions, and stay in the first.
  const [had, needs] = [namesOf(family, before), namesOf(family, after)];
  const ownName = (name: string) => nameFor(name, family, had);
  for (const name of names) {
    const layer = layerOf(family, name, before);
    if (layer?.number === 1 && !(ownName(layer.named(1)) in had) && ownName(name) in needs) {
      for (const [to, from] of moved) if (from === name) moved.delete(to);
      moved.set(name, name);
    }
  }
  const present = new Set([...moved.keys()].map((name) => nameFor(name, family, needs)));
  const there = new Set(names.map(ownName));
  const lacking = Object.keys(needs).find((name) => !present.has(name) && layerOf(family, name, after) && there.has(name));
  const odd = [...moved].find(
    ([to, from]) => layerOf(family, from, before) && ownName(from) in had && !(nameFor(to, family, needs) in needs),
  )?.[1];
  if (lacking !== undefined || odd !== undefined)
    throw new StepError(
      `layer ${layers[0]} cannot become the first: in a ${family.type} model the first layer has other weights than the others (${lacking ?? odd})`,
      'Begin `layers` with 1. Layers are counted from 1.',
      ['layers'],
    );
  return moved;
}

/** The layer of a weight, counted from 1, and the weight's name in the layer at a place from 0; undefined for other weights. */
function layerOf(family: Family, name: string, config: Config): { number: number; named(place: number): string } | undefined {
  const depth = family.depthOf(name, config) ?? family.depthOf(`${family.prefix}.${name}`, config);
  const match = /^(.*?\.)(\d+)(\..*)$/.exec(name);
  if (!depth || !match) return undefined;
  const [, begin, number, end] = match;
  return { number: Number(number) + 1, named: (place) => `${begin}${place}${end}` };
}
