/** What a training says while it runs: progress, curves, a line for each epoch, and the history file. */
import { writeFile } from 'node:fs/promises';
import { type Batch, realTokens } from '../models/batches.ts';
import type { Split } from '../models/tokens.ts';
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
  /** Steps of the whole training, and those between two points of a curve: some two hundred points in all. */
  readonly #total: number;
  readonly #interval: number;
  #lines: Line[] = [];
  #validations: Record<number, Record<string, number>> = {};
  #losses: number[] = [];
  #pace = new Pace();
  #shownAt = 0;

  constructor(context: TrainContext, total: number) {
    this.#context = context;
    this.#total = total;
    this.#interval = Math.ceil(total / 200);
  }

  step({ step, epoch, loss, gradNorm, learningRate }: Step, split: Split, parts: Batch[]): void {
    const { metric, progress, options } = this.#context;
    this.#losses.push(loss);
    for (const part of parts) this.#pace.add(realTokens(split, part), part.sequences.length * part.length);
    if (step % this.#interval === 0) {
      const recent = mean(this.#losses.slice(-this.#interval));
      metric('loss', recent, step);
      metric('learning_rate', learningRate, step);
      this.#lines.push({ step, epoch, loss: recent, learning_rate: learningRate, grad_norm: gradNorm });
    }
    // Nobody reads more than a few a second.
    if (performance.now() - this.#shownAt < 250 && step < this.#total) return;
    this.#shownAt = performance.now();
    progress(step, this.#total, {
      loss: Number(mean(this.#losses.slice(-20)).toFixed(4)),
      'tokens/s': this.#pace.tokensPerSecond(),
      lr: Number(learningRate.toPrecision(3)),
      epoch: `${epoch}/${options.epochs}`,
    });
  }

  /** `trainedUntil`: when the validation, which is not the training's pace, began. */
  epoch(epoch: number, step: number, validation: Record<string, number> | undefined, trainedUntil: number): void {
    const { metric, log } = this.#context;
    const loss = mean(this.#losses);
    const measured = Object.entries(validation ?? {}).map(([name, value]) => [`validation_${name}`, value] as const);
    for (const [name, value] of measured) metric(name, value, step);
    this.#lines.push({ step, epoch, train_loss: loss, padding: this.#pace.padding(), ...Object.fromEntries(measured) });
    if (validation) this.#validations[epoch] = validation;
    log(
      [
        `epoch ${epoch}: loss ${loss.toFixed(4)}`,
        ...measured.map(([name, value]) => `${name.replace('_', ' ')} ${value.toFixed(4)}`),
        `${this.#pace.tokensPerSecond(trainedUntil)} tokens/s`,
        `${(100 * this.#pace.padding()).toFixed(1)}% padding`,
      ].join(', '),
    );
    this.#losses = [];
    this.#pace = new Pace();
  }

  /** For a checkpoint. */
  state() {
    return { lines: this.#lines, validations: this.#validations, losses: this.#losses, pace: this.#pace.state() };
  }

  /** Back from a checkpoint, whose JSON has null for what is not a number. This run's records get the curves from their beginning. */
  restore({ lines, validations, losses, pace }: ReturnType<History['state']>): void {
    this.#lines = lines;
    this.#validations = validations;
    this.#losses = losses;
    this.#pace = new Pace(pace);
    for (const { step, ...values } of lines)
      for (const [name, value] of Object.entries(values))
        if (CURVES.test(name)) this.#context.metric(name, (value as number | null) ?? Number.NaN, step);
  }

  /** Writes the history, and gives the figures of the epoch whose weights are kept. */
  async end(kept: number): Promise<void> {
    const { outputs, metric } = this.#context;
    for (const [name, value] of Object.entries(this.#validations[kept] ?? {})) metric(`validation_${name}`, value ?? Number.NaN);
    await writeFile(outputs.history!, this.#lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }
}

/** A point of the curves, or an epoch's end. */
type Line = { step: number } & Record<string, number>;

/** What of a line is told as a curve. */
const CURVES = /^(loss|learning_rate|validation_.*)$/;

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
