/** Whether tokens and a trained model were made for each other. */

import { StepError } from '../../../engine/contract/step.ts';
import { listed } from '../models/json.ts';
import type { Model } from '../models/model-folder.ts';
import type { TokensInfo } from '../models/token-dataset.ts';
import { sameTokenizer } from '../models/tokenizer.ts';

/** @throws StepError if the model cannot read the tokens, or was trained for other problems */
export async function checkFit(
  info: TokensInfo,
  { family, config, problem }: Model,
  folders: { tokens: string; model: string },
): Promise<void> {
  if (info.problem_type && info.problem_type !== problem)
    throw new StepError(
      `the model was trained for ${problem}, but the tokens are for ${info.problem_type}`,
      'Use tokens that were made like those that it was trained on.',
    );
  if ((await sameTokenizer(folders.tokens, folders.model)) === false) {
    throw new StepError(
      "the tokens were not made with the model's tokenizer",
      'Use tokens that were made like those that the model was trained on.',
    );
  }
  const limit = family.maxLength(config);
  if (info.max_length > limit)
    throw new StepError(`the tokens have a max_length of ${info.max_length}, but the model takes only ${limit} tokens`);
}

/** Maps the labels of the tokens to those of the model, which may have been trained on other tokens. */
export function intoModel(info: TokensInfo, labels: string[]): Int32Array {
  // The single output of a regression has no label name.
  if (info.problem_type === 'regression') return Int32Array.of(0);
  const unknown = info.labels.filter((name) => !labels.includes(name));
  if (unknown.length > 0) {
    throw new StepError(`the model does not know the label ${listed(unknown)}, which the tokens have`, `Its labels are ${listed(labels)}.`);
  }
  return Int32Array.from(info.labels, (name) => labels.indexOf(name));
}
