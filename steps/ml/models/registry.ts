/** The model families. To add one, write a file like bert.ts and add it to this list. */

import { StepError } from '../../../engine/contract/step.ts';
import { albert } from './albert.ts';
import { bert } from './bert.ts';
import type { ConfigFile } from './config.ts';
import { distilbert } from './distilbert.ts';
import { electra } from './electra.ts';
import type { Family } from './family.ts';
import { gpt2 } from './gpt2.ts';
import { modernBert } from './modernbert.ts';
import { camembert, roberta, xlmRoberta } from './roberta.ts';
import { t5 } from './t5.ts';

export const families: Family[] = [bert, roberta, xlmRoberta, camembert, distilbert, albert, electra, modernBert, gpt2, t5];

/** The family of a model, by its config.json. */
export function familyOf(config: ConfigFile): Family {
  const family = families.find(({ type }) => type === config.model_type);
  if (family) return family;
  const wrong =
    config.model_type === undefined ? 'config.json has no model_type' : `model_type ${JSON.stringify(config.model_type)} is not supported`;
  throw new StepError(wrong, `Supported: ${families.map(({ type }) => type).join(', ')}.`);
}
