/** Summarizes how a training went: in a few words while it runs and at its end, with a warning if it overfits. */

import type { MetricDirection } from '../../engine/step.ts';
import { type HistoryLine, isMeasurement } from '../ml/metrics/tensorboard.ts';
import { betterOf } from '../ml/tasks/metrics.ts';
import type { Extent } from './schedule.ts';
import type { TrainContext } from './step.ts';
import { watchedMetric } from './validation.ts';

/** Which weights are kept, and by which metric; without a metric they are the last ones. */
export interface Kept {
  step: number;
  metric?: string;
}

type Options = Pick<
  TrainContext['options'],
  'eval_strategy' | 'early_stopping' | 'load_best_model_at_end' | 'metric_for_best_model' | 'save_optimizer'
>;

export class Course {
  readonly #measured: HistoryLine[] = [];
  readonly #options: Options;
  readonly #extent: Extent;
  /** The metric that decides which evaluation is the best. */
  readonly #watched: string;

  constructor(options: Options, extent: Extent) {
    this.#options = options;
    this.#extent = extent;
    this.#watched = watchedMetric(options)?.metric ?? 'loss';
  }

  /** Adds a line of the history, and reports the evaluation in it. */
  add(line: HistoryLine): string {
    if (!isMeasurement(line)) return '';
    this.#measured.push(line);
    const best = this.#best(this.#watched);
    return [
      `${this.#bySteps ? `step ${line.step}, ` : ''}epoch ${line.epoch}: loss ${line.train_loss!.toFixed(4)}`,
      ...validationOf(line).map(
        ([name, value]) =>
          `validation ${name} ${value.toFixed(4)}${best && best !== line && name === this.#watched ? ` (best: ${validationValue(best, name)!.toFixed(4)} at ${this.#timeOf(best)})` : ''}`,
      ),
    ].join(', ');
  }

  /** Values for the progress line: those of the last evaluation, and the best one if it is an earlier one. */
  live(): Record<string, number | string> {
    const last = this.#measured.at(-1);
    const best = this.#best(this.#watched);
    if (!last || !best) return {};
    const names = ['loss', ...(this.#watched === 'loss' ? [] : [this.#watched])];
    return {
      ...Object.fromEntries(names.map((name) => [`val ${name}`, rounded(validationValue(last, name)!)])),
      ...(best !== last && { best: `${rounded(validationValue(best, this.#watched)!)} at ${this.#timeOf(best)}` }),
    };
  }

  /**
   * The final metrics, from the evaluation whose weights are kept. The loss on the training data has no better direction,
   * because a low one may only show overfitting.
   */
  metrics(kept: Kept): { name: string; value: number; better?: MetricDirection }[] {
    const line = this.#at(kept);
    if (!line) return [];
    const validation = validationOf(line).map(([name, value]) => ({ name: `validation_${name}`, value, better: betterOf(name) }));
    return [{ name: 'train_loss', value: line.train_loss! }, ...validation];
  }

  /** One line with the validation figures by their short names. */
  summary(kept: Kept): string {
    const { step, metric } = kept;
    const line = this.#at(kept);
    const last = this.#measured.at(-1);
    if (!line || !last) return `${step} steps`;
    const figures = [`loss ${rounded(line.train_loss!)}`, ...validationOf(line).map(([name, value]) => `val ${name} ${rounded(value)}`)];
    const remarks = [
      ...(line === last ? [] : [`kept ${this.#timeOf(line)}, the best by ${metric}`]),
      ...(last.step < this.#extent.total
        ? [`stopped at ${this.#timeOf(last)} of ${this.#bySteps ? this.#extent.total : this.#extent.epochs}`]
        : []),
    ];
    return [figures.join(', '), ...remarks].join('; ');
  }

  /** Undefined if the last weights are no worse than earlier ones, or the best ones are kept. */
  overfitting({ step }: Kept): string | undefined {
    const last = this.#measured.at(-1);
    const best = this.#best('loss');
    if (!last || !best || watchedMetric(this.#options) || last.step !== step) return undefined;
    const [now, least] = [validationValue(last, 'loss')!, validationValue(best, 'loss')!];
    if (!(now - least > NOISE * Math.abs(least))) return undefined;
    const gain = this.#betterAtTheEnd(best, last);
    const remedy = this.#options.save_optimizer ? 'without save_optimizer, ' : '';
    return [
      `the model overfits: the validation loss was lowest at ${this.#timeOf(best)} (${rounded(least)}), and the saved weights, from ${this.#timeOf(last)}, have ${rounded(now)}.`,
      `${remedy}\`load_best_model_at_end: true\` keeps the weights of ${this.#timeOf(best)}; \`early_stopping: { patience: 2 }\` also ends the training soon afterwards.`,
      ...(gain ? [gain] : []),
    ].join(' ');
  }

  /** The loss alone does not show whether the predictions got worse. */
  #betterAtTheEnd(best: HistoryLine, last: HistoryLine): string | undefined {
    const gained = validationOf(last).find(
      ([name, value]) =>
        name !== 'loss' &&
        name !== 'perplexity' &&
        isBetter(name, value, validationValue(best, name)) &&
        Math.abs(value - validationValue(best, name)!) > NOISE * Math.abs(value),
    );
    if (!gained) return undefined;
    const [name, value] = gained;
    return `Its ${name} still changed from ${rounded(validationValue(best, name)!)} to ${rounded(value)}: \`metric_for_best_model: ${name}\` selects by that.`;
  }

  /** The first of equally good ones, which is the one that the training keeps. */
  #best(name: string): HistoryLine | undefined {
    let best: HistoryLine | undefined;
    for (const line of this.#measured) if (isBetter(name, validationValue(line, name), best && validationValue(best, name))) best = line;
    return best;
  }

  #at({ step }: Kept): HistoryLine | undefined {
    return this.#measured.find((line) => line.step === step);
  }

  #timeOf({ step, epoch }: HistoryLine): string {
    return this.#bySteps ? `step ${step}` : `epoch ${epoch}`;
  }

  get #bySteps(): boolean {
    return this.#options.eval_strategy === 'steps';
  }
}

/** Values whose relative difference is smaller count as equal. */
const NOISE = 0.02;

const PREFIX = 'validation_';

const validationOf = (line: HistoryLine): [string, number][] =>
  Object.entries(line).flatMap(([name, value]) => (name.startsWith(PREFIX) ? [[name.slice(PREFIX.length), value]] : []));

const validationValue = (line: HistoryLine, name: string): number | undefined => line[PREFIX + name];

function isBetter(name: string, value: number | undefined, than: number | undefined): boolean {
  if (value === undefined || !Number.isFinite(value)) return false;
  if (than === undefined || !Number.isFinite(than)) return true;
  return betterOf(name) === 'lower' ? value < than : value > than;
}

const rounded = (value: number): number => Number(value.toPrecision(4));
