/** The update rules of optimizers. */
import type { OptimizerOptions, WeightOptions } from './runtime.ts';
import type { SimdLoops } from './simd.ts';

/** A weight, its gradient and the optimizer's state for it. */
export interface Slot extends WeightOptions {
  shape: number[];
  weight: Float32Array;
  gradient: Float32Array;
  moments: Record<string, Float32Array>;
  /** The size of the weight's array, padded to whole vectors. */
  bytes: number;
  /** Loops over the memory that contains all these arrays. */
  loops: SimdLoops;
}

export interface Rule {
  /** The state for a weight of this shape: names and sizes, initially zeros. */
  moments(shape: number[]): Record<string, number>;
  /** `step` counts from 1; the gradient is to be multiplied by `scale`; `rate` is the weight's own learning rate. */
  update(slot: Slot, at: { step: number; scale: number; rate: number }): void;
}

export function ruleOf(options: OptimizerOptions): Rule {
  if (options.name === 'adamw') return adamW(options);
  return options.name === 'sgd' ? sgd(options) : adafactor;
}

/** AdamW (Loshchilov & Hutter 2017, https://arxiv.org/abs/1711.05101) as in torch.optim.AdamW. */
const adamW = ({ beta1, beta2, epsilon }: OptimizerOptions & { name: 'adamw' }): Rule => ({
  moments: (shape) => ({ m: sizeOf(shape), v: sizeOf(shape) }),
  update({ weight, gradient, moments, bytes, loops, weightDecay }, { step, scale, rate }) {
    const addresses = [weight, gradient, moments.m!, moments.v!].map(({ byteOffset }) => byteOffset);
    const corrected = rate / (1 - beta1 ** step);
    const correction = Math.sqrt(1 - beta2 ** step);
    loops.adamW(...addresses, bytes, scale, 1 - rate * weightDecay, 1 - beta1, beta2, 1 - beta2, corrected, correction, epsilon);
  },
});

/** Stochastic gradient descent with momentum as in torch.optim.SGD, which adds the decay to the gradient. */
const sgd = ({ momentum, nesterov }: OptimizerOptions & { name: 'sgd' }): Rule => ({
  moments: (shape): Record<string, number> => (momentum > 0 ? { momentum: sizeOf(shape) } : {}),
  update({ weight, gradient, moments, weightDecay }, { step, scale, rate }) {
    const velocity = moments.momentum;
    const kept = step === 1 ? 0 : momentum; // the first velocity is the gradient itself
    for (let i = 0; i < weight.length; i++) {
      const g = gradient[i]! * scale + weightDecay * weight[i]!;
      if (!velocity) {
        weight[i]! -= rate * g;
        continue;
      }
      velocity[i] = kept * velocity[i]! + g;
      weight[i]! -= rate * (nesterov ? g + momentum * velocity[i]! : velocity[i]!);
    }
  },
});

/**
 * Adafactor (Shazeer & Stern 2018, https://arxiv.org/abs/1804.04235) with the settings of transformers' Trainer: an
 * external learning rate, no first moment, updates clipped to a root mean square of 1. For a matrix its state is one
 * number per row and one per column.
 */
const adafactor: Rule = {
  moments(shape): Record<string, number> {
    if (shape.length < 2) return { v: sizeOf(shape) };
    return { rows: sizeOf(shape.slice(0, -1)), columns: sizeOf(shape) / shape.at(-2)! };
  },
  update({ shape, weight, gradient, moments, weightDecay }, { step, scale, rate }) {
    const kept = 1 - step ** -0.8;
    const size = weight.length;
    const update = new Float32Array(size);
    const { v, rows, columns } = moments;
    if (v) {
      for (let i = 0; i < size; i++) {
        const g = gradient[i]! * scale;
        v[i] = kept * v[i]! + (1 - kept) * (g * g + SMALLEST);
        update[i] = g / Math.sqrt(v[i]!);
      }
    } else {
      const [height, width] = [shape.at(-2)!, shape.at(-1)!];
      for (let matrix = 0; matrix < size / (height * width); matrix++)
        factored(update, gradient, scale, kept, { rows: rows!, columns: columns!, matrix, height, width });
    }
    let squares = 0;
    for (let i = 0; i < size; i++) squares += update[i]! * update[i]!;
    const clipped = rate / Math.max(1, Math.sqrt(squares / size));
    for (let i = 0; i < size; i++) weight[i] = weight[i]! * (1 - rate * weightDecay) - clipped * update[i]!;
  },
};

const SMALLEST = 1e-30;

interface Factors {
  rows: Float32Array;
  columns: Float32Array;
  /** The index of the weight's matrix. */
  matrix: number;
  height: number;
  width: number;
}

/** The update of one matrix: its gradient divided by the root of rows · columns / mean of rows. */
function factored(update: Float32Array, gradient: Float32Array, scale: number, kept: number, factors: Factors): void {
  const { rows, columns, matrix, height, width } = factors;
  const [firstRow, firstColumn, first] = [matrix * height, matrix * width, matrix * height * width];
  const sums = new Float64Array(width);
  let mean = 0;
  for (let r = 0; r < height; r++) {
    let sum = 0;
    for (let c = 0; c < width; c++) {
      const g = gradient[first + r * width + c]! * scale;
      const square = g * g + SMALLEST;
      sum += square;
      sums[c]! += square;
    }
    rows[firstRow + r] = kept * rows[firstRow + r]! + ((1 - kept) * sum) / width;
    mean += rows[firstRow + r]! / height;
  }
  for (let c = 0; c < width; c++) columns[firstColumn + c] = kept * columns[firstColumn + c]! + ((1 - kept) * sums[c]!) / height;
  for (let r = 0; r < height; r++) {
    const row = Math.sqrt(mean / rows[firstRow + r]!);
    for (let c = 0; c < width; c++) {
      const i = first + r * width + c;
      update[i] = (gradient[i]! * scale * row) / Math.sqrt(columns[firstColumn + c]!);
    }
  }
}

const sizeOf = (shape: number[]): number => shape.reduce((product, n) => product * n, 1);
