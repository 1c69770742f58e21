/** The `eager` runtime: a program's ops run one by one on a TensorFlow.js backend. It is the reference of the others, and for debugging. */

import type { StepPosition } from './dropout.ts';
import { paddingRows } from './ops.ts';
import { type Gradient, HostTraining, type UseGradients } from './optimizers.ts';
import type { Dropout, HostTensor, HostTensors, Program, Runtime, TrainingOptions } from './runtime.ts';
import { onBackend, tf } from './tfjs.ts';

export function eagerRuntime(backend: string, description: string, device: Runtime['device'] = 'cpu'): Runtime {
  return {
    name: 'eager',
    threads: 1,
    description,
    device,
    inference: (program, weights) => ({
      run: async (inputs) => forward(backend, program, weights, inputs),
      dispose: async () => {},
    }),
    training: (program, weights, options) => new EagerTraining(backend, program, weights, options),
  };
}

function forward(backend: string, program: Program, weights: HostTensors, inputs: HostTensors): HostTensors {
  return onBackend(backend, () => fetchAll(program(feedAll(weights), feedAll(inputs), (x) => x)));
}

class EagerTraining extends HostTraining {
  readonly #paddingRows: Record<string, number>;

  constructor(
    private readonly backend: string,
    private readonly program: Program,
    weights: HostTensors,
    options: TrainingOptions,
  ) {
    super(weights, options);
    this.#paddingRows = options.paddingRows ?? {};
  }

  protected async differentiate(inputs: HostTensors, at: StepPosition, use: UseGradients) {
    const { gradients, ...losses } = onBackend(this.backend, () => {
      const weights = feedAll(this.optimizer.weights);
      for (const [name, row] of Object.entries(this.#paddingRows)) paddingRows.set(weights[name]!, row);
      const names = this.optimizer.trained;
      const terms: Record<string, number> = {};
      const { value, grads } = tf.engine().gradients(
        () => {
          const { loss, ...others } = this.program(weights, feedAll(inputs), this.#dropout(at));
          for (const [name, tensor] of Object.entries(others)) if (tensor.rank === 0) terms[name] = tensor.dataSync()[0]!;
          return loss!;
        },
        names.map((name) => weights[name]!),
        undefined,
        true,
      );
      const gradients = new Map<string, Gradient>();
      for (const [i, gradient] of grads.entries()) {
        if (gradient) gradients.set(names[i]!, { dense: gradient.dataSync() as Float32Array });
      }
      return { gradients, loss: value.dataSync()[0]!, terms };
    });
    use(losses, gradients);
  }

  #dropout(at: StepPosition): Dropout {
    let ordinal = 0;
    return (x, rate) => {
      if (rate === 0) return x;
      const mask = this.tapes.mask(rate, x.size, at, ordinal++);
      return tf.mul(x, tf.tensor(mask, x.shape)) as typeof x;
    };
  }

  async evaluate(inputs: HostTensors) {
    return forward(this.backend, this.program, this.optimizer.weights, inputs);
  }

  async dispose() {}
}

function feedAll(tensors: HostTensors): Record<string, tf.Tensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, { data, shape, dtype }]) => [name, tf.tensor(data, shape, dtype)]));
}

/** Copies, because on the cpu backend a tensor's data may be the array of an input. */
function fetchAll(tensors: Record<string, tf.Tensor>): HostTensors {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, t]) => [
      name,
      { dtype: t.dtype as HostTensor['dtype'], shape: t.shape, data: t.dataSync().slice() as HostTensor['data'] },
    ]),
  );
}
