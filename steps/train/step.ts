import { defineStep } from '../../engine/step.ts';
import { metricProblem, positiveAhead, tokensAhead } from '../ml/tasks/metrics.ts';
import { aliases } from './aliases.ts';
import { check, optional, optionSchemas } from './options.ts';

const step = defineStep({
  name: 'train',
  version: 5,
  description: 'Fine-tunes a model. If the model folder has no weights, trains it from a random initialization.',
  options: optionSchemas,
  optional,
  aliases,
  inputs: {
    tokens: { kind: 'folder', description: 'The tokens from a tokenize step.' },
    model: {
      kind: 'folder',
      description: 'A Hugging Face model folder. Without model.safetensors, training starts from a random initialization.',
    },
    continue: {
      kind: 'folder',
      optional: true,
      description:
        'The model of a train step with `save_optimizer: true`. Training resumes with its weights and optimizer state, until `epochs` or `max_steps`, which include those already done.',
    },
    'distill.teacher': {
      kind: 'folder',
      description: 'The trained model that `model` learns from. It has the same tokenizer and, for classification, the same labels.',
    },
  },
  outputs: {
    model: { kind: 'folder', description: 'The trained model, as a Hugging Face model folder.' },
    history: {
      kind: 'file',
      description: 'Loss, learning rate, gradient norm, padding and validation metrics by step, as JSON lines.',
    },
    tensorboard: { kind: 'folder', description: 'The curves of `history` as an event file for TensorBoard.' },
  },
  libraries: ['onnxruntime-node', '@tensorflow/tfjs', 'tokenizers'],
  threads: 'all',
  check,
  foresee: {
    reads: ['tokens'],
    check({ early_stopping, load_best_model_at_end, metric_for_best_model, positive }, { tokens }) {
      const ahead = tokensAhead(tokens);
      const [metric, option] = early_stopping
        ? [early_stopping.metric, 'early_stopping.metric']
        : [load_best_model_at_end ? metric_for_best_model : undefined, 'metric_for_best_model'];
      const problem = ahead && metric !== undefined ? metricProblem(metric, option, ahead, ['loss']) : undefined;
      return [...(problem ? [problem] : []), ...(ahead ? positiveAhead(positive, ahead) : [])];
    },
  },
  async run(context) {
    const { train } = await import('./train.ts');
    await train(context);
  },
});

export default step;

export type TrainContext = Parameters<(typeof step)['run']>[0];
