/**
 * AdamW exactly as PyTorch's, with clipping by the gradients' global norm, over plain Float32Arrays on the host and in
 * place: whoever holds a weight's array sees it change. Both runtimes share it, so they agree.
 */
import type { HostTensors, TrainingOptions } from './runtime.ts';

/** A weight's gradient: a dense part, and rows to be added to it by id (the gradient of a lookup); either may be absent. */
export interface Gradient {
  dense?: Float32Array | undefined;
  rows?: { ids: Int32Array; values: Float32Array }[];
}

export interface OptimizerState {
  step: number;
  m: Record<string, Float32Array>;
  v: Record<string, Float32Array>;
}

export class Optimizer {
  readonly weights: HostTensors = {};
  #step = 0;
  readonly #slots = new Map<string, Slot>();
  readonly #options: TrainingOptions;

  constructor(weights: HostTensors, options: TrainingOptions) {
    this.#options = options;
    for (const [name, weight] of Object.entries(weights)) {
      if (weight.dtype !== 'float32') throw new Error(`The weight ${name} is ${weight.dtype}; only float32 weights can be trained.`);
      const size = weight.data.length;
      const data = Float32Array.from(weight.data);
      this.weights[name] = { dtype: 'float32', shape: weight.shape, data };
      this.#slots.set(name, {
        weight: data,
        gradient: new Float32Array(size),
        m: new Float32Array(size),
        v: new Float32Array(size),
        decay: options.noDecay(name) ? 0 : options.optimizer.weightDecay,
      });
    }
  }

  /** Where the dense gradient of a weight may be written before `step`, to spare a copy. */
  gradientBuffer(name: string): Float32Array {
    return this.#slots.get(name)!.gradient;
  }

  /** One step. A weight that has no gradient is left alone, as PyTorch does. Returns the gradients' norm before clipping. */
  step(gradients: ReadonlyMap<string, Gradient>, learningRate: number): number {
    let squares = 0;
    for (const [name, gradient] of gradients) {
      const { gradient: sum } = this.#slots.get(name)!;
      if (!gradient.dense) sum.fill(0);
      else if (gradient.dense !== sum) sum.set(gradient.dense);
      for (const rows of gradient.rows ?? []) addRows(sum, rows.ids, rows.values);
      squares += sumOfSquares(sum);
    }
    const norm = Math.sqrt(squares);
    const { maxGradNorm, optimizer } = this.#options;
    const scale = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (norm + 1e-6)) : 1;
    this.#step++;
    const { beta1, beta2, epsilon } = optimizer;
    const rate = learningRate / (1 - beta1 ** this.#step);
    const correction = Math.sqrt(1 - beta2 ** this.#step);
    for (const name of gradients.keys()) {
      const slot = this.#slots.get(name)!;
      adamW(slot, scale, 1 - learningRate * slot.decay, beta1, beta2, rate, correction, epsilon);
    }
    return norm;
  }

  state(): OptimizerState {
    const pick = (moment: 'm' | 'v') => Object.fromEntries([...this.#slots].map(([name, slot]) => [name, slot[moment]]));
    return { step: this.#step, m: pick('m'), v: pick('v') };
  }

  restore(weights: HostTensors, state: OptimizerState): void {
    for (const [name, slot] of this.#slots) {
      const parts = { weight: weights[name]?.data, m: state.m[name], v: state.v[name] };
      for (const [part, values] of Object.entries(parts) as [keyof typeof parts, Float32Array | undefined][]) {
        if (values?.length !== slot[part].length)
          throw new Error(`The checkpoint does not hold ${part} of ${name} in its size, ${slot[part].length}.`);
        slot[part].set(values);
      }
    }
    this.#step = state.step;
  }
}

interface Slot {
  weight: Float32Array;
  gradient: Float32Array;
  m: Float32Array;
  v: Float32Array;
  decay: number;
}

/** In the order of the ids, so that the sum is the same on any number of threads. */
function addRows(sum: Float32Array, ids: Int32Array, values: Float32Array): void {
  const width = values.length / ids.length;
  for (let i = 0, from = 0; i < ids.length; i++, from += width) {
    const to = ids[i]! * width;
    if (to < 0) continue; // belongs to no row
    for (let j = 0; j < width; j++) sum[to + j]! += values[from + j]!;
  }
}

/** In double precision and four fixed lanes. */
function sumOfSquares(x: Float32Array): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = x.length & ~3;
  for (let i = 0; i < whole; i += 4) {
    a += x[i]! * x[i]!;
    b += x[i + 1]! * x[i + 1]!;
    c += x[i + 2]! * x[i + 2]!;
    d += x[i + 3]! * x[i + 3]!;
  }
  for (let i = whole; i < x.length; i++) a += x[i]! * x[i]!;
  return a + b + (c + d);
}

function adamW(
  { weight, gradient, m, v }: Slot,
  scale: number,
  keep: number,
  beta1: number,
  beta2: number,
  rate: number,
  correction: number,
  epsilon: number,
): void {
  for (let i = 0; i < weight.length; i++) {
    const g = gradient[i]! * scale;
    const mean = m[i]! + (g - m[i]!) * (1 - beta1);
    const square = v[i]! * beta2 + g * g * (1 - beta2);
    m[i] = mean;
    v[i] = square;
    weight[i] = weight[i]! * keep - (rate * mean) / (Math.sqrt(square) / correction + epsilon);
  }
}
