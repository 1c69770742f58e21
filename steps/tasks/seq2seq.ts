/** One text into another, as in translating or summing up. */
import { METRICS } from '../metrics/generated.ts';
import { nextTokenTask, type Predicted } from './next-tokens.ts';
import type { TaskKind } from './task.ts';

export const seq2seq: TaskKind<Predicted> = {
  ...nextTokenTask('seq2seq', async (inputs, { tokenizer, encoding: { prefix = '', max_length } }) => {
    const texts = inputs.map(({ text }) => prefix + text!);
    return (await tokenizer.encode(texts, max_length)).map((sequence) => [sequence]);
  }),
  ofTexts: { known: Object.keys(METRICS), usual: ['rouge1', 'rouge2', 'rougeL', 'bleu', 'exact_match'] },
};
