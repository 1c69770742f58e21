/**
 * The `tensorflow` backend of TensorFlow.js: `@tensorflow/tfjs-node-gpu` from the folder that `tunesmith setup
 * tensorflow` fills.
 *
 * It brings a second copy of TensorFlow.js, which is harmless: engine, kernels, gradients and flags are globals that
 * all copies of one version share (`globalThis._tfengine`, `globalThis._tfGlobals`), so its backend and kernels
 * appear in ours.
 */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import util from 'node:util';
import { replaceSlowKernels, tf } from '../tfjs.ts';
import { QUIET_LIBRARY } from './folder.ts';

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
