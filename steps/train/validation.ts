/** Decides what is evaluated on the validation split during training, and when. */

import { StepError } from '../../engine/contract/step.ts';
import { writtenTexts } from '../ml/generation/evaluate-generated.ts';
import { positiveClass } from '../ml/metrics/text-classification.ts';
import { whyUndefined } from '../ml/metrics/undefined-metrics.ts';
import { oneLabel } from '../ml/models/config.ts';
import type { Model } from '../ml/models/model-folder.ts';
import { openSplit, type Split, type TokensInfo } from '../ml/models/token-dataset.ts';
import { wordContinuations } from '../ml/models/tokenizer-json.ts';
import type { Runtime, Training } from '../ml/runtime/runtime.ts';
import { evaluateSplit } from '../ml/tasks/evaluation.ts';
import { taskMetrics, writtenMetrics } from '../ml/tasks/metrics.ts';
import type { Masking } from '../ml/tasks/task.ts';

import type { TrainContext } from './step.ts';

/** Undefined if no evaluation was requested or there is no validation split. */
export async function openValidation(context: TrainContext, info: TokensInfo, masking: OwnMasking): Promise<Validation | undefined> {
  const { options, inputs, log } = context;
  if (options.eval_strategy === 'no') return undefined;
  const measured = measuredOf(options, info);
  // If an option needs it, a missing split is an error.
  const wanted = options.eval_strategy === 'steps' || options.positive !== undefined || watchedMetric(options);
  if (wanted || info.splits.validation?.rows)
    return new Validation(await openSplit(inputs.tokens, info, 'validation'), info, measured, masking, context);
  log('the tokens have no validation split: no evaluation between epochs');
  return undefined;
}

/** The metric that decides which weights are kept, and the option that sets it. */
export function watchedMetric(
  options: Pick<TrainContext['options'], 'early_stopping' | 'load_best_model_at_end' | 'metric_for_best_model'>,
): { metric: string; option: string[] } | undefined {
  if (options.early_stopping) return { metric: options.early_stopping.metric!, option: ['early_stopping', 'metric'] };
  if (!options.load_best_model_at_end) return undefined;
  const named = options.metric_for_best_model !== undefined;
  return { metric: options.metric_for_best_model ?? 'loss', option: [named ? 'metric_for_best_model' : 'load_best_model_at_end'] };
}

export class Validation {
  constructor(
    readonly split: Split,
    private readonly info: TokensInfo,
    private readonly measured: ReturnType<typeof measuredOf>,
    private readonly masking: OwnMasking,
    private readonly context: TrainContext,
  ) {}

  /** Whether an evaluation is due now, within an epoch. The weights of the last step are always evaluated. */
  isDue({ step, measured }: { step: number; measured?: number }, total: number): boolean {
    const { eval_strategy, eval_steps } = this.context.options;
    return eval_strategy === 'steps' && step > 0 && step !== measured && (step % eval_steps! === 0 || step === total);
  }

  /** `merged` returns the model as it would be saved now, for metrics of generated texts. */
  async measure(training: Training, model: Model, merged: () => Model, runtime: Runtime): Promise<Record<string, number>> {
    const { options, inputs, signal } = this.context;
    const { ofTexts, ...measured } = this.measured;
    const evaluated = await evaluateSplit((inputs) => training.evaluate(inputs), this.split, this.info, {
      labels: this.info.labels,
      problem: model.problem,
      labelIds: Int32Array.from(this.info.labels, (_, id) => id),
      ...measured,
      batchSize: options.batch_size,
      masking: { ...this.masking, vocabulary: model.config.vocab_size },
      signal,
    });
    const written =
      ofTexts.length > 0 &&
      (await writtenTexts(runtime, this.split, this.info, {
        model: merged(),
        folders: { own: inputs.model, tokenizer: inputs.tokens },
        metrics: ofTexts,
        overrides: {},
        batchSize: options.batch_size,
        signal,
      }));
    const metrics = { ...evaluated.metrics(), ...(written ? written.metrics() : {}) };
    this.#noteUndefined(metrics);
    return metrics;
  }

  /** The watched metric: such an evaluation is no improvement. */
  #noteUndefined(metrics: Record<string, number>): void {
    const metric = watchedMetric(this.context.options)?.metric;
    const value = metric === undefined ? 0 : metrics[metric]!;
    if (Number.isFinite(value)) return;
    this.context.warn(
      `${metric} is undefined on the validation split: ${whyUndefined(metric!, value, this.info.task)}. This evaluation does not count as an improvement`,
    );
  }

  close(): void {
    this.split.close();
  }
}

/** For masked-lm: how the options mask tokens, in training and in its evaluations. */
type OwnMasking = Pick<Masking, 'probability' | 'continuations'>;

export async function maskingOf({ options, inputs }: TrainContext): Promise<OwnMasking> {
  const { mlm_probability: probability = 0.15, whole_word_mask } = options;
  if (!whole_word_mask) return { probability };
  const continuations = await wordContinuations(inputs.tokens);
  if (continuations) return { probability, continuations };
  throw new StepError(
    'the tokenizer does not show which tokens continue a word',
    'Remove `whole_word_mask`. It needs WordPiece, byte-level BPE, or a tokenizer with the mark ▁ before words.',
    ['whole_word_mask'],
  );
}

/** The metrics to compute besides the loss; `ofTexts`: those of generated texts. */
function measuredOf(options: TrainContext['options'], info: TokensInfo) {
  const problem = info.problem_type ?? 'single_label_classification';
  const { known, usual } = taskMetrics(info.task, problem, info.labels);
  const written = writtenMetrics(info.task).known;
  const { metric, option } = watchedMetric(options) ?? { metric: 'loss', option: [] };
  if (metric !== 'loss' && !known.includes(metric) && !written.includes(metric))
    throw new StepError(`${info.task} has no metric ${metric}`, `It has ${[...written, ...known].join(', ')}.`, option);
  const shown = usual.filter((name) => SHOWN.includes(name));
  const metrics = [...new Set([...shown, ...known.filter((name) => name === metric)])];
  // Generating takes long: it is done only for a metric that decides something.
  const ofTexts = written.filter((name) => name === metric);
  return { metrics, ofTexts, positive: oneLabel(info.task, problem) ? positiveClass(info.labels, options.positive, metrics) : undefined };
}

/** Those of a task's usual metrics that fit into a line of the log. */
const SHOWN = ['accuracy', 'f1', 'macro_f1', 'exact_match', 'perplexity', 'r2'];
