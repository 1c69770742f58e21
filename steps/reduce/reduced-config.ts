/** Rewrites config.json and generation_config.json for fewer tokens and layers. */

import { StepError } from '../../engine/contract/step.ts';
import { type ConfigFile, LAYER_COUNTS } from '../ml/models/config.ts';
import type { Config, Family } from '../ml/models/family.ts';
import { listed } from '../ml/models/json.ts';

/**
 * The ids of special tokens, by field: those of config.json, and the defaults of transformers for fields that it
 * leaves out.
 */
export function tokenIds(file: ConfigFile, family: Family, config: Config): Record<string, number[]> {
  const defaults = { ...DEFAULT_IDS[family.type], ...only(config, ['pad_token_id', 'eos_token_id', 'decoder_start_token_id']) };
  const inVocabulary = Object.entries(defaults).filter(([, id]) => id < config.vocab_size);
  return { ...idsIn(Object.fromEntries(inVocabulary)), ...idsIn(file) };
}

/** The ids of tokens that a configuration names, by field. */
export function idsIn(file: Record<string, unknown>): Record<string, number[]> {
  return Object.fromEntries(
    Object.entries(file).flatMap(([field, value]) => {
      const ids = [value].flat().filter((id): id is number => Number.isSafeInteger(id) && (id as number) >= 0);
      return ID_FIELD.test(field) && ids.length > 0 ? [[field, ids]] : [];
    }),
  );
}

/** Every id in the fields of a configuration that name tokens, in its new place. Lists lose tokens that are gone. */
export function withMovedIds<F extends Record<string, unknown>>(file: F, moved: ReadonlyMap<number, number>): F {
  const move = (value: unknown): unknown => {
    if (Array.isArray(value)) {
      const items = value.map(move);
      return Array.isArray(value[0]) ? items.filter((one) => (one as unknown[]).length > 0) : items.filter((one) => one !== undefined);
    }
    return typeof value === 'number' && value >= 0 ? moved.get(value) : value;
  };
  // A forbidden sequence of which one token is gone cannot occur anymore.
  const sequences = (value: unknown) =>
    Array.isArray(value) ? value.filter((sequence: number[]) => sequence.every((id) => moved.has(id))).map(move) : value;
  return Object.fromEntries(
    Object.entries(file).map(([field, value]) => {
      if (field === 'bad_words_ids') return [field, sequences(value)];
      return [field, ID_FIELD.test(field) || ID_LISTS.includes(field) ? move(value) : value];
    }),
  ) as F;
}

/** config.json with the new size of the vocabulary, and with ids that transformers would otherwise take from its defaults. */
export function withVocabulary(file: ConfigFile, ids: Record<string, number[]>, moved: ReadonlyMap<number, number>): ConfigFile {
  const implied = Object.entries(ids).filter(([field, [id]]) => !(field in file) && moved.get(id!) !== id);
  return {
    ...withMovedIds(file, moved),
    ...Object.fromEntries(implied.map(([field, [id]]) => [field, moved.get(id!)])),
    vocab_size: moved.size,
  };
}

/** `config`: with the family's defaults. */
export function withLayers(file: ConfigFile, config: Config & Record<string, unknown>, layers: readonly number[]): ConfigFile {
  refuseUnknownLayers({ ...config, model_type: file.model_type }, layers);
  const types = config.layer_types as unknown[] | undefined;
  return {
    ...file,
    ...Object.fromEntries(countsOf(config).map((field) => [field, layers.length])),
    ...(types && { layer_types: layers.map((layer) => types[layer - 1]) }),
  };
}

/**
 * As far as config.json says, which may leave out what transformers has a default for.
 * @throws StepError if the family has no layers to choose, or the model has fewer
 */
export function refuseUnknownLayers(file: ConfigFile, layers: readonly number[]): void {
  const type = file.model_type;
  if (type === 'albert' && Number(file.num_hidden_groups ?? 1) < Number(file.num_hidden_layers ?? 12))
    throw new StepError('the layers of this albert model share their weights, so that none can be left out', 'Leave `layers` out.', [
      'layers',
    ]);
  for (const field of countsOf(file)) {
    const count = file[field] as number;
    const unknown = layers.filter((layer) => layer > count).map(String);
    if (unknown.length > 0)
      throw new StepError(
        `the model has ${count} layers (${field} of config.json), but \`layers\` names ${listed(unknown)}`,
        `Layers are counted from 1 to ${count}.`,
        ['layers'],
      );
  }
  if (type === 'modernbert' && layers[0] !== 1)
    throw new StepError(
      `layer ${layers[0]} cannot become the first: in a modernbert model the first layer has other weights than the others`,
      'Begin `layers` with 1. Layers are counted from 1.',
      ['layers'],
    );
}

/** The number of layers; of each stack, in an encoder-decoder. */
export const layersOf = (config: Config & Record<string, unknown>): number => config[countsOf(config)[0]!] as number;

const countsOf = (config: Record<string, unknown>): string[] => LAYER_COUNTS.filter((field) => typeof config[field] === 'number');

/** `pad_token_id`, `forced_bos_token_id` … */
const ID_FIELD = /_token_ids?$/;

/** Lists of ids in generation_config.json. */
const ID_LISTS = ['suppress_tokens', 'begin_suppress_tokens'];

/** The defaults of transformers' configurations, for fields that a family here does not read. */
const DEFAULT_IDS: Record<string, Record<string, number>> = {
  roberta: { bos_token_id: 0, eos_token_id: 2 },
  'xlm-roberta': { bos_token_id: 0, eos_token_id: 2 },
  camembert: { bos_token_id: 0, eos_token_id: 2 },
  albert: { bos_token_id: 2, eos_token_id: 3 },
  modernbert: { bos_token_id: 50281, eos_token_id: 50282, cls_token_id: 50281, sep_token_id: 50282 },
  gpt2: { bos_token_id: 50256, eos_token_id: 50256 },
  t5: { eos_token_id: 1 },
};

const only = (config: Config, fields: (keyof Config)[]): Record<string, number> =>
  Object.fromEntries(fields.flatMap((field) => (typeof config[field] === 'number' ? [[field, config[field]]] : [])));
