/** The options of steps that compute with a model. Plain data, so that no tensor library is loaded for it. */

/** The runtime's name, as open.ts takes it, and the device. */
export const runtimeOptions = {
  runtime: {
    enum: ['auto', 'onnx', 'tensorflow', 'eager'],
    default: 'auto',
    description:
      'What computes the model. `auto` is onnx, or tensorflow if it is set up and a short measurement finds it faster. `eager` is for debugging.',
  },
  device: {
    enum: ['auto', 'cpu', 'gpu'],
    default: 'auto',
    description: '`auto` uses a GPU if the runtime supports one: tensorflow set up with --gpu. `gpu` is an error if there is none.',
  },
} as const;
