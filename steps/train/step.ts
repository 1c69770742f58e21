import { defineStep, type OptionProblem } from '../../engine/step.ts';
import { runtimeOptions } from '../ml/device/options.ts';
import { METRIC_NAMES } from '../ml/metrics/registry.ts';
import { TASK_NAMES } from '../ml/models/config.ts';
import { metricProblem, positiveAhead, tokensAhead } from '../ml/tasks/upstream.ts';
import { SCHEDULES } from './schedule.ts';

/* What other trainers call the options of train: transformers, Keras, Lightning, PyTorch, scikit-learn, axolotl. */

const NAMES: Record<string, string> = {
  epochs: 'num_train_epochs num_epochs n_epochs nb_epoch max_epochs train_epochs epoch',
  max_steps: 'num_train_steps num_training_steps max_train_steps train_steps num_steps total_steps max_iters max_iter iterations steps',
  batch_size:
    'per_device_train_batch_size per_device_eval_batch_size per_gpu_train_batch_size per_gpu_eval_batch_size train_batch_size eval_batch_size micro_batch_size mini_batch_size batchsize batch bs',
  gradient_accumulation_steps:
    'accumulate_grad_batches gradient_accumulation grad_accumulation_steps grad_accum grad_accum_steps accumulation_steps',
  gradient_checkpointing: 'activation_checkpointing use_gradient_checkpointing grad_checkpointing',
  sampler: 'sampling balanced_sampling weighted_sampler',
  optim: 'optimizer optimiser optimizer_name optimizer_type optim_type solver',
  learning_rate: 'lr base_lr max_lr peak_lr init_lr initial_lr initial_learning_rate learning_rate_init lrate eta eta0',
  lr_scheduler_type: 'lr_scheduler scheduler lr_schedule schedule scheduler_type lr_scheduler_name learning_rate_schedule warmup_type',
  lr_scheduler_kwargs: 'scheduler_kwargs lr_scheduler_args',
  warmup_steps: 'warmup_ratio warmup_proportion num_warmup_steps warmup warmup_iters warmup_fraction',
  weight_decay: 'wd l2 decay weight_decay_rate l2_regularization alpha',
  max_grad_norm: 'clip_grad_norm gradient_clip_val gradient_clipping grad_clip clip_norm clipnorm global_clipnorm max_norm grad_norm',
  adam_beta1: 'beta1 beta_1',
  adam_beta2: 'beta2 beta_2',
  adam_epsilon: 'epsilon eps adam_eps',
  label_smoothing_factor: 'label_smoothing smoothing label_smoothing_epsilon',
  class_weights: 'class_weight label_weights loss_weights pos_weight',
  layer_wise_learning_rate_decay: 'llrd layerwise_lr_decay layer_wise_lr_decay layerwise_learning_rate_decay layer_decay lr_layer_decay',
  freeze: 'frozen freeze_layers frozen_layers freeze_encoder freeze_embeddings freeze_backbone trainable_layers unfreeze',
  lora: 'peft peft_config peft_type use_peft use_lora lora_config adapter adapters',
  dropout:
    'dropout_rate hidden_dropout_prob hidden_dropout attention_probs_dropout_prob attention_dropout classifier_dropout seq_classif_dropout',
  eval_strategy: 'evaluation_strategy evaluate_during_training do_eval validation_strategy',
  eval_steps: 'evaluation_steps eval_every eval_interval eval_freq validation_steps val_check_interval evaluate_every',
  early_stopping: 'early_stop early_stopping_callback',
  load_best_model_at_end: 'restore_best_weights save_best_only save_best keep_best best_model',
  metric_for_best_model: 'monitor best_metric metric_to_monitor early_stopping_metric',
  positive: 'pos_label positive_class positive_label',
  mlm_probability: 'mlm_prob masking_probability mask_prob masked_lm_prob mask_rate masking_rate',
  logging_steps: 'log_every_n_steps log_every log_interval log_steps logging_interval disp_freq',
  tensorboard: 'report_to logging_dir log_dir use_tensorboard tensorboard_dir',
  save_steps: 'checkpointing_steps checkpoint_steps save_interval save_every save_freq checkpoint_every every_n_train_steps',
  save_optimizer: 'save_optimizer_state',
  precision: 'fp16 bf16 tf32 amp use_amp mixed_precision half_precision half dtype torch_dtype train_dtype',
  device: 'no_cuda use_cpu use_cuda cuda use_gpu gpu gpus n_gpu num_gpus use_mps_device accelerator device_map',
  runtime: 'backend framework engine',
  seed: 'random_state random_seed data_seed manual_seed seed_everything',
  tokens: 'data dataset train_dataset train_data train_file training_data datasets dataset_name',
  model: 'model_name model_name_or_path pretrained_model_name_or_path base_model checkpoint model_path pretrained_model model_id',
  continue: 'resume resume_from_checkpoint resume_from ckpt_path initial_epoch',
  task: 'task_name task_type problem',
};

const WRITTEN: Record<string, string> = {
  early_stopping_patience: 'early_stopping: { patience: … }',
  patience: 'early_stopping: { patience: … }',
  n_iter_no_change: 'early_stopping: { patience: … }',
  early_stopping_threshold: 'early_stopping: { min_delta: … }',
  min_delta: 'early_stopping: { min_delta: … }',
  lora_r: 'lora: { r: … }',
  lora_rank: 'lora: { r: … }',
  rank: 'lora: { r: … }',
  lora_alpha: 'lora: { alpha: … }',
  lora_dropout: 'lora: { dropout: … }',
  lora_target_modules: 'lora: { targets: […] }',
  target_modules: 'lora: { targets: […] }',
  'lora.rank': 'lora: { r: … }',
  'lora.lora_alpha': 'lora: { alpha: … }',
  'lora.lora_dropout': 'lora: { dropout: … }',
  'lora.target_modules': 'lora: { targets: […] }',
  'early_stopping.monitor': 'early_stopping: { metric: … }',
  'early_stopping.early_stopping_patience': 'early_stopping: { patience: … }',
  'early_stopping.early_stopping_threshold': 'early_stopping: { min_delta: … }',
  betas: 'These are two options: adam_beta1 and adam_beta2.',
  save_strategy: 'Use save_steps and save_minutes, which set when a checkpoint is written.',
  logging_strategy: 'Use logging_steps, which sets how often a point of the curves is written.',
  greater_is_better: 'It is not needed: each metric declares whether higher or lower is better.',
  max_length: 'Use max_length of the step tokenize.',
  max_seq_length: 'Use max_length of the step tokenize.',
  max_seq_len: 'Use max_length of the step tokenize.',
  model_max_length: 'Use max_length of the step tokenize.',
  cutoff_len: 'Use max_length of the step tokenize.',
  block_size: 'Use block_size of the step tokenize.',
  packing: 'Use block_size of the step tokenize.',
  num_labels: 'It is not needed: the tokens declare their labels.',
  problem_type: 'Use problem_type of the step tokenize.',
  metrics: 'Use metrics of the step evaluate.',
  compute_metrics: 'Use metrics of the step evaluate.',
  validation_split: 'Use ratios of the step split, the shares of the splits.',
  test_size: 'Use ratios of the step split, the shares of the splits.',
  output_dir: 'It is not needed: later steps read ${{ steps.STEP.model }}, with the name of this step.',
  save_total_limit: 'It is not needed: a run keeps only the last two checkpoints, and removes them when it ends successfully.',
};

export const aliases: Record<string, string> = {
  ...Object.fromEntries(Object.entries(NAMES).flatMap(([option, names]) => names.split(' ').map((name) => [name, option]))),
  ...WRITTEN,
};

/** Option names follow transformers' TrainingArguments wherever it has an equivalent. */
const step = defineStep({
  name: 'train',
  version: 5,
  description: 'Fine-tunes a model. If the model folder has no weights, trains it from a random initialization.',
  options: {
    task: {
      enum: TASK_NAMES,
      description: 'The task to train for. It must be the task that the tokens were made for, which is also the default.',
    },
    replace_head: {
      type: 'boolean',
      default: false,
      description:
        'Replaces a head that was trained for other labels with a newly initialized one. Without it, different labels are an error.',
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
        'Number of batches whose gradients are accumulated for one optimizer step. It needs less memory than one batch of batch_size × gradient_accumulation_steps. Without dropout the result is the same; with dropout the masks differ.',
    },
    gradient_checkpointing: {
      type: 'boolean',
      default: false,
      description:
        'Keeps only the activations between layers and recomputes the others in the backward pass. It needs much less memory, costs one more forward pass, and gives the same result.',
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
        'How the learning rate changes after the warmup: `linear`, `cosine` and `cosine_with_restarts` decrease it to 0, `polynomial` decreases it to `lr_end`, `inverse_sqrt` divides it by the square root of the step, and `constant` and `constant_with_warmup` keep it.',
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
      description: 'Decoupled weight decay, as in AdamW. It applies to all weights except biases and norms.',
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
      description:
        'Multiplies the learning rate by this factor for each layer further from the head: the head has the full rate, the embeddings the lowest.',
    },
    freeze: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      minItems: 1,
      description:
        'Weights that are not trained, given by parts of their names: `embeddings`, `layer.0`, `encoder`. `*` matches any characters within one part.',
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
            'The linear layers that get an adapter, given by the ends of their names. Default: query and value (q_lin and v_lin in DistilBERT).',
        },
        merge: {
          type: 'boolean',
          default: true,
          description:
            'true: merges the adapters into the model, and also saves them in its folder `adapter`. false: saves only the adapters, for PEFT.',
        },
      },
      additionalProperties: false,
      description: 'Trains low-rank adapters (LoRA, as in PEFT) and the head, and freezes all other weights.',
    },
    label_smoothing_factor: {
      type: 'number',
      minimum: 0,
      exclusiveMaximum: 1,
      default: 0,
      description: 'The share of each target that is spread evenly over all labels.',
    },
    class_weights: {
      anyOf: [{ const: 'balanced' }, { type: 'object', additionalProperties: { type: 'number', exclusiveMinimum: 0 } }],
      description:
        'The weight of each label in the loss: a map from label to number, or `balanced`, which weights rare labels more (as in scikit-learn).',
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
        'When to evaluate on the validation split: after each epoch, after every `eval_steps` steps and after the last one, or never.',
    },
    eval_steps: { type: 'integer', minimum: 1, description: 'Number of steps between two evaluations. Needs `eval_strategy: steps`.' },
    early_stopping: {
      type: 'object',
      properties: {
        metric: {
          enum: ['loss', ...METRIC_NAMES],
          default: 'loss',
          description:
            "The metric of the validation split to watch; one of the task's metrics. With more than two labels, text-classification has macro_f1 and so on instead of f1.",
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
          description: 'A value counts as an improvement only if it is better than the last improvement by more than this.',
        },
      },
      additionalProperties: false,
      description: 'Stops training when a metric no longer improves, and keeps the best weights.',
    },
    load_best_model_at_end: {
      type: 'boolean',
      default: false,
      description: 'Trains to the end, and keeps the best weights that were evaluated. `early_stopping` implies it.',
    },
    metric_for_best_model: {
      enum: ['loss', ...METRIC_NAMES],
      description: "The metric that `load_best_model_at_end` compares; one of the task's metrics. Default: loss.",
    },
    positive: {
      type: 'string',
      description:
        'The positive class of two labels, for precision, recall and f1. Default: the last label in sort order (numbers by value).',
    },
    mlm_probability: {
      type: 'number',
      exclusiveMinimum: 0,
      exclusiveMaximum: 1,
      description: 'The share of tokens that masked-lm masks, chosen anew in each epoch. Default: 0.15.',
    },
    logging_steps: {
      type: 'integer',
      minimum: 1,
      fingerprint: false,
      description:
        "Number of steps between two points of the curves in the run's records. Default: chosen so that there are at most a thousand points, as in the output `history`.",
    },
    tensorboard: {
      type: 'boolean',
      default: false,
      fingerprint: false,
      description:
        'Writes the event file of the output `tensorboard` during training, so that TensorBoard can follow it. Otherwise it is written at the end.',
    },
    save_steps: {
      type: 'integer',
      minimum: 1,
      fingerprint: false,
      description:
        'Number of steps between two checkpoints, in addition to those of `save_minutes`. An interrupted run resumes from the last checkpoint.',
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
        'The precision of matrix products. `bf16` needs `runtime: tensorflow` and is faster where the CPU or GPU supports it. Everything else stays in fp32.',
    },
    seed: {
      type: 'integer',
      minimum: 0,
      default: 0,
      description: 'The seed of the random initialization, the order of the rows and the dropout masks.',
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
  check(options) {
    const problems: OptionProblem[] = [];
    const { warmup_steps, lr_scheduler_type, early_stopping } = options;
    if (warmup_steps >= 1 && !Number.isInteger(warmup_steps)) {
      problems.push({ option: 'warmup_steps', message: '`warmup_steps` must be a whole number of steps or a share below 1' });
    }
    if (lr_scheduler_type === 'constant' && warmup_steps > 0) {
      problems.push({ option: 'warmup_steps', message: '`lr_scheduler_type: constant` has no warmup: use `constant_with_warmup`' });
    }
    for (const name of Object.keys(options.lr_scheduler_kwargs ?? {})) {
      const own = name === 'num_cycles' ? 'cosine_with_restarts' : 'polynomial';
      if (own !== lr_scheduler_type)
        problems.push({
          option: `lr_scheduler_kwargs.${name}`,
          message: `\`${name}\` applies only to \`lr_scheduler_type: ${own}\`, not to ${lr_scheduler_type}`,
        });
    }
    if (lr_scheduler_type === 'polynomial' && (options.lr_scheduler_kwargs?.lr_end ?? 1e-7) >= options.learning_rate)
      problems.push({
        option: 'learning_rate',
        message: '`learning_rate` must be greater than `lr_end`, the final learning rate of polynomial (default: 1e-7)',
      });
    if (options.precision === 'bf16' && (options.runtime === 'onnx' || options.runtime === 'eager')) {
      problems.push({ option: 'precision', message: `\`precision: bf16\` needs \`runtime: tensorflow\`, not ${options.runtime}` });
    }
    for (const name of ['momentum', 'nesterov'] as const)
      if (options[name] !== undefined && options.optim !== 'sgd')
        problems.push({ option: name, message: `\`${name}\` applies only to \`optim: sgd\`, not to ${options.optim}` });
    if (options.nesterov && !options.momentum)
      problems.push({ option: 'nesterov', message: '`nesterov` needs a `momentum` greater than 0' });
    for (const [name, preset] of Object.entries({ adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8 }))
      if (options.optim !== 'adamw' && options[name as 'adam_beta1'] !== preset)
        problems.push({ option: name, message: `\`${name}\` applies only to \`optim: adamw\`, not to ${options.optim}` });
    if (options.gradient_checkpointing && options.runtime === 'eager')
      problems.push({
        option: 'gradient_checkpointing',
        message: '`gradient_checkpointing` needs a runtime that compiles: `runtime: eager` does not',
      });
    if (options.optim !== 'adamw' && options.runtime === 'tensorflow')
      problems.push({ option: 'optim', message: `\`runtime: tensorflow\` supports only \`optim: adamw\`, not ${options.optim}` });
    if (options.optim !== 'adamw' && options.runtime === 'auto' && options.precision === 'bf16')
      problems.push({
        option: 'precision',
        message: `\`precision: bf16\` needs \`runtime: tensorflow\`, which supports only \`optim: adamw\`, not ${options.optim}`,
      });
    if (options.lora && options.freeze)
      problems.push({ option: 'freeze', message: '`lora` trains only its adapters and the head: all other weights are frozen already' });
    if (options.lora && options.save_optimizer)
      problems.push({
        option: 'save_optimizer',
        message:
          '`save_optimizer` cannot be combined with `lora`, because the adapters are merged: to train further, give the trained model as `model`',
      });
    if (options.sampler === 'balanced' && options.class_weights === 'balanced')
      problems.push({
        option: 'class_weights',
        message: '`sampler: balanced` and `class_weights: balanced` together would weight each class twice',
      });
    const best = early_stopping ? 'early_stopping' : options.load_best_model_at_end ? 'load_best_model_at_end' : undefined;
    if (early_stopping && options.load_best_model_at_end)
      problems.push({ option: 'load_best_model_at_end', message: '`early_stopping` already keeps the best weights' });
    if (options.metric_for_best_model !== undefined && best !== 'load_best_model_at_end')
      problems.push({
        option: 'metric_for_best_model',
        message: `\`metric_for_best_model\` needs \`load_best_model_at_end\`${early_stopping ? '; early_stopping has a metric of its own' : ''}`,
      });
    if (best && options.eval_strategy === 'no')
      problems.push({ option: 'eval_strategy', message: `\`${best}\` needs evaluations: set \`eval_strategy\` to epoch or steps` });
    if (best && options.eval_strategy === 'epoch' && options.epochs === 1 && options.max_steps === undefined)
      problems.push({ option: best, message: `\`${best}\` needs more than one epoch, or \`eval_strategy: steps\`` });
    if (options.positive !== undefined && options.eval_strategy === 'no')
      problems.push({ option: 'positive', message: '`positive` applies to evaluations, and `eval_strategy: no` makes none' });
    if (options.eval_strategy === 'steps' && options.eval_steps === undefined)
      problems.push({ option: 'eval_strategy', message: '`eval_strategy: steps` needs `eval_steps`' });
    if (options.eval_strategy !== 'steps' && options.eval_steps !== undefined)
      problems.push({ option: 'eval_steps', message: `\`eval_steps\` needs \`eval_strategy: steps\`, not ${options.eval_strategy}` });
    if (best && options.save_optimizer) {
      problems.push({
        option: 'save_optimizer',
        message: `\`save_optimizer\` saves the state of the last step, but ${best} may keep the weights of an earlier step`,
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

export default step;

export type TrainContext = Parameters<(typeof step)['run']>[0];
