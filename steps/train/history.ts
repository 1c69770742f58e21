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
  readonly #lines: object[] = [];
  readonly #validations: (Record<string, number> | undefined)[] = [];
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
    this.#validations[epoch] = validation;
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

  /** Writes the history, and gives the figures of the epoch whose weights are kept. */
  async end(kept: number): Promise<void> {
    const { outputs, metric } = this.#context;
    for (const [name, value] of Object.entries(this.#validations[kept] ?? {})) metric(`validation_${name}`, value);
    await writeFile(outputs.history!, this.#lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }
}

/** Tokens that are not padding, by the second and as a share of all. */
class Pace {
  readonly #since = performance.now();
  #real = 0;
  #places = 0;

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
