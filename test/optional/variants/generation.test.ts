/** More generating models with 200 prompts each: token for token as in transformers. */
import { test } from 'vitest';
import { sameTexts } from '../../steps/ml/generation/golden.ts';

const models: [string, string][] = [
  ['gpt2-varied', 'gpt2/varied'],
  ['t5-gated', 't5/gated'],
  ['t5-varied', 't5/varied'],
];

test.each(models)('%s', sameTexts);
