/** Reports a training: progress, curves, a line for each evaluation, the history file, TensorBoard's event file, and a summary. */

import { mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { MetricDirection } from '../../engine/contract/step.ts';
import { mean } from '../ml/metrics/counts.ts';
import { EventFile, exportCurves, type HistoryLine, isMeasurement, pointsOf } from '../ml/metrics/tensorboard.ts';
import { type Batch, computedTokens, realTokens } from '../ml/models/batches.ts';
import type { Split } from '../ml/models/token-dataset.ts';
import { betterOf } from '../ml/tasks/metrics.ts';
import type { Extent } from './schedule.ts';
import type { TrainContext } from './step.ts';
import { watchedMetric } from './validation.ts';

interface Step {
  /** Counted from 1, over all epochs. */
  step: number;
  epoch: number;
  loss: number;
  gradNorm: number;
  learningRate: number;
  /** The terms of the loss. */
  terms: Record<string, number>;
}

/**
 * How much higher the loss is on unseen data: the validation loss minus the mean training loss since the last evaluation.
 * Undefined if both are different functions: weights, smoothed labels and a teacher change only the training loss.
 */
function generalizationGap(loss: number, validation: number | undefined, options: TrainContext['options']): number | undefined {
  const { label_smoothing_factor, class_weights, reweigh, sampler, distill } = options;
  if (validation === undefined || label_smoothing_factor > 0 || class_weights || reweigh || sampler === 'balanced' || distill)
    return undefined;
  return validation - loss;
}

export class History {
  readonly #course: Course;
  /** Steps between two lines of the history, which no option changes, and between two points in the run's records. */
  readonly #interval: number;
  readonly #logged: number;
  #lines: HistoryLine[] = [];
  /** Since the last evaluation, since the last line, and since the last point in the records. */
  #measuring = new Stretch();
  #line = new Stretch();
  #point = new Stretch();
  /** Losses of the last steps. */
  #recent: number[] = [];
  #shownAt = 0;
  /** Written during training, with the option `tensorboard`. */
  readonly #events: EventFile | undefined;

  constructor(
    private readonly context: TrainContext,
    private readonly extent: Extent,
  ) {
    this.#course = new Course(context.options, extent);
    this.#interval = Math.ceil(extent.total / 1000);
    this.#logged = context.options.logging_steps ?? this.#interval;
    if (context.options.tensorboard) this.#events = new EventFile(context.outputs.tensorboard!);
    else mkdirSync(context.outputs.tensorboard!, { recursive: true });
  }

  step({ step, epoch, loss, gradNorm, learningRate, terms }: Step, split: Split, parts: Batch[]): void {
    const tokens = parts.reduce((sum, part) => sum + realTokens(split, part), 0);
    const places = parts.reduce((sum, part) => sum + computedTokens(part), 0);
    for (const stretch of [this.#measuring, this.#line, this.#point]) stretch.add(loss, terms, tokens, places);
    this.#recent = [...this.#recent.slice(-19), loss];
    const values = ({ loss, terms, padding }: Stretch) => ({ loss, ...terms, learning_rate: learningRate, grad_norm: gradNorm, padding });
    if (step % this.#interval === 0) {
      this.#add({ step, epoch, ...values(this.#line) });
      this.#line = new Stretch();
    }
    if (step % this.#logged === 0) {
      this.#record(step, values(this.#point));
      // Speed differs between runs, but outputs must be the same bytes each time: it is only in the run's records.
      this.#record(step, { tokens_per_second: this.#point.tokensPerSecond(), memory_mb: Math.round(process.memoryUsage.rss() / 1e6) });
      this.#point = new Stretch();
    }
    this.#progress(step, epoch, learningRate);
  }

  /** More updates a second would not be readable. */
  #progress(step: number, epoch: number, learningRate: number): void {
    const { total, epochs } = this.extent;
    if (performance.now() - this.#shownAt < 250 && step < total) return;
    this.#shownAt = performance.now();
    this.context.progress(step, total, {
      // The validation figures come first: on a narrow screen the others are dropped.
      ...this.#course.live(),
      loss: Number(mean(this.#recent).toFixed(4)),
      epoch: `${epoch}/${epochs}`,
      'tokens/s': this.#measuring.tokensPerSecond(),
      lr: Number(learningRate.toPrecision(3)),
    });
  }

  /** After an evaluation. `trainedUntil`: when the validation began, which does not count towards the training speed. */
  measured({ step, epoch }: { step: number; epoch: number }, validation: Record<string, number> | undefined, trainedUntil: number): void {
    const { loss, padding } = this.#measuring;
    const values = Object.fromEntries(Object.entries(validation ?? {}).map(([name, value]) => [`validation_${name}`, value]));
    const gap = generalizationGap(loss, validation?.loss, this.context.options);
    const line: HistoryLine = { step, epoch, train_loss: loss, padding, ...values, ...(gap !== undefined && { generalization_gap: gap }) };
    this.#add(line);
    this.#record(step, { ...values, ...(gap !== undefined && { generalization_gap: gap }) });
    this.context.log(
      [this.#course.add(line), `${this.#measuring.tokensPerSecond(trainedUntil)} tokens/s`, `${(100 * padding).toFixed(1)}% padding`].join(
        ', ',
      ),
    );
    this.#measuring = new Stretch();
    // The time of an evaluation is not training time.
    this.#point = this.#point.without(performance.now() - trainedUntil);
  }

  /** For a checkpoint. */
  state() {
    const [measuring, line, point] = [this.#measuring.state(), this.#line.state(), this.#point.state()];
    return { lines: this.#lines, measuring, line, point, recent: this.#recent };
  }

  /** Restores from a checkpoint, whose JSON has null for NaN. This run's records get the curves from their beginning. */
  restore({ lines, measuring, line, point, recent }: ReturnType<History['state']>): void {
    this.#measuring = new Stretch(measuring);
    this.#line = new Stretch(line);
    this.#point = new Stretch(point);
    this.#recent = recent;
    for (const stored of lines) {
      const line = Object.fromEntries(Object.entries(stored).map(([name, value]) => [name, value ?? Number.NaN])) as HistoryLine;
      this.#add(line);
      this.#record(line.step, pointsOf(line));
      this.#course.add(line);
    }
  }

  /** Writes the curves to the end, and the result of the training whose weights of that step are kept. */
  async end(kept: Kept): Promise<void> {
    const { outputs, metric, result, warn } = this.context;
    await writeFile(outputs.history!, this.#lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    if (!this.#events) exportCurves(this.#lines, outputs.tensorboard!);
    for (const { name, value, better } of this.#course.metrics(kept)) metric(name, value, { better });
    result(this.#course.summary(kept));
    const warning = this.#course.overfitting(kept);
    if (warning) warn(warning);
  }

  #add(line: HistoryLine): void {
    this.#lines.push(line);
    this.#events?.scalars(line.step, { epoch: line.epoch, ...pointsOf(line) });
  }

  #record(step: number, values: Record<string, number>): void {
    for (const [name, value] of Object.entries(values)) this.context.metric(name, value, step);
  }
}

interface StretchState {
  steps: number;
  losses: number;
  terms: Record<string, number>;
  tokens: number;
  places: number;
  milliseconds: number;
}

const NO_STEPS: StretchState = { steps: 0, losses: 0, terms: {}, tokens: 0, places: 0, milliseconds: 0 };

/** Several steps in a row: their mean loss and its terms, the share of padding, and their speed in tokens a second, without padding. */
class Stretch {
  readonly #since: number;
  readonly #sums: Omit<StretchState, 'milliseconds'>;

  /** `milliseconds`: how long it took so far, before an interruption. */
  constructor({ milliseconds, ...sums }: StretchState = NO_STEPS) {
    this.#since = performance.now() - milliseconds;
    this.#sums = { ...sums, terms: { ...sums.terms } };
  }

  state(): StretchState {
    return { ...this.#sums, milliseconds: performance.now() - this.#since };
  }

  /** The same, minus some time. */
  without(milliseconds: number): Stretch {
    const state = this.state();
    return new Stretch({ ...state, milliseconds: state.milliseconds - milliseconds });
  }

  add(loss: number, terms: Record<string, number>, tokens: number, places: number): void {
    this.#sums.steps++;
    this.#sums.losses += loss;
    for (const [name, value] of Object.entries(terms)) this.#sums.terms[name] = (this.#sums.terms[name] ?? 0) + value;
    this.#sums.tokens += tokens;
    this.#sums.places += places;
  }

  get loss(): number {
    return this.#sums.losses / this.#sums.steps;
  }

  get terms(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.#sums.terms).map(([name, sum]) => [name, sum / this.#sums.steps]));
  }

  get padding(): number {
    return 1 - this.#sums.tokens / this.#sums.places;
  }

  tokensPerSecond(until = performance.now()): number {
    return Math.round((1000 * this.#sums.tokens) / (until - this.#since));
  }
}

/** Which weights are kept, and by which metric; without a metric they are the last ones. */
interface Kept {
  step: number;
  metric?: string;
}

type Options = Pick<
  TrainContext['options'],
  'eval_strategy' | 'early_stopping' | 'load_best_model_at_end' | 'metric_for_best_model' | 'save_optimizer'
>;

/** Summarizes how a training went: in a few words while it runs and at its end, with a warning if it overfits. */
export class Course {
  readonly #measured: HistoryLine[] = [];
  /** The metric that decides which evaluation is the best. */
  readonly #watched: string;

  constructor(
    private readonly options: Options,
    private readonly extent: Extent,
  ) {
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
          `validation ${name} ${Number.isNaN(value) ? 'n/a' : value.toFixed(4)}${best && best !== line && name === this.#watched ? ` (best: ${validationValue(best, name)!.toFixed(4)} at ${this.#timeOf(best)})` : ''}`,
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
      ...Object.fromEntries(names.map((name) => [`val ${name}`, shortOf(validationValue(last, name)!)])),
      ...(best !== last && { best: `${rounded(validationValue(best, this.#watched)!)} at ${this.#timeOf(best)}` }),
    };
  }

  /** The metrics of the kept weights. The training loss has no better direction: a low one may only show overfitting. */
  metrics(kept: Kept): { name: string; value: number; better?: MetricDirection }[] {
    const line = this.#at(kept);
    if (!line) return [];
    const validation = validationOf(line).map(([name, value]) => ({ name: `validation_${name}`, value, better: betterOf(name) }));
    const gap = line.generalization_gap === undefined ? [] : [{ name: 'generalization_gap', value: line.generalization_gap }];
    return [{ name: 'train_loss', value: line.train_loss! }, ...validation, ...gap];
  }

  /** One line with the validation figures by their short names. */
  summary(kept: Kept): string {
    const { step, metric } = kept;
    const line = this.#at(kept);
    const last = this.#measured.at(-1);
    if (!line || !last) return `${step} steps`;
    const figures = [`loss ${rounded(line.train_loss!)}`, ...validationOf(line).map(([name, value]) => `val ${name} ${shortOf(value)}`)];
    const rise = this.#rise();
    const remarks = [
      ...(rise
        ? [`the validation loss was lowest at ${placeOf(rise.from)} (${rounded(rise.low)}), and then rose ${rise.times} times in a row`]
        : []),
      ...(line === last ? [] : [`kept ${this.#timeOf(line)}, the best by ${metric}`]),
      ...(last.step < this.extent.total
        ? [`stopped at ${this.#timeOf(last)} of ${this.#bySteps ? this.extent.total : this.extent.epochs}`]
        : []),
    ];
    return [figures.join(', '), ...remarks].join('; ');
  }

  /** Undefined if the last weights are no worse than earlier ones, or the best ones are kept. */
  overfitting({ step }: Kept): string | undefined {
    const last = this.#measured.at(-1);
    const best = this.#best('loss');
    if (!last || !best || watchedMetric(this.options) || last.step !== step) return undefined;
    const [now, least] = [validationValue(last, 'loss')!, validationValue(best, 'loss')!];
    if (!(now - least > NOISE * Math.abs(least))) return undefined;
    const gain = this.#betterAtTheEnd(best, last);
    const remedy = this.options.save_optimizer ? 'without save_optimizer, ' : '';
    const rise = this.#rise();
    const often = rise ? `, then rose ${rise.times} times in a row` : '';
    return [
      `the model overfits: the validation loss was lowest at ${placeOf(best)} (${rounded(least)})${often}, and the saved weights, from ${this.#timeOf(last)}, have ${rounded(now)}.`,
      `${remedy}\`load_best_model_at_end: true\` keeps the weights of ${this.#timeOf(best)}; \`early_stopping: { patience: 2 }\` also ends the training soon afterwards.`,
      ...(gain ? [gain] : []),
    ].join(' ');
  }

  /** The longest series of rises after the lowest validation loss, if it is long enough and no noise. */
  #rise(): { from: HistoryLine; low: number; times: number } | undefined {
    const from = this.#best('loss');
    if (!from) return undefined;
    const low = validationValue(from, 'loss')!;
    let [longest, times, before] = [0, 0, low];
    for (const line of this.#measured.slice(this.#measured.indexOf(from) + 1)) {
      const loss = validationValue(line, 'loss')!;
      times = loss > before ? times + 1 : 0;
      if (loss - low > NOISE * Math.abs(low)) longest = Math.max(longest, times);
      before = loss;
    }
    return longest >= RISES ? { from, low, times: longest } : undefined;
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
    return this.options.eval_strategy === 'steps';
  }
}

/** Values whose relative difference is smaller count as equal. */
const NOISE = 0.02;

/** A validation loss that rises this often in a row is reported. */
const RISES = 2;

const placeOf = ({ step, epoch }: HistoryLine): string => `epoch ${epoch}, step ${step}`;

const PREFIX = 'validation_';

const validationOf = (line: HistoryLine): [string, number][] =>
  Object.entries(line).flatMap(([name, value]) => (name.startsWith(PREFIX) ? [[name.slice(PREFIX.length), value]] : []));

const validationValue = (line: HistoryLine, name: string): number | undefined => line[PREFIX + name];

function isBetter(name: string, value: number | undefined, than: number | undefined): boolean {
  if (value === undefined || !Number.isFinite(value)) return false;
  if (than === undefined || !Number.isFinite(than)) return true;
  return betterOf(name) === 'lower' ? value < than : value > than;
}

/** A validation figure, which may be undefined. */
const shortOf = (value: number): number | string => (Number.isNaN(value) ? 'n/a' : rounded(value));

const rounded = (value: number): number => Number(value.toPrecision(4));
