/**
 * Compares how the tokens were made with how the model reads raw inputs. evaluate reads tokens; predict, generate and
 * serve read inputs as in training. If they differ, the metrics do not describe the model's answers.
 */
import { readPreprocessing } from '../data/preprocessing.ts';
import { readEncoding } from '../models/encoding.ts';
import type { TokensInfo } from '../models/tokens.ts';
import { cleaningOf } from '../tasks/encoder.ts';

/** Describes each difference; empty for a model that tunesmith did not train. */
export async function differencesFromTraining(info: TokensInfo, folders: { tokens: string; model: string }): Promise<string[]> {
  const trained = await readEncoding(folders.model);
  if (trained.fields === undefined) return [];
  const keys = (['pairs', 'max_length', 'truncation', 'stride', 'prefix'] as const).filter(
    // The block or window length of causal-lm does not limit prompts.
    (key) => trained[key] !== info[key] && !(info.task === 'causal-lm' && key === 'max_length'),
  );
  const said = keys.map((key) => `${key} was ${shown(trained[key])} and is ${shown(info[key])}`);
  const [before, now] = await Promise.all([readPreprocessing(folders.model), readPreprocessing(folders.tokens)]);
  for (const field of Object.keys(trained.fields)) {
    const [own, given] = [
      cleaningOf(field, { task: info.task, encoding: trained, preprocessing: before }),
      cleaningOf(field, { task: info.task, encoding: info, preprocessing: now }),
    ].map((steps) => JSON.stringify(steps.map(({ columns: _, ...step }) => step)));
    if (own !== given) said.push(`\`${field}\` ${otherCleaning(own!, given!)}`);
  }
  return said;
}

const shown = (value: unknown): string => (value === undefined ? 'not set' : JSON.stringify(value));

function otherCleaning(own: string, given: string): string {
  if (given === '[]') return 'was cleaned and is not cleaned (before tokenize, use the clean step of the training with the same options)';
  if (own === '[]') return 'was not cleaned and is cleaned (remove the clean step)';
  return 'was cleaned and is cleaned differently (use the options of the clean step in the training)';
}
