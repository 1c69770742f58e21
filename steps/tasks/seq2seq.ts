/** seq2seq: generates a text from a text, as in translation or summarization. */
import { nextTokenTask } from './next-tokens.ts';

export const seq2seq = nextTokenTask('seq2seq', async (inputs, { tokenizer, encoding: { prefix = '', max_length } }) => {
  const texts = inputs.map(({ text }) => prefix + text!);
  return (await tokenizer.encode(texts, max_length)).map((sequence) => [sequence]);
});
