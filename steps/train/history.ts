/** What a training says while it runs: progress, curves, a line for each measurement, the history file and TensorBoard's. */
import { mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { type Batch, computedTokens, realTokens } from '../models/batches.ts';
import type { Split } from '../models/tokens.ts';
import type { Extent } from './schedule.ts';
import { EventFile } from './tensorboard.ts';
import type { TrainContext } from './train.ts';

interface Step {
  /** Counted from 1, through all epochs. */
  step: number;
  epoch: number;
  loss: number;
  gradNorm: number;
  learningRate: number;
}

export class History {
  readonly #context: TrainContext;
  readonly #extent: Extent;
  /** Steps between two points of a curve. */
  readonly #interval: number;
  #lines: Line[] = [];
  /** By step. */
  #validations: Record<number, Record<string, number>> = {};
  /** Since the last measurement, and since the last point. */
  #losses: number[] = [];
  #pace = new Pace();
  #recent: number[] = [];
  #recentPace = new Pace();
  #shownAt = 0;
  readonly #events: EventFile | undefined;

  constructor(context: TrainContext, extent: Extent) {
    this.#context = context;
    this.#extent = extent;
    this.#interval = context.options.logging_steps ?? Math.ceil(extent.total / 1000);
    const folder = context.outputs.tensorboard!;
    if (context.options.tensorboard) this.#events = new EventFile(folder);
    else mkdirSync(folder, { recursive: true });
  }

  step({ step, epoch, loss, gradNorm, learningRate }: Step, split: Split, parts: Batch[]): void {
    const { metric, progress } = this.#context;
    const { total, epochs } = this.#extent;
    for (const losses of [this.#losses, this.#recent]) losses.push(loss);
    for (const part of parts) for (const pace of [this.#pace, this.#recentPace]) pace.add(realTokens(split, part), computedTokens(part));
    if (step % this.#interval === 0) {
      const padding = this.#recentPace.padding();
      this.#add({ step, epoch, loss: mean(this.#recent), learning_rate: learningRate, grad_norm: gradNorm, padding });
      // No two runs have the same of these, and outputs are the same bytes each time: they are in the run's records alone.
      metric('tokens_per_second', this.#recentPace.tokensPerSecond(), step);
      metric('memory_mb', Math.round(process.memoryUsage.rss() / 1e6), step);
      this.#recent = [];
      this.#recentPace = new Pace();
    }
    // Nobody reads more than a few a second.
    if (performance.now() - this.#shownAt < 250 && step < total) return;
    this.#shownAt = performance.now();
    progress(step, total, {
      loss: Number(mean(this.#losses.slice(-20)).toFixed(4)),
      'tokens/s': this.#pace.tokensPerSecond(),
      lr: Number(learningRate.toPrecision(3)),
      epoch: `${epoch}/${epochs}`,
    });
  }

  /** At an epoch's end or, by steps, amid one. `trainedUntil`: when the validation, which is not the training's pace, began. */
  measured({ step, epoch }: { step: number; epoch: number }, validation: Record<string, number> | undefined, trainedUntil: number): void {
    const { log, options } = this.#context;
    const loss = mean(this.#losses);
    const measured = Object.entries(validation ?? {}).map(([name, value]) => [`validation_${name}`, value] as const);
    this.#add({ step, epoch, train_loss: loss, padding: this.#pace.padding(), ...Object.fromEntries(measured) });
    if (validation) this.#validations[step] = validation;
    log(
      [
        `${options.eval_strategy === 'steps' ? `step ${step}, ` : ''}epoch ${epoch}: loss ${loss.toFixed(4)}`,
        ...measured.map(([name, value]) => `${name.replace('_', ' ')} ${value.toFixed(4)}`),
        `${this.#pace.tokensPerSecond(trainedUntil)} tokens/s`,
        `${(100 * this.#pace.padding()).toFixed(1)}% padding`,
      ].join(', '),
    );
    this.#losses = [];
    this.#pace = new Pace();
    // A measurement's time is no training's.
    this.#recentPace = this.#recentPace.without(performance.now() - trainedUntil);
  }

  /** For a checkpoint. */
  state() {
    const [pace, recentPace] = [this.#pace.state(), this.#recentPace.state()];
    return { lines: this.#lines, validations: this.#validations, losses: this.#losses, recent: this.#recent, pace, recentPace };
  }

  /** Back from a checkpoint, whose JSON has null for what is not a number. This run's records get the curves from their beginning. */
  restore({ lines, validations, losses, recent, pace, recentPace }: ReturnType<History['state']>): void {
    this.#validations = validations;
    this.#losses = losses;
    this.#recent = recent;
    this.#pace = new Pace(pace);
    this.#recentPace = new Pace(recentPace);
    for (const line of lines)
      this.#add(Object.fromEntries(Object.entries(line).map(([name, value]) => [name, value ?? Number.NaN])) as Line);
  }

  /** Writes the history, and gives the figures of the step whose weights are kept. */
  async end(kept: number): Promise<void> {
    const { outputs, metric } = this.#context;
    for (const [name, value] of Object.entries(this.#validations[kept] ?? {})) metric(`validation_${name}`, value ?? Number.NaN);
    await writeFile(outputs.history!, this.#lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }

  /** A line of the history, a point of every curve in the records, and in TensorBoard's file. */
  #add(line: Line): void {
    this.#lines.push(line);
    const { step, epoch, ...values } = line;
    // An epoch's mean loss and padding are told in its line; as curves they would mix with those of the points.
    const { train_loss, padding, ...curves } = values;
    if (train_loss === undefined && padding !== undefined) curves.padding = padding;
    for (const [name, value] of Object.entries(curves)) this.#context.metric(name, value, step);
    this.#events?.scalars(step, { epoch, ...curves });
  }
}

/** A point of the curves, or a measurement. */
type Line = { step: number; epoch: number } & Record<string, number>;

/** Tokens that are not padding, by the second and as a share of all. */
class Pace {
  readonly #since: number;
  #real: number;
  #places: number;

  /** `milliseconds`: how long it went on before. */
  constructor({ real, places, milliseconds } = { real: 0, places: 0, milliseconds: 0 }) {
    this.#since = performance.now() - milliseconds;
    this.#real = real;
    this.#places = places;
  }

  state() {
    return { real: this.#real, places: this.#places, milliseconds: performance.now() - this.#since };
  }

  /** The same with some time less. */
  without(milliseconds: number): Pace {
    const state = this.state();
    return new Pace({ ...state, milliseconds: state.milliseconds - milliseconds });
  }

  add(real: number, places: number): void {
    this.#real += real;
    this.#places += places;
  }

  tokensPerSecond(until = performance.now()): number {
    return Math.round((1000 * this.#real) / (until - this.#since));
  }

  padding(): number {
    return 1 - this.#real / this.#places;
  }
}

const mean = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0) / numbers.length;
