import { defineStep } from '../../engine/step.ts';

export default defineStep({
  name: 'tokenize',
  version: 1,
  description: 'Turns texts into the ids that a model reads.',
  options: {
    text: { type: 'string', default: 'text', description: 'The column of texts.' },
    label: { type: 'string', default: 'label', description: 'The column of labels.' },
    max_length: {
      type: 'integer',
      minimum: 8,
      description: "Longer texts are cut to so many tokens, special tokens included. Default: the model's own limit.",
    },
  },
  optional: ['max_length'],
  inputs: {
    data: { kind: 'folder', description: 'A table with a column `split`.' },
    model: {
      kind: 'folder',
      description: 'A model folder: its tokenizer is used (tokenizer.json, or vocab.txt, or vocab.json and merges.txt).',
    },
  },
  outputs: { tokens: { kind: 'folder', description: 'Ids and labels of each split, and the tokenizer.' } },
  libraries: ['tokenizers'],
  threads: 'all',
  async run(context) {
    const { tokenize } = await import('./tokenize.ts');
    await tokenize(context);
  },
});
