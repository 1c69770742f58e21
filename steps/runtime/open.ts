/** Opens a runtime by name. `auto` is `onnx`, which is everywhere that npm reaches. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { eagerRuntime } from './eager.ts';
import type { Runtime, RuntimeName } from './runtime.ts';
import { tensorflowFolder } from './tensorflow/folder.ts';
import { tf } from './tfjs.ts';

export interface RuntimeOptions {
  /** Threads of the matrix products; all cores if not given. */
  threads?: number;
  /** The TensorFlow.js backend of `eager`; `tensorflow` where it is set up, else `cpu`, if not given. */
  backend?: 'cpu' | 'tensorflow';
  precision?: 'fp32' | 'bf16';
}

export async function openRuntime(
  name: 'auto' | RuntimeName,
  { threads = availableParallelism(), backend = tensorflowIsSetUp() ? 'tensorflow' : 'cpu', precision = 'fp32' }: RuntimeOptions = {},
): Promise<Runtime> {
  if (name === 'tensorflow') {
    const { loadTensorflow } = await import('./tensorflow/backend.ts');
    const { tensorflowRuntime } = await import('./tensorflow/runtime.ts');
    return tensorflowRuntime(loadTensorflow(tensorflowFolder(), threads), threads, precision);
  }
  if (name !== 'eager') {
    const { onnxRuntime } = await import('./onnx/runtime.ts');
    return onnxRuntime(threads);
  }
  if (backend === 'cpu') return eagerRuntime('cpu', `TensorFlow.js ${tf.version.tfjs}, cpu backend, 1 thread`);
  if (!tensorflowIsSetUp()) throw new Error('TensorFlow is not set up. Run `tunesmith setup tensorflow`, or use the backend cpu.');
  const { loadTensorflow } = await import('./tensorflow/backend.ts');
  return eagerRuntime('tensorflow', `TensorFlow.js ${tf.version.tfjs}, ${loadTensorflow(tensorflowFolder(), threads).description}`);
}

function tensorflowIsSetUp(): boolean {
  return existsSync(join(tensorflowFolder(), 'node_modules/@tensorflow/tfjs-node-gpu/package.json'));
}
