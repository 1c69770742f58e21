/**
 * AdamW exactly as PyTorch's, with clipping by the gradients' global norm, over Float32Arrays on the host and in
 * place: whoever holds a weight's array sees it change. Both runtimes share it, so they agree.
 */
import type { HostTensors, OptimizerState, TrainingOptions, WeightOptions } from './runtime.ts';
import { type SimdLoops, simdLoops } from './simd.ts';

/** A weight's gradient: a dense part, and rows to be added to it by id (the gradient of a lookup); either may be absent. */
export interface Gradient {
  dense?: Float32Array | undefined;
  rows?: { ids: Int32Array; values: Float32Array }[];
}

export class Optimizer {
  /** All of them, those that are frozen too. */
  readonly weights: HostTensors = {};
  #step = 0;
  readonly #slots = new Map<string, Slot>();
  /** Of the parts of a batch, where there are several. */
  readonly #accumulated = new Map<string, Float32Array>();
  readonly #options: TrainingOptions;

  constructor(weights: HostTensors, options: TrainingOptions) {
    this.#options = options;
    const trained = Object.entries(weights).filter(([name]) => options.weight(name));
    const arenas = new Arenas(trained.map(([, { data }]) => data.length));
    for (const [name, weight] of Object.entries(weights)) {
      const own = options.weight(name);
      if (!own) {
        this.weights[name] = weight;
        continue;
      }
      const { dtype, shape, data } = weight;
      if (dtype !== 'float32') throw new Error(`The weight ${name} is ${dtype}; only float32 weights can be trained.`);
      const slot: Slot = { ...arenas.next(data.length), ...own };
      slot.weight.set(data);
      this.weights[name] = { dtype, shape, data: slot.weight };
      this.#slots.set(name, slot);
    }
  }

  /** The weights that are trained, by name. */
  get trained(): string[] {
    return [...this.#slots.keys()];
  }

  /** Where the dense gradient of a weight may be written before `step`, to spare a copy. */
  gradientBuffer(name: string): Float32Array {
    return this.#slots.get(name)!.gradient;
  }

  /** Adds share · gradients to those of the next step: of every part of a batch but the last. */
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
   * One step by share · gradients and what was accumulated. A weight that has no gradient is left alone, as PyTorch does. Returns
   * the gradients' norm before clipping; where it is not finite nothing is changed.
   */
  step(gradients: ReadonlyMap<string, Gradient>, learningRate: number, share = 1): number {
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
    if (!Number.isFinite(norm)) return norm;
    const { maxGradNorm, optimizer } = this.#options;
    const scale = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (norm + 1e-6)) : 1;
    this.#step++;
    const { beta1, beta2, epsilon } = optimizer;
    const bias = 1 - beta1 ** this.#step;
    const correction = Math.sqrt(1 - beta2 ** this.#step);
    for (const name of gradients.keys()) {
      const { weight, gradient, m, v, bytes, loops, weightDecay, learningRateFactor } = this.#slots.get(name)!;
      const addresses = [weight, gradient, m, v].map(({ byteOffset }) => byteOffset);
      const rate = learningRate * learningRateFactor;
      loops.adamW(...addresses, bytes, scale, 1 - rate * weightDecay, 1 - beta1, beta2, 1 - beta2, rate / bias, correction, epsilon);
    }
    return norm;
  }

  state(): OptimizerState {
    const pick = (moment: 'm' | 'v') => Object.fromEntries([...this.#slots].map(([name, slot]) => [name, slot[moment]]));
    return { step: this.#step, slots: { m: pick('m'), v: pick('v') } };
  }

  restore(weights: HostTensors, state: OptimizerState): void {
    for (const [name, slot] of this.#slots) {
      const parts = { weight: weights[name]?.data, m: state.slots.m?.[name], v: state.slots.v?.[name] };
      for (const [part, values] of Object.entries(parts) as [keyof typeof parts, Float32Array | undefined][]) {
        if (values?.length !== slot[part].length)
          throw new Error(`The checkpoint does not hold ${part} of ${name} in its size, ${slot[part].length}.`);
        slot[part].set(values);
      }
    }
    this.#step = state.step;
  }
}

interface Slot extends Room, WeightOptions {}

/** A weight's arrays, in one memory of the loops that run over them. */
interface Room {
  weight: Float32Array;
  gradient: Float32Array;
  m: Float32Array;
  v: Float32Array;
  /** Of each array, padded to whole vectors. */
  bytes: number;
  loops: SimdLoops;
}

/** Room for weights of given sizes. One memory holds 4 GB, so large models take several. */
class Arenas {
  readonly #sizes: number[];
  #taken = 0;
  #memory!: WebAssembly.Memory;
  #loops!: SimdLoops;
  #at = 0;

  constructor(sizes: number[]) {
    this.#sizes = sizes;
  }

  /** The rooms come in the order of the sizes. */
  next(size: number): Room {
    const bytes = padded(size);
    if (!this.#memory || this.#at + 4 * bytes > this.#memory.buffer.byteLength) this.#open();
    const array = () => {
      const data = new Float32Array(this.#memory.buffer, this.#at, size);
      this.#at += bytes;
      return data;
    };
    this.#taken++;
    return { weight: array(), gradient: array(), m: array(), v: array(), bytes, loops: this.#loops };
  }

  #open(): void {
    let total = 0;
    for (const size of this.#sizes.slice(this.#taken)) {
      if (total > 0 && total + 4 * padded(size) > LARGEST_MEMORY) break;
      total += 4 * padded(size);
    }
    if (total > LARGEST_MEMORY)
      throw new Error(`A weight of ${this.#sizes[this.#taken]} elements is too large to train: at most ${LARGEST_MEMORY / 16}.`);
    const pages = Math.max(1, Math.ceil(total / PAGE));
    this.#memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.#loops = simdLoops(this.#memory);
    this.#at = 0;
  }
}

const PAGE = 65536;
const LARGEST_MEMORY = 65536 * PAGE;

/** Bytes of so many floats, in whole cache lines. */
const padded = (size: number): number => 64 * Math.ceil(size / 16);

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
