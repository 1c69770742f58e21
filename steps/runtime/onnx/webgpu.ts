/** Whether onnxruntime's WebGPU provider finds a GPU: only a session that requests one shows it. */

import { tf } from '../tfjs.ts';
import { traceInference } from '../trace.ts';
import { Session } from './session.ts';

/** Resolves with the problem, or undefined. */
export async function webgpuWorks(): Promise<string | undefined> {
  try {
    const graph = traceInference((_, { x }) => ({ y: tf.neg(x!) }), {}, { x: { dtype: 'float32', shape: [1] } });
    const session = await Session.open(graph, undefined, 1, 'webgpu');
    await session.close();
    return undefined;
  } catch (error) {
    return (error as Error).message.split('. ').at(-1)!.trim();
  }
}
