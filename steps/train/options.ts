/** The options of train. Names follow transformers' TrainingArguments wherever it has an equivalent. */

import type { OptionSchemas, OptionsOf } from '../../engine/contract/step.ts';
import { TASK_NAMES } from '../ml/models/config.ts';
import { runtimeOptions } from '../ml/runtime/runtime.ts';
import { METRIC_NAMES } from '../ml/tasks/metrics.ts';
import { SCHEDULES } from './schedule.ts';

export const optionSchemas = {
  task: {
    enum: TASK_NAMES,
    description: 'The task to train for. Default: the task of the tokens. Another task is an error.',
  },
  replace_head: {
    type: 'boolean',
    default: false,
    description:
      'What happens if the head of the model was trained for other labels. true: training starts with a random head. false: other labels are an error.',
  },
  from_scratch: {
    type: 'boolean',
    description: 'Starts from random weights, although the model folder has trained ones. Default: false.',
  },
  epochs: { type: 'integer', minimum: 1, default: 3, description: 'Number of passes over the training split.' },
  max_steps: {
    type: 'integer',
    minimum: 1,
    description:
      'Total number of optimizer steps. Overrides `epochs`: the training split is repeated as often as needed, and the last epoch may be incomplete.',
  },
  batch_size: { type: 'integer', minimum: 1, default: 32, description: 'Number of sequences per forward and backward pass.' },
  gradient_accumulation_steps: {
    type: 'integer',
    minimum: 1,
    default: 1,
    description:
      'Number of batches whose gradients are accumulated for one optimizer step. Several small batches take less memory than one large batch. Without dropout, the result is the same up to rounding.',
  },
  gradient_checkpointing: {
    type: 'boolean',
    default: false,
    description:
      'Keeps only the activations between layers. The backward pass computes all other activations again. Training then takes less memory and more time, and gives the same result.',
  },
  sampler: {
    enum: ['random', 'balanced'],
    default: 'random',
    description: '`balanced` samples every class of text-classification equally often, and repeats the rows of rare classes.',
  },
  optim: {
    enum: ['adamw', 'adafactor', 'sgd'],
    default: 'adamw',
    description:
      "The optimizer: torch.optim.AdamW, Adafactor with the settings of transformers' Trainer (needs little memory), or torch.optim.SGD.",
  },
  learning_rate: { type: 'number', exclusiveMinimum: 0, default: 5e-5, description: 'The peak learning rate.' },
  lr_scheduler_type: {
    enum: SCHEDULES,
    default: 'linear',
    description:
      'How the learning rate changes after the warmup. `linear`, `cosine`, `cosine_with_restarts`: falls to 0. `polynomial`: falls to `lr_end`. `inverse_sqrt`: falls with the inverse square root of the step. `constant`, `constant_with_warmup`: stays the same.',
  },
  lr_scheduler_kwargs: {
    type: 'object',
    properties: {
      num_cycles: {
        type: 'integer',
        minimum: 1,
        description: 'Number of times that `cosine_with_restarts` decreases the learning rate to 0. Default: 1.',
      },
      power: { type: 'number', exclusiveMinimum: 0, description: 'The power of `polynomial`. Default: 1.' },
      lr_end: { type: 'number', minimum: 0, description: 'The final learning rate of `polynomial`. Default: 1e-7.' },
    },
    additionalProperties: false,
    description: 'Options of the schedules `cosine_with_restarts` and `polynomial`.',
  },
  warmup_steps: {
    type: 'number',
    minimum: 0,
    default: 0,
    description: 'Number of steps in which the learning rate rises from 0. A value below 1 is a share of all steps.',
  },
  weight_decay: {
    type: 'number',
    minimum: 0,
    default: 0,
    description:
      'The factor of the weight decay. `adamw` decouples the decay from the gradient, and `sgd` adds the decay to the gradient. Biases, norms and the relative attention biases of T5 do not decay.',
  },
  max_grad_norm: { type: 'number', minimum: 0, default: 1, description: 'Clips the gradient to this norm. 0 disables clipping.' },
  momentum: {
    type: 'number',
    minimum: 0,
    exclusiveMaximum: 1,
    description: 'The momentum factor. Applies only to `optim: sgd`. Default: 0.',
  },
  nesterov: { type: 'boolean', description: 'Enables Nesterov momentum. Applies only to `optim: sgd`. Default: false.' },
  layer_wise_learning_rate_decay: {
    type: 'number',
    exclusiveMinimum: 0,
    maximum: 1,
    default: 1,
    description: 'Each layer has the learning rate of the layer above it, multiplied by this factor. The head has the full rate.',
  },
  freeze: {
    type: 'array',
    items: { type: 'string', minLength: 1 },
    minItems: 1,
    description:
      'Weights that are not trained. Dots separate the parts of a name. Give one or more neighbouring parts: `embeddings`, `encoder`, or `layer.0` for the first layer. `*` matches any characters within one part.',
  },
  lora: {
    type: 'object',
    properties: {
      r: { type: 'integer', minimum: 1, default: 8, description: 'The rank of the adapters.' },
      alpha: {
        type: 'number',
        exclusiveMinimum: 0,
        default: 8,
        description: 'The scaling: the output of each adapter is multiplied by alpha / r.',
      },
      dropout: { type: 'number', minimum: 0, exclusiveMaximum: 1, default: 0, description: 'The dropout rate of the adapters’ inputs.' },
      targets: {
        type: 'array',
        items: { type: 'string', minLength: 1 },
        minItems: 1,
        description:
          'The linear layers that get an adapter, given by the ends of their names. Default: query and value (q_lin and v_lin in DistilBERT, Wqkv in ModernBERT, c_attn in GPT-2, q and v in T5).',
      },
      merge: {
        type: 'boolean',
        default: true,
        description:
          'true: merges the adapters into the model, and also saves them in its folder `adapter`. false: saves only the adapters, for PEFT.',
      },
    },
    additionalProperties: false,
    description:
      'Trains low-rank adapters (LoRA, as in PEFT). The head is trained too for text-classification, token-classification and question-answering. All other weights are frozen.',
  },
  distill: {
    type: 'object',
    properties: {
      temperature: {
        type: 'number',
        exclusiveMinimum: 0,
        default: 1,
        description:
          'Divides the logits of both models before their softmax. At higher values, the less likely labels or tokens count more.',
      },
      alpha: {
        type: 'number',
        minimum: 0,
        maximum: 1,
        default: 0.5,
        description:
          'The weight of the loss that compares the outputs with the teacher’s. The loss of the labels has the weight 1 − alpha.',
      },
      hidden: {
        type: 'number',
        minimum: 0,
        default: 0,
        description: 'The weight of the mean squared error between the hidden states. Both models then need the same hidden size.',
      },
      pooled: {
        type: 'number',
        minimum: 0,
        default: 0,
        description:
          'The weight of the loss with which the pooler of a masked-lm student learns the mean of the last hidden states of the teacher. A later text-classification starts with this pooler. Both models then need the same hidden size.',
      },
    },
    additionalProperties: false,
    description: 'Knowledge distillation: the model learns from the outputs and the hidden states of a trained teacher.',
  },
  label_smoothing_factor: {
    type: 'number',
    minimum: 0,
    exclusiveMaximum: 1,
    default: 0,
    description: 'The share of the probability that is taken from the true label and spread evenly over all labels.',
  },
  class_weights: {
    anyOf: [{ const: 'balanced' }, { type: 'object', additionalProperties: { type: 'number', exclusiveMinimum: 0 } }],
    description:
      'The weight of each label in the loss: a map from label to number, or `balanced`, which weights rare labels more (as in scikit-learn).',
  },
  reweigh: {
    type: 'object',
    properties: {
      group: {
        anyOf: [
          { type: 'string', minLength: 1 },
          { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, uniqueItems: true },
        ],
        description: 'The column with the group of each row. With several columns, each combination of values is a group.',
      },
    },
    required: ['group'],
    additionalProperties: false,
    description:
      'Weights the loss of each row by P(group) · P(label) / P(group, label) in the training split, so that no label is typical of a group (Kamiran & Calders 2012). Only for text-classification with one label.',
  },
  adam_beta1: {
    type: 'number',
    minimum: 0,
    exclusiveMaximum: 1,
    default: 0.9,
    description: 'The decay rate of the first moment (AdamW).',
  },
  adam_beta2: {
    type: 'number',
    minimum: 0,
    exclusiveMaximum: 1,
    default: 0.999,
    description: 'The decay rate of the second moment (AdamW).',
  },
  adam_epsilon: {
    type: 'number',
    exclusiveMinimum: 0,
    default: 1e-8,
    description: 'Added to the square root of the second moment (AdamW).',
  },
  dropout: {
    type: 'number',
    minimum: 0,
    exclusiveMaximum: 1,
    description: "Overrides all dropout rates of the model. Default: the rates in the model's config.",
  },
  eval_strategy: {
    enum: ['epoch', 'steps', 'no'],
    default: 'epoch',
    description:
      'When to evaluate on the validation split. `epoch`: after each epoch. `steps`: after every `eval_steps` steps and after the last step. `no`: never.',
  },
  eval_steps: { type: 'integer', minimum: 1, description: 'Number of steps between two evaluations. Needs `eval_strategy: steps`.' },
  early_stopping: {
    type: 'object',
    properties: {
      metric: {
        enum: ['loss', ...METRIC_NAMES],
        default: 'loss',
        description:
          'A metric of the task, computed on the validation split. With more than two labels, text-classification has macro_f1 instead of f1.',
      },
      patience: {
        type: 'integer',
        minimum: 1,
        default: 1,
        description: 'Number of evaluations without improvement after which training stops.',
      },
      min_delta: {
        type: 'number',
        minimum: 0,
        default: 0,
        description:
          'A value is an improvement only if it is better than the value of the last improvement by more than `min_delta`. The first value is always an improvement.',
      },
    },
    additionalProperties: false,
    description: 'Stops training when a metric no longer improves, and keeps the best weights.',
  },
  load_best_model_at_end: {
    type: 'boolean',
    default: false,
    description: 'Trains to the end and keeps the best weights. Cannot be combined with `early_stopping`.',
  },
  metric_for_best_model: {
    enum: ['loss', ...METRIC_NAMES],
    description: 'The metric of the task by which `load_best_model_at_end` chooses the weights. Default: loss.',
  },
  positive: {
    type: 'string',
    description:
      'The positive label if there are two labels, for precision, recall, f1 and roc_auc. Default: the last label in sort order. Labels that are numbers are sorted by value.',
  },
  mlm_probability: {
    type: 'number',
    exclusiveMinimum: 0,
    exclusiveMaximum: 1,
    description:
      'The share of tokens that are chosen for masked-lm. 80% of the chosen tokens become the mask token, 10% become a random token, and 10% stay. Each epoch chooses other tokens. Default: 0.15.',
  },
  whole_word_mask: {
    type: 'boolean',
    description: 'Chooses whole words instead of single tokens (masked-lm). `mlm_probability` is then the share of words. Default: false.',
  },
  logging_steps: {
    type: 'integer',
    minimum: 1,
    fingerprint: false,
    description: "Number of steps between two points of the curves in the run's records. By default, there are at most a thousand points.",
  },
  tensorboard: {
    type: 'boolean',
    default: false,
    fingerprint: false,
    description:
      'Writes the event file of the output `tensorboard` during training instead of at the end, so that TensorBoard can follow the training.',
  },
  save_steps: {
    type: 'integer',
    minimum: 1,
    fingerprint: false,
    description: 'Number of steps between two checkpoints, in addition to those of `save_minutes`.',
  },
  save_minutes: {
    type: 'number',
    exclusiveMinimum: 0,
    default: 10,
    fingerprint: false,
    description: 'Writes a checkpoint when the last one is this many minutes old.',
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
    description:
      'The precision of matrix products. `bf16` needs TensorFlow (`runtime: tensorflow` or `auto`), and is faster if the CPU or GPU supports it.',
  },
  seed: {
    type: 'integer',
    minimum: 0,
    default: 0,
    description: 'The seed of random weights, the order of the rows and the dropout masks.',
  },
} as const satisfies OptionSchemas;

export const optional = [
  'task',
  'max_steps',
  'lr_scheduler_kwargs',
  'momentum',
  'nesterov',
  'freeze',
  'lora',
  'distill',
  'class_weights',
  'reweigh',
  'dropout',
  'eval_steps',
  'early_stopping',
  'metric_for_best_model',
  'positive',
  'mlm_probability',
  'from_scratch',
  'whole_word_mask',
  'logging_steps',
  'save_steps',
] as const satisfies (keyof typeof optionSchemas)[];

export type Options = OptionsOf<typeof optionSchemas>;
