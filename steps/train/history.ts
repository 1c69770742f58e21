/**
 * Reports a running training: progress, curves, a line for each evaluation, the history file and TensorBoard's event
 * file.
 */

import { mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { mean } from '../ml/metrics/counts.ts';
import { EventFile, exportCurves, type HistoryLine, pointsOf } from '../ml/metrics/tensorboard.ts';
import { type Batch, computedTokens, realTokens } from '../ml/models/batches.ts';
import type { Split } from '../ml/models/token-dataset.ts';
import { Course, type Kept } from './course.ts';
import type { Extent } from './schedule.ts';
import type { TrainContext } from './step.ts';

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

export class History {
  readonly #context: TrainContext;
  readonly #extent: Extent;
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
  /** Written during training, if the option asks for it. */
  readonly #events: EventFile | undefined;

  constructor(context: TrainContext, extent: Extent) {
    this.#context = context;
    this.#extent = extent;
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
    const { total, epochs } = this.#extent;
    if (performance.now() - this.#shownAt < 250 && step < total) return;
    this.#shownAt = performance.now();
    this.#context.progress(step, total, {
      // The validation figures come first: on a narrow screen the others are dropped.
      ...this.#course.live(),
      loss: Number(mean(this.#recent).toFixed(4)),
      epoch: `${epoch}/${epochs}`,
      'tokens/s': this.#measuring.tokensPerSecond(),
      lr: Number(learningRate.toPrecision(3)),
    });
  }

  /**
   * Called at the end of an epoch or, by steps, within one. `trainedUntil`: when the validation began, so that it
   * does not count towards the training speed.
   */
  measured({ step, epoch }: { step: number; epoch: number }, validation: Record<string, number> | undefined, trainedUntil: number): void {
    const { loss, padding } = this.#measuring;
    const values = Object.fromEntries(Object.entries(validation ?? {}).map(([name, value]) => [`validation_${name}`, value]));
    const line: HistoryLine = { step, epoch, train_loss: loss, padding, ...values };
    this.#add(line);
    this.#record(step, values);
    this.#context.log(
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

  /**
   * Restores from a checkpoint, whose JSON has null for values that are not numbers. This run's records get the
   * curves from their beginning.
   */
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
    const { outputs, metric, result, warn } = this.#context;
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
    for (const [name, value] of Object.entries(values)) this.#context.metric(name, value, step);
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

/**
 * Several steps in a row: their mean loss and its terms, the share of padding, and their speed in tokens a second, without padding.
 */
class Stretch {
  readonly #since: number;
  #steps: number;
  #losses: number;
  #terms: Record<string, number>;
  #tokens: number;
  #places: number;

  /** `milliseconds`: how long it took so far, before an interruption. */
  constructor({ steps, losses, terms, tokens, places, milliseconds }: StretchState = NO_STEPS) {
    this.#since = performance.now() - milliseconds;
    [this.#steps, this.#losses, this.#tokens, this.#places] = [steps, losses, tokens, places];
    this.#terms = { ...terms };
  }

  state(): StretchState {
    const milliseconds = performance.now() - this.#since;
    return { steps: this.#steps, losses: this.#losses, terms: this.#terms, tokens: this.#tokens, places: this.#places, milliseconds };
  }

  /** The same, minus some time. */
  without(milliseconds: number): Stretch {
    const state = this.state();
    return new Stretch({ ...state, milliseconds: state.milliseconds - milliseconds });
  }

  add(loss: number, terms: Record<string, number>, tokens: number, places: number): void {
    this.#steps++;
    this.#losses += loss;
    for (const [name, value] of Object.entries(terms)) this.#terms[name] = (this.#terms[name] ?? 0) + value;
    this.#tokens += tokens;
    this.#places += places;
  }

  get loss(): number {
    return this.#losses / this.#steps;
  }

  get terms(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.#terms).map(([name, sum]) => [name, sum / this.#steps]));
  }

  get padding(): number {
    return 1 - this.#tokens / this.#places;
  }

  tokensPerSecond(until = performance.now()): number {
    return Math.round((1000 * this.#tokens) / (until - this.#since));
  }
}
