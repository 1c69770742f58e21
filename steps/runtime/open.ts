/** Opens a runtime by name. `auto` is `onnx`, which is everywhere that npm reaches. */
import { availableParallelism } from 'node:os';
import { eagerRuntime } from './eager.ts';
import type { Runtime, RuntimeName } from './runtime.ts';
import { tf } from './tfjs.ts';

export interface RuntimeOptions {
  /** Threads of the matrix products; all cores if not given. */
  threads?: number;
  /** The TensorFlow.js backend of `eager`: `tensorflow` where it is set up, else `cpu`. */
  backend?: 'cpu' | 'tensorflow';
}

export async function openRuntime(
  name: 'auto' | RuntimeName,
  { threads = availableParallelism(), backend = 'cpu' }: RuntimeOptions = {},
): Promise<Runtime> {
  if (name === 'eager') return eagerRuntime(backend, `TensorFlow.js ${tf.version.tfjs}, ${backend} backend`);
  const { onnxRuntime } = await import('./onnx/runtime.ts');
  return onnxRuntime(threads);
}
