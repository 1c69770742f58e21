/** deploy: a trained model → a bundle that `tunesmith serve` and `tunesmith predict` take. */
import { defineStep } from '../../engine/step.ts';

export default defineStep({
  name: 'deploy',
  version: 3,
  description: 'Packs a trained model for use: weights, tokenizer, cleaning, an ONNX model and a model card.',
  options: {
    target: {
      type: 'string',
      enum: ['bundle'],
      default: 'bundle',
      description: 'What to deploy to. `bundle`: a folder that serves itself.',
    },
    name: {
      type: 'string',
      minLength: 1,
      description: 'What the model is called on its card and when served. Default: its task, such as `question-answering`.',
    },
    license: {
      type: 'string',
      pattern: '^[a-z0-9][a-z0-9.-]*$',
      description: 'The licence of the model, by its identifier on the Hugging Face hub, e.g. `apache-2.0`.',
    },
  },
  optional: ['name', 'license'],
  aliases: {
    licence: 'license',
    model_name: 'name',
    model_id: 'name',
    hub_model_id: 'name',
    format: 'target',
    type: 'target',
    model_path: 'model',
    checkpoint: 'model',
  },
  inputs: {
    model: { kind: 'folder', description: 'A trained model.' },
    metrics: { kind: 'file', optional: true, description: 'What `evaluate` measured or `select` chose; shown on the model card.' },
  },
  outputs: {
    bundle: { kind: 'folder', description: 'A Hugging Face model folder with `onnx/model.onnx`, `README.md` and `metrics.json`.' },
  },
  libraries: ['@tensorflow/tfjs', 'onnxruntime-node'],
  threads: 'all',
  async run(context) {
    const { deploy } = await import('./deploy.ts');
    await deploy(context);
  },
});
