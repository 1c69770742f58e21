/**
 * The `tensorflow` backend of TensorFlow.js: `@tensorflow/tfjs-node-gpu` from the folder that `tunesmith setup
 * tensorflow` fills.
 *
 * It brings a second copy of TensorFlow.js, which is harmless: engine, kernels, gradients and flags are globals that
 * all copies of one version share (`globalThis._tfengine`, `globalThis._tfGlobals`), so its backend and kernels
 * appear in ours.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import util from 'node:util';
import type { HostTensor } from '../runtime.ts';
import { replaceSlowKernels, tf } from '../tfjs.ts';
import { QUIET_LIBRARY } from './setup.ts';

/** A tensor in TensorFlow's memory, which can be fed repeatedly. */
export interface DeviceTensor {
  id: number;
}

/** A session over a SavedModel. Its variables live on the device, as long as the session does. */
export class TensorflowSession {
  readonly #id: number;

  constructor(
    private readonly binding: Binding,
    savedModel: Uint8Array,
  ) {
    const folder = mkdtempSync(join(tmpdir(), 'tunesmith-graph-'));
    try {
      writeFileSync(join(folder, 'saved_model.pb'), savedModel);
      this.#id = binding.loadSavedModel(folder, 'serve');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** Feeds nodes by name, and returns the values of others in the order of their names. */
  run(feeds: Record<string, HostTensor | DeviceTensor>, fetches: string[]): HostTensor[] {
    const names = Object.keys(feeds);
    const given: number[] = [];
    const ids = Object.values(feeds).map((feed) => {
      if ('id' in feed) return feed.id;
      const { id } = hold(this.binding, feed);
      given.push(id);
      return id;
    });
    try {
      const places = (list: string[]) => list.map((name) => (name.includes(':') ? name : `${name}:0`)).join();
      return this.binding.runSavedModel(this.#id, ids, places(names), places(fetches)).map((output) => this.#take(output));
    } catch (error) {
      throw explained(error as Error);
    } finally {
      for (const id of given) this.binding.deleteTensor(id);
    }
  }

  close(): void {
    this.binding.deleteSavedModel(this.#id);
  }

  #take({ id, shape, dtype }: { id: number; shape: number[]; dtype: number }): HostTensor {
    const { TF_FLOAT, TF_INT32 } = this.binding;
    const data = this.binding.tensorDataSync(id);
    this.binding.deleteTensor(id);
    return { dtype: dtype === TF_FLOAT ? 'float32' : dtype === TF_INT32 ? 'int32' : 'bool', shape, data };
  }
}

/**
 * Copies a tensor into TensorFlow's memory.
 *
 * The addon would share JavaScript's memory if its address suits TensorFlow, and would give it back from whichever of
 * TensorFlow's threads uses it last. That corrupts the heap of V8, whose references belong to one thread. TensorFlow
 * copies data whose address is not a multiple of 32 or 64 bytes (`TF_NewTensor`), so each tensor starts one element
 * after such an address.
 */
export function hold({ TF_FLOAT, TF_INT32, TF_BOOL, createTensor }: Binding, { shape, dtype, data }: HostTensor): DeviceTensor {
  const Data = data.constructor as new (buffer: ArrayBuffer, offset: number) => typeof data;
  const apart = new Data(new ArrayBuffer(data.byteLength + data.BYTES_PER_ELEMENT), data.BYTES_PER_ELEMENT);
  apart.set(data);
  return { id: createTensor(shape, { float32: TF_FLOAT, int32: TF_INT32, bool: TF_BOOL }[dtype], apart) };
}

function explained(error: Error): Error {
  if (!/OOM|RESOURCE_EXHAUSTED|Resource exhausted|failed to allocate/i.test(error.message)) return error;
  return new Error(
    `TensorFlow ran out of memory for a batch: lower batch_size, or max_length of tokenize. Its message: ${error.message.split('\n', 1)[0]}`,
  );
}

/** The functions of tfjs-node's addon that we call: tensors and sessions are numbers. */
export interface Binding {
  readonly TF_Version: string;
  readonly TF_FLOAT: number;
  readonly TF_INT32: number;
  readonly TF_BOOL: number;
  createTensor(shape: number[], dtype: number, data: ArrayBufferView): number;
  deleteTensor(id: number): void;
  tensorDataSync(id: number): Float32Array | Int32Array | Uint8Array;
  loadSavedModel(folder: string, tags: string): number;
  deleteSavedModel(session: number): void;
  /** Names are joined by commas. Returns the outputs' tensors. */
  runSavedModel(session: number, tensors: number[], inputs: string, outputs: string): { id: number; shape: number[]; dtype: number }[];
}

export interface Tensorflow {
  binding: Binding;
  /** Whether it computes on a GPU. */
  gpu: boolean;
  /** Its description, for the records. */
  description: string;
}

/** Loads the backend once: the first call decides the number of threads, and whether it may use a GPU. */
export function loadTensorflow(folder: string, threads: number, device: 'auto' | 'cpu' | 'gpu' = 'auto'): Tensorflow {
  // Node 23 removed functions that tfjs-node 4.22 still calls.
  const removed = { isNullOrUndefined: (x: unknown) => x === null || x === undefined, isArray: Array.isArray };
  for (const [name, f] of Object.entries(removed)) if (!(name in util)) Object.assign(util, { [name]: f });
  process.env.TF_NUM_INTRAOP_THREADS ??= String(threads);
  // Two runs must be equal bit for bit, also on a GPU.
  process.env.TF_DETERMINISTIC_OPS ??= '1';
  // Allocate GPU memory as needed, not all at once: other programs use the GPU for their windows.
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true';
  if (device === 'cpu') process.env.CUDA_VISIBLE_DEVICES = '-1';
  const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen;
  process.dlopen({ exports: {} }, join(folder, QUIET_LIBRARY), RTLD_NOW | RTLD_GLOBAL);
  const require = createRequire(join(folder, 'package.json'));
  require('@tensorflow/tfjs-node-gpu');
  replaceSlowKernels(); // the second copy has re-registered the cpu backend's own kernels
  const { binding, isUsingGpuDevice: gpu } = tf.engine().findBackend('tensorflow') as unknown as {
    binding: Binding;
    isUsingGpuDevice: boolean;
  };
  return { binding, gpu, description: `TensorFlow ${binding.TF_Version}, ${gpu ? 'GPU' : 'CPU'}` };
}
