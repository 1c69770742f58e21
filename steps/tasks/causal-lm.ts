/** causal-lm: predicts the next token from the previous ones, from left to right. */
import { windowAt } from '../models/tokenizer.ts';
import { nextTokenTask } from './next-tokens.ts';

/** A prompt has the special tokens at the beginning of a text, and none of those at its end. */
export const causalLm = nextTokenTask('causal-lm', async (inputs, { tokenizer }) => {
  const whole = await tokenizer.encode(inputs.map(({ text }) => text!));
  return whole.map((sequence) => {
    const end = sequence.sequenceIds.findLastIndex((text) => text !== null) + 1;
    return [windowAt(sequence, [...sequence.ids.keys()].slice(0, end))];
  });
});
