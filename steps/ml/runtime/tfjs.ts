/** TensorFlow.js without its banner, with a faster kernel. All files import it from here. Loading it takes half a second. */

import * as tf from '@tensorflow/tfjs';

// Production mode: no banner ("looks like you are running in Node.js"), no warning about kernels that are registered
// twice.
tf.env().set('PROD', true);

replaceSlowKernels();

/** The cpu backend's own kernel compares all ids with every segment, one segment at a time, which takes minutes for a vocabulary. */
export function replaceSlowKernels(): void {
  tf.unregisterKernel('UnsortedSegmentSum', 'cpu');
  tf.registerKernel({
    kernelName: 'UnsortedSegmentSum',
    backendName: 'cpu',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { x, segmentIds } = inputs as Record<'x' | 'segmentIds', tf.TensorInfo>;
      const { numSegments } = attrs as unknown as { numSegments: number };
      const cpu = backend as unknown as { data: { get(id: object): { values: ArrayLike<number> } } };
      const ids = cpu.data.get(segmentIds.dataId).values;
      const rows = cpu.data.get(x.dataId).values;
      const width = tf.util.sizeFromShape(x.shape) / ids.length;
      const sums = new Float32Array(numSegments * width);
      for (let i = 0; i < ids.length; i++) {
        const to = ids[i]! * width;
        // A negative id belongs to no segment, as in TensorFlow.
        if (to >= 0) for (let j = 0; j < width; j++) sums[to + j]! += rows[i * width + j]!;
      }
      const shape = [numSegments, ...x.shape.slice(segmentIds.shape.length)];
      return tf.engine().makeTensor(sums, shape, x.dtype);
    },
  });
}

/** Runs `f`, synchronously, on the named backend, and disposes the tensors that it leaves. */
export function onBackend<T>(backend: string, f: () => T): T {
  const engine = tf.engine();
  if (engine.backendName !== backend) void tf.setBackend(backend); // it takes effect before its promise resolves
  if (engine.backendName !== backend) throw new Error(`The TensorFlow.js backend '${backend}' could not be started.`);
  engine.startScope();
  try {
    return f();
  } finally {
    engine.endScope();
  }
}

export { tf };
