/** A model folder and data → a folder with a smaller model: fewer tokens, fewer layers, or weights in half precision. */

import { existsSync } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { Database } from '../ml/data/database.ts';
import { quote } from '../ml/data/sql.ts';
import { namesOf, requireColumn, tableOf } from '../ml/data/table.ts';
import { CALIBRATION, hasCalibration } from '../ml/models/calibration.ts';
import type { ConfigFile } from '../ml/models/config.ts';
import { withFloatType } from '../ml/models/float-types.ts';
import { readJson, shown } from '../ml/models/json.ts';
import { readConfig, writeConfig } from '../ml/models/model-folder.ts';
import { familyOf } from '../ml/models/registry.ts';
import { openWeights, writeSafetensors } from '../ml/models/safetensors.ts';
import { checkVocabulary, openTokenizer } from '../ml/models/tokenizer.ts';
import { refuseOptionsOfData, withoutWeights } from './foresee.ts';
import { keptTokens } from './kept-tokens.ts';
import { layersOf, tokenIds, withLayers, withMovedIds, withVocabulary } from './reduced-config.ts';
import { addedTexts, VOCABULARY_FILES, writeReducedTokenizer } from './reduced-tokenizer.ts';
import { countParameters, reducedWeights } from './reduced-weights.ts';
import type step from './step.ts';
import { readVocabulary, refuseUnknownTokens } from './vocabulary.ts';

type Context = ContextOf<typeof step>;

export async function reduce(context: Context): Promise<void> {
  const { options, inputs, outputs, log, warn, metric, result } = context;
  const data: string[] = inputs.data ?? [];
  if (data.length === 0) refuseOptionsOfData(options);
  const file = await readConfig(inputs.model);
  const family = familyOf(file);
  // Some heads need a padding token, whichever it is.
  const configured = (one: ConfigFile) => family.configure({ ...one, pad_token_id: one.pad_token_id ?? 0 });
  const before = configured(file);
  const layered = options.layers ? withLayers(file, before, options.layers) : file;

  const to = outputs.model!;
  await mkdir(to, { recursive: true });
  await copyOthers(inputs.model, to, data.length > 0);
  if (hasCalibration(inputs.model))
    warn('the calibration.json of the model is dropped: the smaller model has other scores. Train and calibrate the smaller model');
  const vocabulary = data.length > 0 ? await reduceVocabulary(context, { file, layered, data }) : undefined;
  const smaller = vocabulary?.config ?? layered;
  const config = options.dtype ? withFloatType(smaller, options.dtype) : smaller;
  await writeConfig(to, config);

  const after = configured(config);
  const weights = await openWeights(inputs.model);
  let counts: [before: number, after: number];
  try {
    const reduction = { family, before, after, rows: vocabulary?.rows, layers: options.layers, dtype: options.dtype };
    if (weights) {
      const tensors = await reducedWeights(weights, reduction);
      counts = [countParameters(weights.tensors, family), countParameters(Object.entries(tensors), family)];
      await writeSafetensors(path.join(to, 'model.safetensors'), tensors, { format: 'pt' });
    } else {
      if (options.dtype) throw withoutWeights(inputs.model, options.dtype);
      log('no model.safetensors: the smaller model has no weights either');
      counts = [before, after].map((one) => countParameters(Object.entries(family.parameters(one)), family)) as [number, number];
    }
  } finally {
    await weights?.close();
  }

  const layerCount = options.layers?.length ?? layersOf(before);
  metric('vocabulary', after.vocab_size, { better: 'lower' });
  metric('vocabulary_before', before.vocab_size);
  metric('parameters', counts[1], { better: 'lower' });
  metric('parameters_before', counts[0]);
  metric('layers', layerCount);
  if (vocabulary) metric('unknown_share', vocabulary.unknownShare, { better: 'lower' });
  result(
    `${after.vocab_size} of ${before.vocab_size} tokens, ${layerCount} of ${layersOf(before)} layers, ${counts[1]} of ${counts[0]} parameters${options.dtype ? ` as ${options.dtype}` : ''}`,
  );
}

/** Everything besides the config and the weights, and besides the tokenizer if its vocabulary becomes smaller. */
async function copyOthers(from: string, to: string, reducesVocabulary: boolean): Promise<void> {
  const leftOut = (name: string) =>
    name === 'config.json' ||
    name === CALIBRATION ||
    WEIGHTS.test(name) ||
    (reducesVocabulary && [...VOCABULARY_FILES, ...REWRITTEN].includes(name));
  // The folder of a hub's cache consists of links.
  await cp(from, to, { recursive: true, dereference: true, filter: (source) => source === from || !leftOut(path.basename(source)) });
}

/** Weights in any format: those of the larger model must not lie beside the smaller one. */
const WEIGHTS = /\.(safetensors|bin|pt|pth|h5|msgpack|onnx|onnx_data|ot|gguf)$|\.index\.json$|^model\.ckpt/;
const REWRITTEN = ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json'];

interface Reduced {
  config: ConfigFile;
  /** The old ids of the kept tokens. */
  rows: number[];
  unknownShare: number;
}

/** Writes the tokenizer with the tokens that are kept, and generation_config.json. */
async function reduceVocabulary(
  context: Context,
  { file, layered, data }: { file: ConfigFile; layered: ConfigFile; data: string[] },
): Promise<Reduced> {
  const { options, inputs, outputs, log, warn } = context;
  const folder = inputs.model;
  const family = familyOf(file);
  const config = family.configure(file);
  const configured = tokenIds(file, family, config);
  const vocabulary = await readVocabulary(folder, configured);
  const { ids, tokens, special, unknownToken } = vocabulary;
  refuseUnknownTokens(options.keep ?? [], vocabulary);
  const tokenizer = await openTokenizer(folder, {});
  checkVocabulary(tokenizer, config.vocab_size);

  const added = await addedTexts(folder, file);
  const counts = new Uint32Array(tokenizer.size);
  // A text may begin with another token behind a prefix.
  const prefixed = new Uint32Array(tokenizer.size);
  for await (const texts of textsOf(data, options.text)) {
    count(await tokenizer.encode(texts), counts);
    if (added.prefix !== '') count(await tokenizer.encode(texts.map((text) => added.prefix + text)), prefixed);
  }
  const tokensWhere = (enough: (id: number) => boolean) => [...tokens].flatMap(([id, token]) => (enough(id) ? token : []));
  const seen = new Set(tokensWhere((id) => counts[id]! > 0));
  const frequent = tokensWhere((id) => counts[id]! >= options.min_count);
  const wanted = new Set(tokensWhere((id) => Math.max(counts[id]!, prefixed[id]!) >= options.min_count));
  for (const { ids: some } of await tokenizer.encode(added.texts)) for (const id of some) wanted.add(tokens.get(id)!);
  const kept = keptTokens(vocabulary.file.model, {
    wanted: new Set([...special, ...wanted, ...(options.keep ?? [])]),
    seen: new Set([...seen, ...wanted]),
    allCharacters: options.characters === 'all',
  });
  const rows = [...kept].flatMap((token) => ids.get(token) ?? []).sort((a, b) => a - b);
  const moved = new Map(rows.map((old, now) => [old, now]));
  log(
    `${rows.length} of ${ids.size} tokens are kept: the data use ${seen.size}, ${frequent.length} of them at least ${options.min_count} times`,
  );

  await writeReducedTokenizer(folder, outputs.model!, vocabulary.file, moved);
  if (existsSync(path.join(folder, 'generation_config.json'))) {
    const generation = withMovedIds(await readJson(path.join(folder, 'generation_config.json')), moved);
    await writeFile(path.join(outputs.model!, 'generation_config.json'), `${JSON.stringify(generation, null, 2)}\n`);
  }
  let unknownShare = 0;
  if (unknownToken !== undefined && [...seen].some((token) => !kept.has(token))) {
    const smaller = await openTokenizer(outputs.model!, {});
    const after = new Uint32Array(smaller.size);
    for await (const texts of textsOf(data, options.text)) count(await smaller.encode(texts), after);
    const more = after[smaller.idOf(unknownToken)!]! - counts[ids.get(unknownToken)!]!;
    const total = counts.reduce((sum, n, id) => sum + (special.has(tokens.get(id)!) ? 0 : n), 0);
    unknownShare = total > 0 ? Math.max(0, more) / total : 0;
    if (more > 0)
      warn(
        `${more} tokens of the data (${(100 * unknownShare).toFixed(2)}%) become ${unknownToken} with the reduced vocabulary. Set a smaller min_count, or \`keep\` their characters`,
      );
  }
  return { config: withVocabulary(layered, configured, moved), rows, unknownShare };
}

function count(sequences: { ids: number[] }[], counts: Uint32Array): void {
  for (const { ids } of sequences) for (const id of ids) counts[id]!++;
}

/** The texts of some columns of tables, in groups. */
async function* textsOf(folders: string[], text: string | string[] | undefined): AsyncGenerator<string[]> {
  const database = await Database.open();
  try {
    for (const folder of folders) {
      const table = tableOf(folder);
      const columns = await database.columns(table);
      const names = text === undefined ? [(await namesOf(folder)).text ?? 'text'] : [text].flat();
      for (const name of names) {
        const { type } = requireColumn(columns, name, 'text');
        if (type !== 'VARCHAR' && type !== 'VARCHAR[]')
          throw new StepError(
            `the column \`${name}\` of ${shown(folder)} contains ${type}, not texts`,
            'Give a column of texts, or of lists of texts.',
            ['text'],
          );
        const value = type === 'VARCHAR' ? quote(name) : `unnest(${quote(name)})`;
        for await (const rows of database.stream<{ text: string | null }>(`SELECT ${value} AS text FROM ${table}`))
          yield rows.flatMap((row) => row.text ?? []);
      }
    }
  } finally {
    database.close();
  }
}
