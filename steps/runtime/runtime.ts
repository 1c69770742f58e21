/**
 * Where tensor programs run. Model and training code is written once, with TensorFlow.js ops; a runtime decides what
 * becomes of it:
 *
 *   eager       the ops run one by one on a tfjs backend: the reference that the others are tested against
 *   onnx        one run is traced into a graph, the graph is emitted as ONNX and run by onnxruntime-node
 *   tensorflow  the same graph as a TensorFlow SavedModel, run by tfjs-node
 */
import type * as tf from '@tensorflow/tfjs';

export type RuntimeName = 'tensorflow' | 'onnx' | 'eager';

/** Of matrix products. With bf16 all else stays in fp32: loss, norms, softmax, the optimizer, and the weights themselves. */
export type Precision = 'fp32' | 'bf16';

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
 * For training it returns a scalar `loss`; its other outputs (e.g. `logits`) are not computed then.
 */
export type Program = (
  weights: Record<string, tf.Tensor>,
  inputs: Record<string, tf.Tensor>,
  dropout: Dropout,
) => Record<string, tf.Tensor>;

/**
 * The axes of a program's inputs, by input: a number is the axis' size, a text names an axis of any size. A runtime that compiles then
 * makes one graph for all sizes; of an input that is not named here every shape has a graph of its own.
 */
export type Axes = Record<string, readonly (string | number)[]>;

/** Drops elements of x with probability `rate` and scales the rest by 1/(1-rate); the identity when not training. */
export type Dropout = <T extends tf.Tensor>(x: T, rate: number) => T;

export interface Runtime {
  readonly name: RuntimeName;
  /** What runs underneath, for the records: "onnxruntime-node 1.30.0, CPU, 2 threads". */
  readonly description: string;
  inference(program: Program, weights: HostTensors, axes?: Axes, options?: InferenceOptions): Inference;
  training(program: Program, weights: HostTensors, options: TrainingOptions): Training;
}

export interface InferenceOptions {
  /**
   * Weights are copied into the form that products of few rows are fastest with, where the runtime has one: it takes seconds and as much
   * memory again, and pays where the program runs often. The weights must not change.
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

/** Each is told of in rules.ts. */
export type OptimizerOptions = AdamWOptions | { name: 'sgd'; momentum: number; nesterov: boolean } | { name: 'adafactor' };

/** How one weight is trained. */
export interface WeightOptions {
  /** The step's learning rate is multiplied by this. */
  learningRateFactor: number;
  /** Weight ← weight · (1 − learning rate · this) before the step; of sgd it is added to the gradient, as PyTorch does. */
  weightDecay: number;
}

export interface TrainingOptions {
  axes?: Axes;
  optimizer: OptimizerOptions;
  /** Clip the gradients' global norm to this; 0 = do not clip. Coefficient min(1, c / (norm + 1e-6)). */
  maxGradNorm: number;
  /** Of each weight by name; undefined = it is frozen: no gradient is computed and nothing changes it. */
  weight: (name: string) => WeightOptions | undefined;
  /** Gradient checkpointing, of the runtimes that compile: see recompute.ts. */
  checkpointing?: boolean;
  /** Row `padding` of an embedding gets no lookup gradient: weight name → row. */
  paddingRows?: Record<string, number>;
}

/** A part of the batch that one optimizer step learns from: as much of it as is in memory at once. */
export interface Part {
  inputs: HostTensors;
  /** What the part's mean loss counts in the batch's: its share of all that is counted, so that the shares' sum is 1. */
  share: number;
}

/** Of every weight that is trained, what the optimizer remembers, by kind (`m` and `v` of AdamW) and weight name. */
export interface OptimizerState {
  step: number;
  slots: Record<string, Record<string, Float32Array>>;
}

export interface Training {
  /**
   * One optimizer step over one batch, whose gradient is Σ share · gradient of the parts. Dropout masks are a pure function of
   * (seed, epoch, step) and the part's place. `loss` is Σ share · loss; `gradNorm` the norm before clipping. Where one of them is
   * not finite nothing was changed.
   */
  step(
    parts: readonly Part[],
    at: { seed: number; epoch: number; step: number; learningRate: number },
  ): Promise<{ loss: number; gradNorm: number }>;
  /** The weights as they are now: views that the next step changes; copy what must last. */
  weights(): HostTensors;
  /** What a checkpoint needs beside the weights; views, too. */
  optimizerState(): OptimizerState;
  /** @throws Error naming the weight that is missing or of another size */
  restore(weights: HostTensors, state: OptimizerState): void;
  /** The forward pass with the weights of training, dropout off: for evaluation between epochs. */
  evaluate(inputs: HostTensors): Promise<HostTensors>;
  dispose(): Promise<void>;
}
