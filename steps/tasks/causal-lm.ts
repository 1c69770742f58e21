/** Language modelling from left to right: a text, and what comes next. */
import { windowAt } from '../models/tokenizer.ts';
import { nextTokenTask } from './next-tokens.ts';

/** A text that is to be gone on with has the special tokens that a text begins with, and none of those that end it. */
export const causalLm = nextTokenTask('causal-lm', async (inputs, { tokenizer }) => {
  const whole = await tokenizer.encode(inputs.map(({ text }) => text!));
  return whole.map((sequence) => {
    const end = sequence.sequenceIds.findLastIndex((text) => text !== null) + 1;
    return [windowAt(sequence, [...sequence.ids.keys()].slice(0, end))];
  });
});
