/**
 * The `tensorflow` backend of TensorFlow.js: `@tensorflow/tfjs-node-gpu` from the folder that `tunesmith setup tensorflow` fills.
 *
 * It brings a second copy of TensorFlow.js. That is no harm: engine, kernels, gradients and flags are kept in globals, which every copy of
 * one version shares (`globalThis._tfengine`, `globalThis._tfGlobals`), so its backend and kernels appear in ours.
 */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import util from 'node:util';
import { QUIET_LIBRARY } from './tensorflow-folder.ts';
import { replaceSlowKernels, tf } from './tfjs.ts';

/** Loads the backend, once. Returns what it is, for the records. */
export function loadTensorflow(folder: string, threads: number): string {
  // Node 23 took away what tfjs-node 4.22 still calls.
  const removed = { isNullOrUndefined: (x: unknown) => x === null || x === undefined, isArray: Array.isArray };
  for (const [name, f] of Object.entries(removed)) if (!(name in util)) Object.assign(util, { [name]: f });
  process.env.TF_NUM_INTRAOP_THREADS ??= String(threads);
  const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen;
  process.dlopen({ exports: {} }, join(folder, QUIET_LIBRARY), RTLD_NOW | RTLD_GLOBAL);
  const require = createRequire(join(folder, 'package.json'));
  require('@tensorflow/tfjs-node-gpu');
  replaceSlowKernels(); // the second copy has put the cpu backend's own kernels back
  const backend = tf.engine().findBackend('tensorflow') as unknown as { binding: { TF_Version: string }; isUsingGpuDevice: boolean };
  return `TensorFlow ${backend.binding.TF_Version}, ${backend.isUsingGpuDevice ? 'GPU' : 'CPU'}`;
}
