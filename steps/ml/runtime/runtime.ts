/**
 * Runs tensor programs. Model and training code is written once, with TensorFlow.js ops; a runtime decides how it is
 * executed:
 *
 *   eager       the ops run one by one on a tfjs backend; the other runtimes are tested against it
 *   onnx        one run is traced into a graph, which is emitted as ONNX and run by onnxruntime-node
 *   tensorflow  the same graph as a TensorFlow SavedModel, run by tfjs-node
 */

import type * as tf from '@tensorflow/tfjs';

export type RuntimeName = 'tensorflow' | 'onnx' | 'eager';

/** What a runtime supports. It is known before the runtime is loaded, so that options can be checked early. */
export interface Capabilities {
  optimizers: readonly OptimizerOptions['name'][];
  precisions: readonly Precision[];
  /** Whether programs become graphs, which gradient checkpointing needs. */
  compiles: boolean;
}

export const capabilities: Readonly<Record<RuntimeName, Capabilities>> = {
  onnx: { optimizers: ['adamw', 'adafactor', 'sgd'], precisions: ['fp32'], compiles: true },
  tensorflow: { optimizers: ['adamw'], precisions: ['fp32', 'bf16'], compiles: true },
  eager: { optimizers: ['adamw', 'adafactor', 'sgd'], precisions: ['fp32'], compiles: false },
};

/** The options of steps that compute with a model: the runtime and the device, as device/open.ts takes them. */
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
    description:
      '`cpu` never uses a GPU. `auto` uses a GPU only with the GPU build of TensorFlow (`tunesmith setup tensorflow --gpu`). `gpu` requires a GPU; the runtime onnx uses it through WebGPU.',
  },
} as const;

/** The precision of matrix products. Everything else stays in fp32: loss, norms, softmax, the optimizer, and the weights themselves. */
export type Precision = 'fp32' | 'bf16';

/** A tensor on the host. `bool` takes one byte per element. */
export interface HostTensor {
  dtype: 'float32' | 'int32' | 'bool';
  shape: number[];
  data: Float32Array | Int32Array | Uint8Array;
}

export type HostTensors = Record<string, HostTensor>;

/**
 * A tensor program: a pure function from named weights and named inputs to named outputs. Its ops are tfjs ops and
 * those of steps/ml/runtime/ops.ts. Shapes are concrete whenever it runs. For training it returns a scalar `loss`, and
 * may return other scalars, its terms; outputs that are no scalars (e.g. `logits`) are not computed then.
 */
export type Program = (
  weights: Record<string, tf.Tensor>,
  inputs: Record<string, tf.Tensor>,
  dropout: Dropout,
) => Record<string, tf.Tensor>;

/**
 * The axes of a program's inputs, by input: a number is the size of an axis, a string names an axis of any size. A
 * runtime that compiles then makes one graph for all sizes; for an input that is not listed, every shape has its own
 * graph.
 */
export type Axes = Record<string, readonly (string | number)[]>;

/** Drops elements of x with probability `rate` and scales the others by 1/(1-rate); the identity outside of training. */
export type Dropout = <T extends tf.Tensor>(x: T, rate: number) => T;

/** The label of a token that the loss ignores, as in PyTorch and transformers. */
export const IGNORE_INDEX = -100;

export interface Runtime {
  readonly name: RuntimeName;
  /** The underlying library, for the records: "onnxruntime-node 1.30.0, CPU, 2 threads". */
  readonly description: string;
  readonly device: 'cpu' | 'gpu';
  /** The threads that it may use. */
  readonly threads: number;
  inference(program: Program, weights: HostTensors, axes?: Axes, options?: InferenceOptions): Inference;
  training(program: Program, weights: HostTensors, options: TrainingOptions): Training;
}

export interface InferenceOptions {
  /**
   * Copies weights into the layout that is fastest for products with few rows, if the runtime has one. It takes
   * seconds, and pays off if the program runs often. The weights must not change, and are not kept after the first run. All
   * runs have the same inputs, apart from the lengths of free axes.
   */
  packed?: boolean;
}

export interface Inference {
  run(inputs: HostTensors): Promise<HostTensors>;
  dispose(): Promise<void>;
}

export interface AdamWOptions {
  name: 'adamw';
  beta1: number;
  beta2: number;
  epsilon: number;
}

/** Described in optimizers.ts. */
export type OptimizerOptions = AdamWOptions | { name: 'sgd'; momentum: number; nesterov: boolean } | { name: 'adafactor' };

/** How one weight is trained. */
export interface WeightOptions {
  /** Multiplies the learning rate of the step. */
  learningRateFactor: number;
  /** Weight ← weight · (1 − learning rate · this) before the step; for sgd it is added to the gradient, as in PyTorch. */
  weightDecay: number;
}

export interface TrainingOptions {
  axes?: Axes;
  optimizer: OptimizerOptions;
  /** Clips the global norm of the gradients to this; 0 disables clipping. The factor is min(1, c / (norm + 1e-6)). */
  maxGradNorm: number;
  /** For each weight by name; undefined means frozen: no gradient is computed and nothing changes it. */
  weight: (name: string) => WeightOptions | undefined;
  /** Gradient checkpointing, in the runtimes that compile: see gradient-checkpointing.ts. */
  checkpointing?: boolean;
  /** Row `padding` of an embedding gets no lookup gradient: weight name → row. */
  paddingRows?: Record<string, number>;
}

/** A part of the batch that one optimizer step learns from: as much of it as is in memory at once. */
export interface Part {
  inputs: HostTensors;
  /** The weight of the part's mean loss in that of the batch; the shares sum to 1. */
  share: number;
}

/** The optimizer's state of every trained weight, by kind (`m` and `v` of AdamW) and weight name. */
export interface OptimizerState {
  step: number;
  slots: Record<string, Record<string, Float32Array>>;
}

export interface StepResult {
  /** Σ share · loss. */
  loss: number;
  /** The norm of the gradient before clipping. */
  gradNorm: number;
  /** The same sum for the other scalars that the program returns, by name. */
  terms: Record<string, number>;
}

/** Adds the terms of a part to those of the parts before. */
export function addTerms(sum: StepResult['terms'], part: StepResult['terms'], share: number): void {
  for (const [name, value] of Object.entries(part)) sum[name] = (sum[name] ?? 0) + share * value;
}

export interface Training {
  /**
   * One optimizer step over one batch, whose gradient is Σ share · gradient of the parts. Dropout masks are a pure
   * function of (seed, epoch, step) and the index of the part. If the loss or the norm is not finite, nothing is
   * changed.
   */
  step(parts: readonly Part[], at: { seed: number; epoch: number; step: number; learningRate: number }): Promise<StepResult>;
  /** The current weights: views that the next step changes, so copy what must last. */
  weights(): HostTensors;
  /** What a checkpoint needs besides the weights; also views. */
  optimizerState(): OptimizerState;
  /** @throws Error with the name of a weight that is missing or has another size */
  restore(weights: HostTensors, state: OptimizerState): void;
  /** The forward pass with the weights of the training and without dropout, for evaluation during training. */
  evaluate(inputs: HostTensors): Promise<HostTensors>;
  dispose(): Promise<void>;
}
