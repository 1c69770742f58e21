/** train: fine-tunes a model. */
import { aliasesOf, type ContextOf, declareStep } from '../../engine/contract/step.ts';
import { metricProblem, positiveAhead, tokensAhead } from '../ml/tasks/metrics.ts';
import { check, teacherProblem } from './option-problems.ts';
import { optional, optionSchemas } from './options.ts';

const step = declareStep({
  name: 'train',
  version: 7,
  description: 'Fine-tunes a model. If the model folder has no weights, training starts from random weights.',
  options: optionSchemas,
  optional,
  // transformers, Keras, Lightning, PyTorch, scikit-learn, axolotl
  aliases: aliasesOf(
    {
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
      'reweigh: { group: … }': 'reweighing sample_weight sample_weights instance_weights sensitive_features',
      layer_wise_learning_rate_decay:
        'llrd layerwise_lr_decay layer_wise_lr_decay layerwise_learning_rate_decay layer_decay lr_layer_decay',
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
      distill: 'distillation knowledge_distillation distil teacher teacher_model teacher_model_name_or_path',
      from_scratch: 'random_init random_weights pretrained use_pretrained init_weights reinitialize',
      whole_word_mask: 'whole_word wwm whole_word_masking',
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
    },
    {
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
    },
  ),
  inputs: {
    tokens: { kind: 'folder', description: 'The tokens from a tokenize step.' },
    model: {
      kind: 'folder',
      description: 'A Hugging Face model folder. Without weights, training starts from random weights.',
    },
    continue: {
      kind: 'folder',
      optional: true,
      description:
        'The model of a train step with `save_optimizer: true`. Training continues with its weights and optimizer state. `epochs` and `max_steps` count from the start of the first training.',
    },
    'reweigh.data': {
      kind: 'folder',
      description: 'The data that the tokens were made of, with the column of the groups.',
    },
    'distill.teacher': {
      kind: 'folder',
      description:
        'The trained model (the teacher) from which `model` (the student) learns. Both need the same tokenizer and, for text-classification, the same labels.',
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
    check({ early_stopping, load_best_model_at_end, metric_for_best_model, positive, distill }, { tokens }) {
      const ahead = tokensAhead(tokens);
      const [metric, option] = early_stopping
        ? [early_stopping.metric, 'early_stopping.metric']
        : [load_best_model_at_end ? metric_for_best_model : undefined, 'metric_for_best_model'];
      const problem = ahead && metric !== undefined ? metricProblem(metric, option, ahead, ['loss']) : undefined;
      const teacher = ahead && distill && teacherProblem(ahead.task, distill);
      return [...[problem, teacher].filter((one) => one !== undefined), ...(ahead ? positiveAhead(positive, ahead) : [])];
    },
  },
});

export default step;

export type TrainContext = ContextOf<typeof step>;
