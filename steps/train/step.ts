import { defineStep, type OptionProblem } from '../../engine/step.ts';
import { METRIC_NAMES } from '../metrics/names.ts';
import { runtimeOptions } from '../runtime/options.ts';
import { metricProblem, positiveAhead, tokensAhead } from '../tasks/foresight.ts';
import { aliases } from './aliases.ts';
import { SCHEDULES } from './schedule.ts';

/** Names are those of transformers' TrainingArguments where it has them. */
export default defineStep({
  name: 'train',
  version: 5,
  description: 'Fine-tunes a model, or trains it from a random start where the model folder has no weights.',
  options: {
    task: {
      enum: ['text-classification', 'token-classification', 'question-answering', 'masked-lm', 'causal-lm', 'seq2seq'],
      description: 'What the model is trained for. Default: what the tokens were made for, and it can be nothing else.',
    },
    replace_head: {
      type: 'boolean',
      default: false,
      description: "Starts a new head where the model's was trained for other labels; without it that is an error.",
    },
    epochs: { type: 'integer', minimum: 1, default: 3, description: 'Passes over the training split.' },
    max_steps: {
      type: 'integer',
      minimum: 1,
      description:
        'Optimizer steps of the whole training. It overrides epochs: the training split is passed over as often as that takes, the last time in part.',
    },
    batch_size: { type: 'integer', minimum: 1, default: 32, description: 'Sequences that are computed at once.' },
    gradient_accumulation_steps: {
      type: 'integer',
      minimum: 1,
      default: 1,
      description:
        'An optimizer step learns from so many times batch_size sequences, in less memory than one batch of that size takes. Without dropout the result is the same; with dropout other units are dropped.',
    },
    gradient_checkpointing: {
      type: 'boolean',
      default: false,
      description:
        'Keeps only what lies between the layers, and computes the rest once more for the gradients: much less memory, one more forward pass, the same result.',
    },
    sampler: {
      enum: ['random', 'balanced'],
      default: 'random',
      description: 'balanced draws every class of a text-classification equally often, those with few rows again and again.',
    },
    optim: {
      enum: ['adamw', 'adafactor', 'sgd'],
      default: 'adamw',
      description: "torch.optim.AdamW, Adafactor as transformers' Trainer sets it up (little memory), or torch.optim.SGD.",
    },
    learning_rate: { type: 'number', exclusiveMinimum: 0, default: 5e-5, description: 'The peak of the learning rate.' },
    lr_scheduler_type: {
      enum: SCHEDULES,
      default: 'linear',
      description:
        'How the learning rate goes on after the warmup: down to 0 in a line, a half cosine or several of them, to lr_end by a polynomial, with the root of the steps, or not at all.',
    },
    lr_scheduler_kwargs: {
      type: 'object',
      properties: {
        num_cycles: { type: 'integer', minimum: 1, description: 'Of cosine_with_restarts: how often it falls to 0. Default: 1.' },
        power: { type: 'number', exclusiveMinimum: 0, description: 'Of polynomial. Default: 1.' },
        lr_end: { type: 'number', minimum: 0, description: 'Of polynomial: the last learning rate. Default: 1e-7.' },
      },
      additionalProperties: false,
      description: 'Options of some schedules.',
    },
    warmup_steps: {
      type: 'number',
      minimum: 0,
      default: 0,
      description: 'Steps in which the learning rate rises from 0; below 1, the share of all steps.',
    },
    weight_decay: {
      type: 'number',
      minimum: 0,
      default: 0,
      description: 'Decoupled weight decay (AdamW) of all weights but biases and norms.',
    },
    max_grad_norm: { type: 'number', minimum: 0, default: 1, description: 'Gradients are scaled down to this norm; 0 leaves them alone.' },
    momentum: { type: 'number', minimum: 0, exclusiveMaximum: 1, description: 'Of sgd. Default: 0.' },
    nesterov: { type: 'boolean', description: "Of sgd: Nesterov's momentum. Default: false." },
    layer_wise_learning_rate_decay: {
      type: 'number',
      exclusiveMinimum: 0,
      maximum: 1,
      default: 1,
      description: 'Each layer learns at this times the rate of the one above it; the head at the full rate, the embeddings at the lowest.',
    },
    freeze: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      minItems: 1,
      description: 'Weights that stay as they are, by parts of their names: embeddings, layer.0, encoder; * stands for any letters.',
    },
    lora: {
      type: 'object',
      properties: {
        r: { type: 'integer', minimum: 1, default: 8, description: 'The rank: how wide the adapters are.' },
        alpha: { type: 'number', exclusiveMinimum: 0, default: 8, description: 'What they add is multiplied by alpha / r.' },
        dropout: { type: 'number', minimum: 0, exclusiveMaximum: 1, default: 0, description: 'Of what the adapters read.' },
        targets: {
          type: 'array',
          items: { type: 'string', minLength: 1 },
          minItems: 1,
          description: 'Linear layers, by how their names end. Default: query and value; of DistilBERT q_lin and v_lin.',
        },
        merge: {
          type: 'boolean',
          default: true,
          description:
            'true: the model is whole, its adapters merged in, and they lie in its folder adapter, too. false: the model folder is the adapters alone, for PEFT.',
        },
      },
      additionalProperties: false,
      description: 'Trains low-rank adapters (LoRA, as in PEFT) and the head only; all else stays as it is.',
    },
    label_smoothing_factor: {
      type: 'number',
      minimum: 0,
      exclusiveMaximum: 1,
      default: 0,
      description: 'This much of each target is spread evenly over all labels.',
    },
    class_weights: {
      anyOf: [{ const: 'balanced' }, { type: 'object', additionalProperties: { type: 'number', exclusiveMinimum: 0 } }],
      description: 'What each label counts in the loss: label → number, or balanced, by how rare it is.',
    },
    adam_beta1: { type: 'number', minimum: 0, exclusiveMaximum: 1, default: 0.9, description: 'Decay of the first moment.' },
    adam_beta2: { type: 'number', minimum: 0, exclusiveMaximum: 1, default: 0.999, description: 'Decay of the second moment.' },
    adam_epsilon: { type: 'number', exclusiveMinimum: 0, default: 1e-8, description: 'Added to the root of the second moment.' },
    dropout: { type: 'number', minimum: 0, exclusiveMaximum: 1, description: "All dropout rates of the model. Default: its config's." },
    eval_strategy: {
      enum: ['epoch', 'steps', 'no'],
      default: 'epoch',
      description: 'When the validation split is measured: after each epoch, after every eval_steps steps and the last, or never.',
    },
    eval_steps: { type: 'integer', minimum: 1, description: 'Of eval_strategy steps.' },
    early_stopping: {
      type: 'object',
      properties: {
        metric: {
          enum: ['loss', ...METRIC_NAMES],
          default: 'loss',
          description:
            "Of the validation split: one of the task's. With more than two labels text-classification has macro_f1 and the like, not f1.",
        },
        patience: { type: 'integer', minimum: 1, default: 1, description: 'Ends the training after so many measurements without a gain.' },
        min_delta: { type: 'number', minimum: 0, default: 0, description: 'A gain is more than this over the last gain.' },
      },
      additionalProperties: false,
      description: 'Ends the training when a metric no longer gains, and keeps the best weights that were measured.',
    },
    load_best_model_at_end: {
      type: 'boolean',
      default: false,
      description: 'Trains to the end, and keeps the best weights that were measured. early_stopping does so anyway.',
    },
    metric_for_best_model: {
      enum: ['loss', ...METRIC_NAMES],
      description: "Of load_best_model_at_end: one of the task's metrics. Default: loss.",
    },
    positive: {
      type: 'string',
      description: 'Which of two labels precision, recall and f1 are about. Default: the last in sorting order, numbers by value.',
    },
    mlm_probability: {
      type: 'number',
      exclusiveMinimum: 0,
      exclusiveMaximum: 1,
      description: 'Of masked-lm: the share of tokens that are hidden, anew in each epoch. Default: 0.15.',
    },
    logging_steps: {
      type: 'integer',
      minimum: 1,
      fingerprint: false,
      description:
        "A point of the curves in the run's records for so many steps. Default: as many as leave a thousand points at most, as in the output `history`.",
    },
    tensorboard: {
      type: 'boolean',
      default: false,
      fingerprint: false,
      description:
        'Writes the event file of the output `tensorboard` while it trains, for TensorBoard to follow; else it is written at the end.',
    },
    save_steps: {
      type: 'integer',
      minimum: 1,
      fingerprint: false,
      description: 'Writes a checkpoint after every so many steps, beside those of save_minutes. An interrupted run goes on from the last.',
    },
    save_minutes: {
      type: 'number',
      exclusiveMinimum: 0,
      default: 10,
      fingerprint: false,
      description: 'Writes a checkpoint when the last is so old.',
    },
    save_optimizer: {
      type: 'boolean',
      default: false,
      description: "Saves the optimizer's state in the model folder, so that another step can `continue` this training.",
    },
    ...runtimeOptions,
    precision: {
      enum: ['fp32', 'bf16'],
      default: 'fp32',
      description: 'Of matrix products. bf16, of the runtime tensorflow only, is faster where CPU or GPU have it; all else stays in fp32.',
    },
    seed: {
      type: 'integer',
      minimum: 0,
      default: 0,
      description: 'Decides the random start, the order of the rows and what dropout drops.',
    },
  },
  optional: [
    'task',
    'max_steps',
    'lr_scheduler_kwargs',
    'momentum',
    'nesterov',
    'freeze',
    'lora',
    'class_weights',
    'dropout',
    'eval_steps',
    'early_stopping',
    'metric_for_best_model',
    'positive',
    'mlm_probability',
    'logging_steps',
    'save_steps',
  ],
  aliases,
  inputs: {
    tokens: { kind: 'folder', description: "A tokenize step's tokens." },
    model: { kind: 'folder', description: 'A Hugging Face model folder; without model.safetensors training starts at random.' },
    continue: {
      kind: 'folder',
      optional: true,
      description: "A train step's model, saved with save_optimizer: training goes on from its epochs, weights and moments to `epochs`.",
    },
  },
  outputs: {
    model: { kind: 'folder', description: 'The trained model, as a Hugging Face model folder.' },
    history: {
      kind: 'file',
      description: 'Loss, learning rate, gradient norm, padding and validation metrics by step, as JSON lines.',
    },
    tensorboard: { kind: 'folder', description: 'The same as an event file for TensorBoard.' },
  },
  libraries: ['onnxruntime-node', '@tensorflow/tfjs', 'tokenizers'],
  threads: 'all',
  check(options) {
    const problems: OptionProblem[] = [];
    const { warmup_steps, lr_scheduler_type, early_stopping } = options;
    if (warmup_steps >= 1 && !Number.isInteger(warmup_steps)) {
      problems.push({ option: 'warmup_steps', message: 'warmup_steps is a whole number of steps, or, below 1, a share of them' });
    }
    if (lr_scheduler_type === 'constant' && warmup_steps > 0) {
      problems.push({ option: 'warmup_steps', message: 'the schedule `constant` has no warmup; `constant_with_warmup` has' });
    }
    for (const name of Object.keys(options.lr_scheduler_kwargs ?? {})) {
      const own = name === 'num_cycles' ? 'cosine_with_restarts' : 'polynomial';
      if (own !== lr_scheduler_type)
        problems.push({ option: `lr_scheduler_kwargs.${name}`, message: `${name} is of the schedule ${own}, not of ${lr_scheduler_type}` });
    }
    if (lr_scheduler_type === 'polynomial' && (options.lr_scheduler_kwargs?.lr_end ?? 1e-7) >= options.learning_rate)
      problems.push({ option: 'learning_rate', message: 'learning_rate must be above lr_end, in which polynomial ends (1e-7 by default)' });
    if (options.precision === 'bf16' && (options.runtime === 'onnx' || options.runtime === 'eager')) {
      problems.push({ option: 'precision', message: `bf16 is of the runtime tensorflow, not of ${options.runtime}` });
    }
    for (const name of ['momentum', 'nesterov'] as const)
      if (options[name] !== undefined && options.optim !== 'sgd')
        problems.push({ option: name, message: `${name} is of sgd, not of ${options.optim}` });
    if (options.nesterov && !options.momentum) problems.push({ option: 'nesterov', message: 'nesterov needs a momentum' });
    for (const [name, preset] of Object.entries({ adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8 }))
      if (options.optim !== 'adamw' && options[name as 'adam_beta1'] !== preset)
        problems.push({ option: name, message: `${name} is of adamw, not of ${options.optim}` });
    if (options.gradient_checkpointing && options.runtime === 'eager')
      problems.push({ option: 'gradient_checkpointing', message: 'gradient_checkpointing is of the runtimes that compile, not of eager' });
    if (options.optim !== 'adamw' && options.runtime === 'tensorflow')
      problems.push({ option: 'optim', message: `the runtime tensorflow has adamw only, not ${options.optim}` });
    if (options.optim !== 'adamw' && options.runtime === 'auto' && options.precision === 'bf16')
      problems.push({ option: 'precision', message: `bf16 is of the runtime tensorflow, which has adamw only, not ${options.optim}` });
    if (options.lora && options.freeze)
      problems.push({ option: 'freeze', message: 'lora trains its adapters and the head only: all else is frozen already' });
    if (options.lora && options.save_optimizer)
      problems.push({
        option: 'save_optimizer',
        message: 'save_optimizer is not for lora, whose adapters are merged: give the model as `model` to train it further',
      });
    if (options.sampler === 'balanced' && options.class_weights === 'balanced')
      problems.push({ option: 'class_weights', message: 'the sampler is balanced already: each class would count twice' });
    const best = early_stopping ? 'early_stopping' : options.load_best_model_at_end ? 'load_best_model_at_end' : undefined;
    if (early_stopping && options.load_best_model_at_end)
      problems.push({ option: 'load_best_model_at_end', message: 'early_stopping keeps the best weights already' });
    if (options.metric_for_best_model !== undefined && best !== 'load_best_model_at_end')
      problems.push({
        option: 'metric_for_best_model',
        message: `metric_for_best_model is of load_best_model_at_end${early_stopping ? '; early_stopping has a metric of its own' : ''}`,
      });
    if (best && options.eval_strategy === 'no')
      problems.push({ option: 'eval_strategy', message: `${best} needs measurements: eval_strategy epoch or steps` });
    if (best && options.eval_strategy === 'epoch' && options.epochs === 1 && options.max_steps === undefined)
      problems.push({ option: best, message: `${best} needs more than one epoch, or eval_strategy steps` });
    if (options.positive !== undefined && options.eval_strategy === 'no')
      problems.push({ option: 'positive', message: 'positive is about measurements, and eval_strategy no makes none' });
    if (options.eval_strategy === 'steps' && options.eval_steps === undefined)
      problems.push({ option: 'eval_strategy', message: 'eval_strategy steps needs eval_steps' });
    if (options.eval_strategy !== 'steps' && options.eval_steps !== undefined)
      problems.push({ option: 'eval_steps', message: `eval_steps is of eval_strategy steps, not of ${options.eval_strategy}` });
    if (best && options.save_optimizer) {
      problems.push({
        option: 'save_optimizer',
        message: `save_optimizer saves the state of the last step, and ${best} may keep the weights of an earlier one`,
      });
    }
    return problems;
  },
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
