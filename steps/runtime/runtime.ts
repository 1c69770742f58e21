/**
 * Where tensor programs run. Model and training code is written once, with TensorFlow.js ops; a runtime decides what
 * becomes of it:
 *
 *   eager       the ops run one by one on a tfjs backend: the reference that the others are tested against
 *   onnx        one run is traced into a graph, the graph is emitted as ONNX and run by onnxruntime-node
 *   tensorflow  the same graph as a TensorFlow SavedModel (only its seam is here: `Graph` in graph.ts)
 */
import type * as tf from '@tensorflow/tfjs';

export type RuntimeName = 'onnx' | 'eager';

/** A tensor on the host. `bool` is one byte an element. */
export interface HostTensor {
  dtype: 'float32' | 'int32' | 'bool';
  shape: number[];
  data: Float32Array | Int32Array | Uint8Array;
}

export type HostTensors = Record<string, HostTensor>;

/**
 * A tensor program: pure, from named weights and named inputs to named outputs.
 * Its ops are tfjs ops and those of steps/runtime/ops.ts. Shapes are concrete whenever it runs.
 * For training it returns a scalar `loss`; other outputs (e.g. `logits`) come back beside it.
 */
export type Program = (
  weights: Record<string, tf.Tensor>,
  inputs: Record<string, tf.Tensor>,
  dropout: Dropout,
) => Record<string, tf.Tensor>;

/** Drops elements of x with probability `rate` and scales the rest by 1/(1-rate); the identity when not training. */
export type Dropout = <T extends tf.Tensor>(x: T, rate: number) => T;

export interface Runtime {
  readonly name: RuntimeName;
  /** What runs underneath, for the records: "onnxruntime-node 1.30.0, CPU, 2 threads". */
  readonly description: string;
  inference(program: Program, weights: HostTensors): Inference;
  training(program: Program, weights: HostTensors, options: TrainingOptions): Training;
}

export interface Inference {
  run(inputs: HostTensors): Promise<HostTensors>;
  dispose(): Promise<void>;
}

export interface TrainingOptions {
  /** AdamW as in PyTorch. */
  optimizer: { beta1: number; beta2: number; epsilon: number; weightDecay: number };
  /** Clip the gradients' global norm to this; 0 = do not clip. Coefficient min(1, c / (norm + 1e-6)). */
  maxGradNorm: number;
  /** Weights that weight decay leaves alone (biases, norms). */
  noDecay: (name: string) => boolean;
  /** Row `padding` of an embedding gets no lookup gradient: weight name → row. */
  paddingRows?: Record<string, number>;
}

export interface Training {
  /** One optimizer step over one batch. Dropout masks are a pure function of (seed, epoch, step). */
  step(
    inputs: HostTensors,
    at: { seed: number; epoch: number; step: number; learningRate: number },
  ): Promise<{ loss: number; gradNorm: number; outputs: HostTensors }>;
  /** The weights as they are now: views that the next step changes; copy what must last. */
  weights(): HostTensors;
  /** First and second moments by weight name, and the count of steps done: what a checkpoint needs. */
  optimizerState(): { step: number; m: Record<string, Float32Array>; v: Record<string, Float32Array> };
  restore(weights: HostTensors, state: { step: number; m: Record<string, Float32Array>; v: Record<string, Float32Array> }): void;
  /** The forward pass with the weights of training, dropout off: for evaluation between epochs. */
  evaluate(inputs: HostTensors): Promise<HostTensors>;
  dispose(): Promise<void>;
}
