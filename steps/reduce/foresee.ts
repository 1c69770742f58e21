/** Errors that need no data. They are reported when the pipeline is read if the model is there, otherwise when the step runs. */

import { existsSync } from 'node:fs';
import path from 'node:path';
import { type OptionProblem, StepError } from '../../engine/contract/step.ts';
import type { FloatType } from '../ml/models/float-types.ts';
import { readJson, shown } from '../ml/models/json.ts';
import { openWeights } from '../ml/models/safetensors.ts';
import { idsIn, refuseUnknownLayers } from './reduced-config.ts';
import { readVocabulary, refuseUnknownTokens } from './vocabulary.ts';

interface Options {
  text?: unknown;
  keep?: string[] | undefined;
  min_count: number;
  characters: 'used' | 'all';
  layers?: number[] | undefined;
  dtype?: FloatType | undefined;
}

/** `data`: whether the step has data. `folder`: the model, if it is there. */
export async function foresee(options: Options, data: boolean, folder: string | undefined): Promise<OptionProblem[]> {
  const problems: OptionProblem[] = [];
  const look = async (check: () => void | Promise<void>, place = 'model') => {
    try {
      await check();
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      problems.push({ option: error.option?.join('.') ?? place, message: error.message, ...(error.hint && { hint: error.hint }) });
    }
  };
  if (!data) await look(() => refuseOptionsOfData(options), '');
  if (folder === undefined || !existsSync(path.join(folder, 'config.json'))) return problems;
  await look(async () => {
    const file = await readJson(path.join(folder, 'config.json'));
    if (options.layers) await look(() => refuseUnknownLayers(file, options.layers!));
    if (data) await look(async () => refuseUnknownTokens(options.keep ?? [], await readVocabulary(folder, idsIn(file))));
  });
  await look(async () => {
    const weights = await openWeights(folder);
    await weights?.close();
    if (!weights && options.dtype) throw withoutWeights(folder, options.dtype);
  });
  return problems;
}

export function refuseOptionsOfData({ text, keep, min_count, characters, layers, dtype }: Options): void {
  const needless = Object.entries({ text, keep, min_count: min_count > 1 || undefined, characters: characters === 'all' || undefined });
  const [option] = needless.find(([, value]) => value !== undefined) ?? [];
  if (option !== undefined)
    throw new StepError(`\`${option}\` is about the vocabulary, which stays as it is without \`data\``, 'Give `data`, a table of texts.', [
      option,
    ]);
  if (!layers && !dtype)
    throw new StepError(
      'there is nothing to reduce: neither `data` nor `layers` nor `dtype` is given',
      'Give `data`, a table of texts, `layers` or `dtype`.',
    );
}

export const withoutWeights = (folder: string, dtype: FloatType): StepError =>
  new StepError(`${shown(folder)} has no weights, so they cannot be stored as ${dtype}`, 'Remove `dtype`, or train the model first.', [
    'dtype',
  ]);
