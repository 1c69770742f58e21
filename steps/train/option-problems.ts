/** Finds the problems of train's options: which of them exclude each other, and which have no effect. */

import type { OptionProblem } from '../../engine/contract/step.ts';
import { TASK_NAMES, type Task, taskFacts } from '../ml/models/config.ts';
import type { Distillation } from '../ml/models/distillation.ts';
import { capabilities } from '../ml/runtime/runtime.ts';
import { type Options, optionSchemas } from './options.ts';

/** Every pair of options of which one excludes the other or has no effect, and values that no schema can exclude. */
export function check(options: Options): OptionProblem[] {
  return [
    ...scheduleProblems(options),
    ...optimizerProblems(options),
    ...doubledProblems(options),
    ...distillationProblems(options),
    ...evaluationProblems(options),
  ];
}

function scheduleProblems({ warmup_steps, lr_scheduler_type, lr_scheduler_kwargs = {}, learning_rate }: Options): OptionProblem[] {
  const foreign = Object.keys(lr_scheduler_kwargs)
    .map((name) => ({ name, schedule: name === 'num_cycles' ? 'cosine_with_restarts' : 'polynomial' }))
    .filter(({ schedule }) => schedule !== lr_scheduler_type);
  return [
    ...problemIf(
      warmup_steps >= 1 && !Number.isInteger(warmup_steps),
      'warmup_steps',
      '`warmup_steps` must be a whole number of steps or a share below 1',
    ),
    ...problemIf(
      lr_scheduler_type === 'constant' && warmup_steps > 0,
      'warmup_steps',
      '`lr_scheduler_type: constant` has no warmup: use `constant_with_warmup`',
    ),
    ...foreign.map(({ name, schedule }) => ({
      option: `lr_scheduler_kwargs.${name}`,
      message: `\`${name}\` applies only to \`lr_scheduler_type: ${schedule}\`, not to ${lr_scheduler_type}`,
    })),
    ...problemIf(
      lr_scheduler_type === 'polynomial' && (lr_scheduler_kwargs.lr_end ?? 1e-7) >= learning_rate,
      'learning_rate',
      '`learning_rate` must be greater than `lr_end`, the final learning rate of polynomial (default: 1e-7)',
    ),
  ];
}

/** Problems of the optimizer, and of the runtime that executes it. */
function optimizerProblems(options: Options): OptionProblem[] {
  const { optim, runtime, precision } = options;
  const sgd = (['momentum', 'nesterov'] as const).filter((name) => options[name] !== undefined && optim !== 'sgd');
  const adamw = (['adam_beta1', 'adam_beta2', 'adam_epsilon'] as const).filter(
    (name) => options[name] !== optionSchemas[name].default && optim !== 'adamw',
  );
  const own = runtime === 'auto' ? undefined : capabilities[runtime];
  const appliesOnlyTo = (other: string) => (name: string) => ({
    option: name,
    message: `\`${name}\` applies only to \`optim: ${other}\`, not to ${optim}`,
  });
  return [
    ...problemIf(
      own && !own.precisions.includes(precision),
      'precision',
      `\`precision: ${precision}\` needs \`runtime: tensorflow\`, not ${runtime}`,
    ),
    ...sgd.map(appliesOnlyTo('sgd')),
    ...problemIf(options.nesterov && !options.momentum, 'nesterov', '`nesterov` needs a `momentum` greater than 0'),
    ...adamw.map(appliesOnlyTo('adamw')),
    ...problemIf(
      options.gradient_checkpointing && own?.compiles === false,
      'gradient_checkpointing',
      `\`gradient_checkpointing\` needs a runtime that compiles: \`runtime: ${runtime}\` does not`,
    ),
    ...problemIf(
      own && !own.optimizers.includes(optim),
      'optim',
      `\`runtime: ${runtime}\` supports only \`optim: ${own?.optimizers.join(', ')}\`, not ${optim}`,
    ),
    ...problemIf(
      !own && !Object.values(capabilities).some((one) => one.optimizers.includes(optim) && one.precisions.includes(precision)),
      'precision',
      `\`precision: ${precision}\` needs \`runtime: tensorflow\`, which supports only \`optim: adamw\`, not ${optim}`,
    ),
  ];
}

/** Options that would do the same thing twice. */
function doubledProblems({
  lora,
  freeze,
  save_optimizer,
  sampler,
  class_weights,
  reweigh,
  from_scratch,
  replace_head,
}: Options): OptionProblem[] {
  return [
    ...problemIf(
      from_scratch && replace_head,
      'replace_head',
      '`replace_head` has no effect with `from_scratch: true`, which initializes all weights',
    ),
    ...problemIf(lora && freeze, 'freeze', '`lora` trains only its adapters and the head: all other weights are frozen already'),
    ...problemIf(
      lora && save_optimizer,
      'save_optimizer',
      '`save_optimizer` cannot be combined with `lora`, because the adapters are merged: to train further, give the trained model as `model`',
    ),
    ...problemIf(
      sampler === 'balanced' && class_weights === 'balanced',
      'class_weights',
      '`sampler: balanced` and `class_weights: balanced` together would weight each class twice',
    ),
    ...problemIf(
      sampler === 'balanced' && reweigh,
      'reweigh',
      '`reweigh` counts groups and labels in the training split, and `sampler: balanced` draws rows in other shares: use one of them',
    ),
  ];
}

/** The problem with a teacher for this task, if its models cannot learn from one, or not as the options say. */
export function teacherProblem(task: Task, { pooled = 0 }: { pooled?: number | undefined }): OptionProblem | undefined {
  if (taskFacts(task).distils) {
    if (pooled === 0 || task === 'masked-lm') return undefined;
    return { option: 'distill.pooled', message: `\`pooled\` does not apply to ${task}`, hint: 'It applies only to masked-lm. Remove it.' };
  }
  const tasks = TASK_NAMES.filter((name) => taskFacts(name).distils).join(' and ');
  return { option: 'distill', message: `\`distill\` does not apply to ${task}`, hint: `It applies only to ${tasks}. Remove it.` };
}

/** Options that have no effect with a teacher. */
function distillationProblems({ distill, lora, class_weights, reweigh, label_smoothing_factor }: Options): OptionProblem[] {
  if (!distill) return [];
  const { alpha, hidden, pooled, temperature } = distill as Distillation;
  const onlyLabels = {
    class_weights: class_weights !== undefined,
    reweigh: reweigh !== undefined,
    label_smoothing_factor: label_smoothing_factor > 0,
  };
  return [
    ...problemIf(
      alpha === 0 && hidden === 0 && pooled === 0,
      'distill',
      '`alpha: 0`, `hidden: 0` and `pooled: 0` together ignore the teacher: raise one of them',
    ),
    ...problemIf(lora && pooled > 0, 'distill.pooled', '`pooled` cannot be combined with `lora`, which does not train the pooler'),
    ...problemIf(
      alpha === 0 && temperature !== 1,
      'distill.temperature',
      '`temperature` has no effect with `alpha: 0`, which ignores the outputs of the teacher',
    ),
    ...Object.entries(onlyLabels).flatMap(([name, given]) =>
      problemIf(alpha === 1 && given, name, `\`${name}\` has no effect with \`distill: { alpha: 1 }\`, which ignores the labels`),
    ),
  ];
}

/** Problems of the evaluations, and of keeping the best weights by them. */
function evaluationProblems(options: Options): OptionProblem[] {
  const { early_stopping, load_best_model_at_end, eval_strategy, eval_steps } = options;
  const best = early_stopping ? 'early_stopping' : load_best_model_at_end ? 'load_best_model_at_end' : undefined;
  return [
    ...problemIf(early_stopping && load_best_model_at_end, 'load_best_model_at_end', '`early_stopping` already keeps the best weights'),
    ...problemIf(
      options.metric_for_best_model !== undefined && best !== 'load_best_model_at_end',
      'metric_for_best_model',
      `\`metric_for_best_model\` needs \`load_best_model_at_end\`${early_stopping ? '; early_stopping has a metric of its own' : ''}`,
    ),
    ...problemIf(best && eval_strategy === 'no', 'eval_strategy', `\`${best}\` needs evaluations: set \`eval_strategy\` to epoch or steps`),
    ...problemIf(
      best && eval_strategy === 'epoch' && options.epochs === 1 && options.max_steps === undefined,
      best!,
      `\`${best}\` needs more than one epoch, or \`eval_strategy: steps\``,
    ),
    ...problemIf(
      options.positive !== undefined && eval_strategy === 'no',
      'positive',
      '`positive` applies to evaluations, and `eval_strategy: no` makes none',
    ),
    ...problemIf(eval_strategy === 'steps' && eval_steps === undefined, 'eval_strategy', '`eval_strategy: steps` needs `eval_steps`'),
    ...problemIf(
      eval_strategy !== 'steps' && eval_steps !== undefined,
      'eval_steps',
      `\`eval_steps\` needs \`eval_strategy: steps\`, not ${eval_strategy}`,
    ),
    ...problemIf(
      best && options.save_optimizer,
      'save_optimizer',
      `\`save_optimizer\` saves the state of the last step, but ${best} may keep the weights of an earlier step`,
    ),
  ];
}

const problemIf = (wrong: unknown, option: string, message: string): OptionProblem[] => (wrong ? [{ option, message }] : []);
