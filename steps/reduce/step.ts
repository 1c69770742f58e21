/** Makes a model smaller: keeps the tokens that data use and some of the layers, and stores the weights in a narrower type. */
import { aliasesOf, declareStep } from '../../engine/contract/step.ts';

export default declareStep({
  name: 'reduce',
  version: 1,
  description:
    'Makes a model smaller: keeps only the tokens that the data use, keeps only some layers, or stores the weights in half precision.',
  options: {
    text: {
      oneOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, uniqueItems: true },
      ],
      description:
        'One or several columns of `data` that contain texts or lists of texts. Default: the column that `text` of collect names, otherwise `text`.',
    },
    min_count: {
      type: 'integer',
      minimum: 1,
      default: 1,
      description:
        'Removes tokens that occur in the data less often than this number. Some tokens are always kept: special and added tokens, tokens of a prefix or a prompt in the model folder, single characters of the data, bytes, and the shorter tokens that BPE merges to build a kept token.',
    },
    keep: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      minItems: 1,
      uniqueItems: true,
      description: 'More tokens to keep, as tokenizer.json writes them: `[spam, "##ing", Ġthe]`.',
    },
    characters: {
      enum: ['used', 'all'],
      default: 'used',
      description:
        'Which single characters of the vocabulary to keep: those that occur in the data (`used`), or all of them (`all`), because later texts may contain other characters. A BPE vocabulary always keeps all.',
    },
    layers: {
      type: 'array',
      items: { type: 'integer', minimum: 1 },
      minItems: 1,
      uniqueItems: true,
      description:
        'The layers to keep, in their new order, counted from 1: `[1, 3, 6]`. In an encoder-decoder they apply to both stacks. Default: all.',
    },
    dtype: {
      enum: ['float32', 'float16', 'bfloat16'],
      description:
        'The type in which the weights are stored. Training and inference always compute in float32. A weight that is too large for the type is an error. Default: the type of the original.',
    },
  },
  optional: ['text', 'keep', 'layers', 'dtype'],
  aliases: aliasesOf({
    text: 'texts text_column column columns',
    min_count: 'min_frequency min_freq min_tokens',
    keep: 'additional_tokens keep_tokens tokens',
    layers: 'keep_layers layers_to_keep',
    dtype: 'torch_dtype precision half fp16',
    data: 'dataset',
    model: 'model_name_or_path teacher',
  }),
  inputs: {
    model: { kind: 'folder', description: 'A model folder, with or without weights.' },
    data: {
      kind: 'folder',
      many: true,
      optional: true,
      description: 'One or several tables. The rows of all splits count. Without `data` the vocabulary stays as it is.',
    },
  },
  outputs: { model: { kind: 'folder', description: 'The smaller model, which transformers loads like the original.' } },
  libraries: ['tokenizers'],
  threads: 'all',
  foresee: {
    reads: ['model'],
    async check(options, _, { model, data }) {
      const { foresee } = await import('./foresee.ts');
      return foresee(options, data !== undefined, model?.[0]);
    },
  },
});
