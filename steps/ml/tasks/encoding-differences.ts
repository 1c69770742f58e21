/** Whether tokens were made as the model reads its inputs. */
import { readPreprocessing } from '../data/preprocessing.ts';
import type { TokensInfo } from '../models/token-dataset.ts';
import { cleaningOf, readEncoding } from './encoder.ts';

/**
 * Compares how the tokens were made with how the model reads raw inputs. Returns a warning that names each difference; undefined if
 * there is none, or if tunesmith did not train the model. evaluate reads tokens; predict, generate and serve read inputs as in
 * training. If they differ, the metrics do not describe the model's answers.
 */
export async function encodingDifferences(info: TokensInfo, folders: { tokens: string; model: string }): Promise<string | undefined> {
  const trained = await readEncoding(folders.model);
  if (trained.fields === undefined) return undefined;
  const keys = (['pairs', 'max_length', 'truncation', 'stride', 'prefix'] as const).filter(
    // The block or window length of causal-lm does not limit prompts.
    (key) => trained[key] !== info[key] && !(info.task === 'causal-lm' && key === 'max_length'),
  );
  const differences = keys.map((key) => `${key} was ${inWords(trained[key])} and is ${inWords(info[key])}`);
  const [before, now] = await Promise.all([readPreprocessing(folders.model), readPreprocessing(folders.tokens)]);
  for (const field of Object.keys(trained.fields)) {
    const [trainedWith, tokenizedWith] = [
      cleaningOf(field, { task: info.task, encoding: trained, preprocessing: before }),
      cleaningOf(field, { task: info.task, encoding: info, preprocessing: now }),
    ].map((steps) => JSON.stringify(steps.map(({ columns: _, ...step }) => step)));
    if (trainedWith !== tokenizedWith) differences.push(`\`${field}\` ${otherCleaning(trainedWith!, tokenizedWith!)}`);
  }
  if (differences.length === 0) return undefined;
  return `these tokens were encoded differently from the training, and from what predict, generate and serve do: ${differences.join('; ')}`;
}

const inWords = (value: unknown): string => (value === undefined ? 'not set' : JSON.stringify(value));

function otherCleaning(trainedWith: string, tokenizedWith: string): string {
  if (tokenizedWith === '[]')
    return 'was cleaned and is not cleaned (before tokenize, use the clean step of the training with the same options)';
  if (trainedWith === '[]') return 'was not cleaned and is cleaned (remove the clean step)';
  return 'was cleaned and is cleaned differently (use the options of the clean step in the training)';
}
