/**
 * The optimizer of the runtimes onnx and eager, over Float32Arrays on the host, in place: every holder of a weight's array sees
 * it change. Gradients are summed over the parts of a batch and clipped by their global norm.
 */

import { DropoutTapes, type StepPosition } from './dropout.ts';
import { sizeOf } from './graph.ts';
import {
  addTerms,
  type HostTensors,
  type OptimizerOptions,
  type OptimizerState,
  type Part,
  type StepResult,
  type Training,
  type TrainingOptions,
  type WeightOptions,
} from './runtime.ts';

/** A weight's gradient: a dense part, and rows to be added to it by id (the gradient of a lookup); either may be absent. */
export interface Gradient {
  dense?: Float32Array | undefined;
  rows?: { ids: Int32Array; values: Float32Array }[];
}

export class Optimizer {
  /** All weights, including frozen ones. */
  readonly weights: HostTensors = {};
  #step = 0;
  readonly #rule: Rule;
  readonly #slots = new Map<string, Slot>();
  /** The accumulated gradients of the parts of a batch, if there are several. */
  readonly #accumulated = new Map<string, Float32Array>();

  constructor(
    weights: HostTensors,
    private readonly options: TrainingOptions,
  ) {
    this.#rule = ruleOf(options.optimizer);
    const trained = Object.entries(weights).filter(([name]) => options.weight(name));
    const sizesOf = ({ shape, data }: HostTensors[string]) => [data.length, data.length, ...Object.values(this.#rule.moments(shape))];
    const arenas = new Arenas(trained.map(([, weight]) => sizesOf(weight)));
    for (const [name, tensor] of Object.entries(weights)) {
      const own = options.weight(name);
      if (!own) {
        this.weights[name] = tensor;
        continue;
      }
      const { dtype, shape, data } = tensor;
      if (dtype !== 'float32') throw new Error(`The weight ${name} is ${dtype}; only float32 weights can be trained.`);
      const { arrays, bytes, loops } = arenas.next();
      const [weight, gradient, ...moments] = arrays as [Float32Array, Float32Array, ...Float32Array[]];
      const names = Object.keys(this.#rule.moments(shape));
      weight.set(data);
      this.weights[name] = { dtype, shape, data: weight };
      const named = Object.fromEntries(names.map((moment, i) => [moment, moments[i]!]));
      this.#slots.set(name, { shape, weight, gradient, moments: named, bytes, loops, ...own });
    }
  }

  /** The trained weights, by name. */
  get trained(): string[] {
    return [...this.#slots.keys()];
  }

  /** Where the dense gradient of a weight may be written before `step`, to avoid a copy. */
  gradientBuffer(name: string): Float32Array {
    return this.#slots.get(name)!.gradient;
  }

  /** Adds share · gradients to those of the next step, for every part of a batch except the last. */
  accumulate(gradients: ReadonlyMap<string, Gradient>, share: number): void {
    for (const [name, gradient] of gradients) {
      const size = this.#slots.get(name)!.gradient.length;
      const sum = this.#accumulated.get(name) ?? new Float32Array(size);
      this.#accumulated.set(name, sum);
      if (gradient.dense) addScaled(sum, gradient.dense, share);
      for (const rows of gradient.rows ?? []) addRows(sum, rows.ids, rows.values, share);
    }
  }

  /**
   * One step with share · gradients and the accumulated ones. Returns their norm before clipping; if it or the loss is not
   * finite, nothing is changed. A weight without a gradient is not changed, as in PyTorch.
   */
  step(gradients: ReadonlyMap<string, Gradient>, learningRate: number, share = 1, loss = 0): number {
    let squares = 0;
    for (const [name, gradient] of gradients) {
      const { gradient: sum, loops, bytes } = this.#slots.get(name)!;
      if (!gradient.dense) sum.fill(0);
      else if (gradient.dense !== sum) sum.set(gradient.dense);
      if (gradient.dense && share !== 1) for (let i = 0; i < sum.length; i++) sum[i]! *= share;
      for (const rows of gradient.rows ?? []) addRows(sum, rows.ids, rows.values, share);
      const before = this.#accumulated.get(name);
      if (before) addScaled(sum, before, 1);
      squares += loops.sumOfSquares(sum.byteOffset, bytes);
    }
    for (const sum of this.#accumulated.values()) sum.fill(0);
    const norm = Math.sqrt(squares);
    if (!Number.isFinite(norm + loss)) return norm;
    const { maxGradNorm } = this.options;
    const scale = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (norm + 1e-6)) : 1;
    this.#step++;
    for (const name of gradients.keys()) {
      const slot = this.#slots.get(name)!;
      this.#rule.update(slot, { step: this.#step, scale, rate: learningRate * slot.learningRateFactor });
    }
    return norm;
  }

  state(): OptimizerState {
    const slots: OptimizerState['slots'] = {};
    for (const [name, { moments }] of this.#slots)
      for (const [moment, values] of Object.entries(moments)) {
        slots[moment] ??= {};
        slots[moment][name] = values;
      }
    return { step: this.#step, slots };
  }

  restore(weights: HostTensors, state: OptimizerState): void {
    for (const [name, slot] of this.#slots) {
      const copy = (into: Float32Array, part: string, values: HostTensors[string]['data'] | undefined) => {
        if (values?.length !== into.length)
          throw new Error(`The checkpoint does not contain ${part} of ${name} in its size, ${into.length}.`);
        into.set(values);
      };
      copy(slot.weight, 'weight', weights[name]?.data);
      for (const [moment, values] of Object.entries(slot.moments)) copy(values, moment, state.slots[moment]?.[name]);
    }
    this.#step = state.step;
  }
}

/** Reads the loss with its terms and the gradients of a part, which are valid until it returns. */
export type UseGradients = (losses: Omit<StepResult, 'gradNorm'>, gradients: ReadonlyMap<string, Gradient>) => void;

/** A training whose weights are in the host's memory: a runtime adds how a part of a batch is differentiated. */
export abstract class HostTraining implements Training {
  protected readonly optimizer: Optimizer;
  protected readonly tapes = new DropoutTapes();

  constructor(weights: HostTensors, options: TrainingOptions) {
    this.optimizer = new Optimizer(weights, options);
  }

  /** Runs the forward and backward pass of a part. */
  protected abstract differentiate(inputs: HostTensors, at: StepPosition, use: UseGradients): Promise<void>;
  abstract evaluate(inputs: HostTensors): Promise<HostTensors>;
  abstract dispose(): Promise<void>;

  async step(parts: readonly Part[], at: StepPosition & { learningRate: number }) {
    let loss = 0;
    let gradNorm = 0;
    const terms: Record<string, number> = {};
    for (const [part, { inputs, share }] of parts.entries()) {
      await this.differentiate(inputs, { ...at, part }, (losses, gradients) => {
        loss += share * losses.loss;
        addTerms(terms, losses.terms, share);
        if (part < parts.length - 1) this.optimizer.accumulate(gradients, share);
        else gradNorm = this.optimizer.step(gradients, at.learningRate, share, loss);
      });
    }
    return { loss, gradNorm, terms };
  }

  weights() {
    return this.optimizer.weights;
  }

  optimizerState() {
    return this.optimizer.state();
  }

  restore(weights: HostTensors, state: OptimizerState) {
    this.optimizer.restore(weights, state);
  }
}

/** A weight, its gradient and the optimizer's state for it. */
export interface Slot extends WeightOptions {
  shape: number[];
  weight: Float32Array;
  gradient: Float32Array;
  moments: Record<string, Float32Array>;
  /** The size of the weight's array, padded to whole vectors. */
  bytes: number;
  /** Loops over the memory that contains all these arrays. */
  loops: Loops;
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
    const decay = step === 1 ? 0 : momentum; // the first velocity is the gradient itself
    for (let i = 0; i < weight.length; i++) {
      const g = gradient[i]! * scale + weightDecay * weight[i]!;
      if (!velocity) {
        weight[i]! -= rate * g;
        continue;
      }
      velocity[i] = decay * velocity[i]! + g;
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
    const beta2 = 1 - step ** -0.8;
    const size = weight.length;
    const update = new Float32Array(size);
    const { v, rows, columns } = moments;
    if (v) {
      for (let i = 0; i < size; i++) {
        const g = gradient[i]! * scale;
        v[i] = beta2 * v[i]! + (1 - beta2) * (g * g + SMALLEST);
        update[i] = g / Math.sqrt(v[i]!);
      }
    } else {
      const [height, width] = [shape.at(-2)!, shape.at(-1)!];
      for (let matrix = 0; matrix < size / (height * width); matrix++)
        factored(update, gradient, scale, beta2, { rows: rows!, columns: columns!, matrix, height, width });
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
function factored(update: Float32Array, gradient: Float32Array, scale: number, beta2: number, factors: Factors): void {
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
    rows[firstRow + r] = beta2 * rows[firstRow + r]! + ((1 - beta2) * sum) / width;
    mean += rows[firstRow + r]! / height;
  }
  for (let c = 0; c < width; c++) columns[firstColumn + c] = beta2 * columns[firstColumn + c]! + ((1 - beta2) * sums[c]!) / height;
  for (let r = 0; r < height; r++) {
    const row = Math.sqrt(mean / rows[firstRow + r]!);
    for (let c = 0; c < width; c++) {
      const i = first + r * width + c;
      update[i] = (gradient[i]! * scale * row) / Math.sqrt(columns[firstColumn + c]!);
    }
  }
}

/** A weight's arrays, in one WebAssembly memory. */
interface Room {
  arrays: Float32Array[];
  /** The size of the weight's own array, padded to whole vectors. */
  bytes: number;
  loops: Loops;
}

/** Allocates the arrays of each weight by their sizes. One memory is limited to 4 GB, so large models take several. */
class Arenas {
  #taken = 0;
  #memory!: WebAssembly.Memory;
  #loops!: Loops;
  #at = 0;

  constructor(private readonly sizes: number[][]) {}

  /** The allocations come in the order of the sizes. */
  next(): Room {
    const sizes = this.sizes[this.#taken]!;
    if (!this.#memory || this.#at + bytesOf(sizes) > this.#memory.buffer.byteLength) this.#open();
    const arrays = sizes.map((size) => {
      const array = new Float32Array(this.#memory.buffer, this.#at, size);
      this.#at += padded(size);
      return array;
    });
    this.#taken++;
    return { arrays, bytes: padded(sizes[0]!), loops: this.#loops };
  }

  #open(): void {
    let total = 0;
    for (const sizes of this.sizes.slice(this.#taken)) {
      if (total > 0 && total + bytesOf(sizes) > LARGEST_MEMORY) break;
      total += bytesOf(sizes);
    }
    if (total > LARGEST_MEMORY)
      throw new Error(`A weight of ${this.sizes[this.#taken]![0]} elements is too large to train: at most ${LARGEST_MEMORY / 16}.`);
    const pages = Math.max(1, Math.ceil(total / PAGE));
    this.#memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.#loops = loopsOver(this.#memory);
    this.#at = 0;
  }
}

const PAGE = 65536;
const LARGEST_MEMORY = 65536 * PAGE;

/** Bytes of this many floats, in whole cache lines. */
const padded = (size: number): number => 64 * Math.ceil(size / 16);

const bytesOf = (sizes: number[]): number => sizes.reduce((sum, size) => sum + padded(size), 0);

/** The loops in simd.wat, over arrays in one memory. JavaScript takes three times as long. */
interface Loops {
  sumOfSquares(x: number, bytes: number): number;
  adamW(...[weight, gradient, m, v, bytes, scale, keep, oneMinusBeta1, beta2, oneMinusBeta2, rate, correction, epsilon]: number[]): void;
}

function loopsOver(memory: WebAssembly.Memory): Loops {
  module ??= new WebAssembly.Module(Buffer.from(SIMD_WASM, 'base64'));
  return new WebAssembly.Instance(module, { host: { memory } }).exports as unknown as Loops;
}

let module: WebAssembly.Module | undefined;

/** simd.wat, compiled by wabt: the test `simd` prints it anew after a change. */
export const SIMD_WASM =
  'AGFzbQEAAAABFwJgAn9/AXxgDX9/f39/fX19fX19fX0AAhABBGhvc3QGbWVtb3J5AgAAAwMCAAEHGAIMc3VtT2ZTcXVhcmVzAAAFYWRhbVcAAQrAAgJ6AgF/BHsCQANAIAIgAU8NASAAIAJq/QAEACEFIAX9XyEGIAYgBv3yASAD/fABIQMgBSAF/Q0ICQoLDA0ODwgJCgsMDQ4P/V8hBiAGIAb98gEgBP3wASEEIAJBEGohAgwACwsgA/0hACAD/SEBoCAE/SEAIAT9IQGgoAvCAQIBfwN7AkADQCANIARPDQEgASANav0ABAAgBf0T/eYBIQ4gAiANav0ABAAhDyAPIA4gD/3lASAH/RP95gH95AEhDyACIA1qIA/9CwQAIAMgDWr9AAQAIAj9E/3mASAOIA795gEgCf0T/eYB/eQBIRAgAyANaiAQ/QsEACAAIA1qIAAgDWr9AAQAIAb9E/3mASAPIBD94wEgC/0T/ecBIAz9E/3kAf3nASAK/RP95gH95QH9CwQAIA1BEGohDQwACwsL';

/** In the order of the ids, so that the sum is the same on any number of threads. */
function addRows(sum: Float32Array, ids: Int32Array, values: Float32Array, share: number): void {
  const width = values.length / ids.length;
  for (let i = 0, from = 0; i < ids.length; i++, from += width) {
    const to = ids[i]! * width;
    if (to < 0) continue; // belongs to no row
    for (let j = 0; j < width; j++) sum[to + j]! += share * values[from + j]!;
  }
}

function addScaled(sum: Float32Array, values: Float32Array, share: number): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += share * values[i]!;
}
