/** The options of a step that computes with a model. Plain data: no tensor library is loaded for it. */

/** Where its tensor program runs: the runtime's name, as open.ts takes it, and the device. */
export const runtimeOptions = {
  runtime: {
    enum: ['auto', 'onnx', 'tensorflow', 'eager'],
    default: 'auto',
    description:
      'Where the tensor program runs. auto is onnx, or tensorflow where that is set up and a short measurement finds it faster. eager is for debugging.',
  },
  device: {
    enum: ['auto', 'cpu', 'gpu'],
    default: 'auto',
    description: 'auto is a GPU where the runtime has one: tensorflow set up with --gpu. gpu is an error where there is none.',
  },
} as const;
