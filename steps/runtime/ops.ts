/**
 * The ops of a transformer that are more than one TensorFlow.js op, each with a gradient written by hand: fewer passes
 * over memory than the tape would make, and products shaped so that forward and backward are plain matrix products.
 *
 * On the tracing backend a few of them become one kernel (`LayerNorm`, `Gelu`, …) that an emitter may know natively;
 * on every other backend they are composed of TensorFlow.js ops. Both mean the same to rounding.
 */
import type { Dropout } from './runtime.ts';
import { tf } from './tfjs.ts';

type Tensor = tf.Tensor;

/** x [.., in] · weightᵀ [out, in] + bias [out] → [.., out]; PyTorch's layout. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const [outWidth, inWidth] = weight.shape as [number, number];
  const rows = tf.reshape(x, [-1, inWidth]);
  const inputs = bias ? [rows, weight, bias] : [rows, weight];
  const y = withGradient(inputs, ([rows, weight, bias], save) => {
    save([rows!, weight!]);
    return {
      value: tf.fused.matMul({ a: rows as tf.Tensor2D, b: weight as tf.Tensor2D, transposeB: true, bias }),
      gradient: (dy, [rows, weight]) => {
        const dRows = tf.matMul(dy, weight!);
        const dWeight = tf.matMul(dy, rows!, true, false);
        return bias ? [dRows, dWeight, tf.sum(dy, 0)] : [dRows, dWeight];
      },
    };
  });
  return tf.reshape(y, [...x.shape.slice(0, -1), outWidth]);
}

/** Rows of `weight` [rows, width] by `ids` (int32, any shape) → [..ids, width]. */
export function embedding(weight: Tensor, ids: Tensor): Tensor {
  const width = weight.shape[1]!;
  const flat = tf.reshape(ids, [-1]);
  const padding = paddingRows.get(weight);
  const rows = withGradient([weight], ([weight], save) => {
    save([flat]);
    return {
      value: tf.gather(weight!, flat as tf.Tensor1D),
      gradient: (dy, [flat]) => {
        // An id of -1 belongs to no row, so its gradient goes nowhere.
        const to = padding === undefined ? flat! : tf.where(tf.equal(flat!, tf.scalar(padding, 'int32')), tf.scalar(-1, 'int32'), flat!);
        return [tf.unsortedSegmentSum(dy, to as tf.Tensor1D, weight!.shape[0]!)];
      },
    };
  });
  return tf.reshape(rows, [...ids.shape, width]);
}

/** x [B, T, H] → [B, 1, H], what belongs to the first token. */
export function firstToken(x: Tensor): Tensor {
  return withGradient([x], ([x]) => ({
    value: tf.slice(x!, [0, 0, 0], [-1, 1, -1]),
    gradient: (dy) => {
      const place = tf.cast(tf.equal(tf.range(0, x!.shape[1]!, 1, 'int32'), tf.scalar(0, 'int32')), 'float32'); // 1, 0, 0 …
      return [tf.mul(dy, tf.reshape(place, [1, -1, 1]))];
    },
  }));
}

/** The first `count` rows of `weight` [rows, width] → [count, width]. */
export const firstRows = (weight: Tensor, count: number): Tensor => embedding(weight, tf.range(0, count, 1, 'int32'));

/** Which row of an embedding gets no lookup gradient; a runtime sets it for the weights of a training. */
export const paddingRows = new WeakMap<Tensor, number>();

/** Normalizes the last axis to mean 0 and (biased) variance 1, then scales and shifts it. */
export function layerNorm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: number): Tensor {
  const width = x.shape.at(-1)!;
  return withGradient([x, gamma, beta], ([x, gamma, beta], save) => {
    const [y, mean, inverseDeviation] = normalized(x!, gamma!, beta!, epsilon);
    save([x!, gamma!, mean, inverseDeviation]);
    return {
      value: y,
      gradient: (dy, [x, gamma, mean, inverseDeviation]) => {
        const unit = tf.mul(tf.sub(x!, mean!), inverseDeviation!);
        const dyUnit = tf.mul(dy, unit);
        const rowsOf = (t: Tensor) => tf.reshape(t, [-1, width]);
        // Means over a row of dy·γ and dy·γ·unit are products with γ/width: no pass of their own.
        const direction = tf.reshape(tf.mul(gamma!, 1 / width), [width, 1]);
        const perRow = (t: Tensor) => tf.reshape(tf.matMul(rowsOf(t), direction), mean!.shape);
        const centered = tf.sub(tf.mul(dy, gamma!), tf.add(tf.mul(unit, perRow(dyUnit)), perRow(dy)));
        return [tf.mul(centered, inverseDeviation!), tf.sum(rowsOf(dyUnit), 0), tf.sum(rowsOf(dy), 0)];
      },
    };
  });
}

function normalized(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: number): [Tensor, Tensor, Tensor] {
  if (tracing()) {
    return tf.engine().runKernel('LayerNorm', { x, gamma, beta }, { epsilon }) as unknown as [Tensor, Tensor, Tensor];
  }
  const mean = tf.mean(x, -1, true);
  const centered = tf.sub(x, mean);
  const inverseDeviation = tf.rsqrt(tf.add(tf.mean(tf.square(centered), -1, true), epsilon));
  return [tf.add(tf.mul(tf.mul(centered, inverseDeviation), gamma), beta), mean, inverseDeviation];
}

/** x, which is all that the next layer has of those before it: what recompute.ts keeps. */
export function betweenLayers(x: Tensor): Tensor {
  if (!tracing()) return x;
  return withGradient([x], ([x]) => ({
    value: kernel('LayerEnd', { x: x! }),
    gradient: (dy) => [kernel('LayerEndGradient', { x: dy })],
  }));
}

/** x/2 · (1 + erf(x/√2)). */
export function gelu(x: Tensor): Tensor {
  return withGradient([x], ([x], save) => {
    save([x!]);
    return {
      value: tracing() ? kernel('Gelu', { x: x! }) : tf.mul(x!, normalCdf(x!)),
      gradient: (dy, [x]) => {
        const density = tf.mul(tf.exp(tf.mul(tf.square(x!), -0.5)), 1 / Math.sqrt(2 * Math.PI));
        return [tf.mul(dy, tf.add(normalCdf(x!), tf.mul(x!, density)))];
      },
    };
  });
}

const normalCdf = (x: Tensor): Tensor => tf.add(tf.mul(tf.erf(tf.mul(x, Math.SQRT1_2)), 0.5), 0.5);

/** x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))). */
export function geluNew(x: Tensor): Tensor {
  return withGradient([x], ([x], save) => {
    const cubic = (x: Tensor, factor: number) => tf.add(tf.mul(tf.square(x), factor * 0.044715 * ROOT_2_PI), ROOT_2_PI);
    const gate = tf.tanh(tf.mul(x!, cubic(x!, 1)));
    save([x!, gate]);
    return {
      value: tf.mul(x!, tf.add(tf.mul(gate, 0.5), 0.5)),
      gradient: (dy, [x, gate]) => {
        const slope = tf.mul(tf.mul(x!, cubic(x!, 3)), tf.sub(0.5, tf.mul(tf.square(gate!), 0.5)));
        return [tf.mul(dy, tf.add(tf.add(tf.mul(gate!, 0.5), 0.5), slope))];
      },
    };
  });
}

const ROOT_2_PI = Math.sqrt(2 / Math.PI);

/** Softmax along the last axis of x + mask; `mask` is additive and broadcasts against x. */
export function softmax(x: Tensor, mask?: Tensor): Tensor {
  const logits = mask ? tf.add(x, mask) : x;
  return withGradient([logits], ([logits], save) => {
    const y = tf.softmax(logits!);
    save([y]);
    return {
      value: y,
      gradient: (dy, [y]) => [tf.mul(y!, tf.sub(dy, tf.sum(tf.mul(dy, y!), -1, true)))],
    };
  });
}

export interface CrossEntropyOptions {
  /** ε: of each row's target 1 − ε is its label's, and ε is spread over all classes. */
  smoothing?: number;
  /** What each class counts, float32 [classes]; all 1 if not given. */
  classWeights?: Float32Array | undefined;
}

/**
 * Mean over the rows of −log softmax(logits)[label]; rows labelled −100 do not count. logits [.., classes], labels int32 [..].
 * With weights and smoothing it is PyTorch's CrossEntropyLoss: a weighted mean, divided by the weights of the labels.
 */
export function crossEntropy(logits: Tensor, labels: Tensor, { smoothing = 0, classWeights }: CrossEntropyOptions = {}): tf.Scalar {
  const classes = logits.shape.at(-1)!;
  const flat = tf.reshape(labels, [-1]);
  return withGradient([tf.reshape(logits, [-1, classes])], ([rows], save) => {
    const logProbabilities = tf.logSoftmax(rows as tf.Tensor2D);
    const counted = tf.cast(tf.notEqual(flat, tf.scalar(IGNORED, 'int32')), 'float32');
    const label = tf.oneHot(flat as tf.Tensor1D, classes, 1, 0, 'float32'); // all zeros where the label is −100
    const weights = classWeights && tf.tensor(classWeights, [classes, 1]);
    const weight = weights ? tf.reshape(tf.matMul(label, weights), [-1]) : counted; // of each row's label
    const total = weights ? tf.maximum(tf.sum(weight), TINY) : tf.maximum(tf.sum(weight), 1);
    let target = tf.mul(label, tf.expandDims(tf.div(weight, total), 1)); // [rows, classes]
    let share = tf.div(weight, total); // of each row in the mean: its targets' sum
    if (smoothing > 0) {
      const spread = tf.div(tf.mul(counted, smoothing / classes), total); // [rows]
      const each = classWeights ?? new Float32Array(classes).fill(1);
      const sum = each.reduce((all, one) => all + one, 0);
      target = tf.add(tf.mul(target, 1 - smoothing), tf.mul(tf.expandDims(spread, 1), tf.tensor(each, [1, classes])));
      share = tf.add(tf.mul(share, 1 - smoothing), tf.mul(spread, sum));
    }
    save([logProbabilities, share, target]);
    return {
      value: tf.neg(tf.sum(tf.mul(logProbabilities, target))),
      gradient: (dy, [logProbabilities, share, target]) => [
        tf.mul(dy, tf.sub(tf.mul(tf.exp(logProbabilities!), tf.expandDims(share!, 1)), target!)),
      ],
    };
  }) as tf.Scalar;
}

/** Where nothing is counted. */
const TINY = 1e-30;

const IGNORED = -100;

/** Mean over all elements of −y log σ(x) − (1 − y) log(1 − σ(x)); labels y are 0 or 1. Both [.., labels]. */
export function binaryCrossEntropy(logits: Tensor, labels: Tensor): tf.Scalar {
  return withGradient([logits], ([x], save) => {
    save([x!, labels]);
    // log(1 + exp x) − x y, in the form that does not overflow.
    const softplus = tf.add(tf.relu(x!), tf.log1p(tf.exp(tf.neg(tf.abs(x!)))));
    return {
      value: tf.mean(tf.sub(softplus, tf.mul(x!, labels))),
      gradient: (dy, [x, labels]) => [tf.mul(tf.div(dy, countOf(x!)), tf.sub(tf.sigmoid(x!), labels!))],
    };
  }) as tf.Scalar;
}

/** Mean over all elements of (x − y)². */
export function meanSquaredError(values: Tensor, labels: Tensor): tf.Scalar {
  return withGradient([values], ([values], save) => {
    const difference = tf.sub(values!, labels);
    save([difference]);
    return {
      value: tf.mean(tf.square(difference)),
      gradient: (dy, [difference]) => [tf.mul(tf.div(tf.mul(dy, 2), countOf(difference!)), difference!)],
    };
  }) as tf.Scalar;
}

/** How many elements x has, computed: in a graph with free axes their number is not known. */
const countOf = (x: Tensor): Tensor => tf.sum(tf.onesLike(x));

export interface AttentionOptions {
  heads: number;
  /** Added to the scores [batch, heads, queries, keys], against which it broadcasts; e.g. 0 to keep, finfo.min to mask. */
  mask?: Tensor | undefined;
  /** Dropout of the probabilities. */
  dropout: Dropout;
  rate: number;
  /** Factor of the scores; 1/√(width of a head) if not given. */
  scale?: number;
}

/** Multi-head attention: q [batch, queries, width], k and v [batch, keys, width] → [batch, queries, width]. */
export function attention(q: Tensor, k: Tensor, v: Tensor, { heads, mask, dropout, rate, scale }: AttentionOptions): Tensor {
  const [batch, queries, width] = q.shape as [number, number, number];
  const split = (t: Tensor) => tf.transpose(tf.reshape(t, [batch, t.shape[1]!, heads, t.shape[2]! / heads]), [0, 2, 1, 3]);
  const scaled = tf.mul(split(q), scale ?? 1 / Math.sqrt(width / heads));
  const scores = tf.matMul(scaled, split(k), false, true); // [batch, heads, queries, keys]
  const probabilities = dropout(softmax(scores, mask), rate);
  const context = tf.matMul(probabilities, split(v)); // [batch, heads, queries, width of a head]
  return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [batch, queries, v.shape[2]!]);
}

/**
 * tf.customGrad for a list of inputs. What the gradient needs goes through `save`, since tensors of the forward pass
 * are disposed when it ends.
 */
function withGradient(
  inputs: Tensor[],
  f: (inputs: Tensor[], save: (tensors: Tensor[]) => void) => { value: Tensor; gradient: (dy: Tensor, saved: Tensor[]) => Tensor[] },
): Tensor {
  return tf.customGrad((...args: any[]) => {
    const save = args.pop() as (tensors: Tensor[]) => void;
    const { value, gradient } = f(args as Tensor[], save);
    return { value, gradFunc: (dy: Tensor, saved: Tensor[]) => gradient(dy, saved) };
  })(...inputs);
}

const tracing = (): boolean => tf.engine().backendName === 'trace';

const kernel = (name: string, inputs: Record<string, Tensor>, attributes = {}): Tensor =>
  tf.engine().runKernel(name, inputs, attributes) as unknown as Tensor;
