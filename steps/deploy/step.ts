/** deploy: packs a trained model into a bundle for `tunesmith serve` and `tunesmith predict`. */
import { aliasesOf, declareStep } from '../../engine/contract/step.ts';

export default declareStep({
  name: 'deploy',
  version: 5,
  description:
    'Packs a trained model for inference: weights, tokenizer, preprocessing, a model card and, unless the model generates text, an ONNX model.',
  options: {
    target: {
      type: 'string',
      enum: ['bundle', 'http'],
      default: 'bundle',
      description:
        'What to make. `bundle` is a folder with everything that `tunesmith serve` and `tunesmith predict` need. The others contain this folder as `bundle/`, and what builds an image of it: `http` for Docker and Kubernetes.',
    },
    name: {
      type: 'string',
      minLength: 1,
      description: 'The name of the model, for the model card and the server. Default: the task, such as `question-answering`.',
    },
    license: {
      type: 'string',
      pattern: '^[a-z0-9][a-z0-9.-]*$',
      description: 'The licence of the model, as on the Hugging Face hub, e.g. `apache-2.0`.',
    },
  },
  optional: ['name', 'license'],
  aliases: aliasesOf({
    license: 'licence',
    name: 'model_name model_id hub_model_id',
    target: 'format type',
    model: 'model_path checkpoint',
  }),
  inputs: {
    model: { kind: 'folder', description: 'A trained model.' },
    metrics: {
      kind: 'file',
      optional: true,
      description: 'The metrics of `evaluate` or the choice of `select`, which the model card shows.',
    },
  },
  outputs: {
    bundle: { kind: 'folder', description: 'A model folder that is ready to serve.' },
  },
  libraries: ['@tensorflow/tfjs', 'onnxruntime-node'],
  threads: 'all',
});
