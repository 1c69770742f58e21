/**
 * Transformer ops that consist of more than one TensorFlow.js op, each with a hand-written gradient: fewer passes
 * over memory than the tape would make, and products shaped so that forward and backward are plain matrix products.
 *
 * On the tracing backend some of them become one kernel (`LayerNorm`, `Gelu`, …) that an emitter may support
 * natively; on other backends they are composed of TensorFlow.js ops. Both give the same result up to rounding.
 */

import { type Dropout, IGNORE_INDEX } from './runtime.ts';
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

/** x [.., in] · weight [in, out] + bias [out] → [.., out]; the layout of GPT-2's layers, which transformers calls Conv1D. */
export function conv1d(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  const [inWidth, outWidth] = weight.shape as [number, number];
  const y = withGradient([tf.reshape(x, [-1, inWidth]), weight, bias], ([rows, weight, bias], save) => {
    save([rows!, weight!]);
    return {
      value: tf.fused.matMul({ a: rows as tf.Tensor2D, b: weight as tf.Tensor2D, bias: bias! }),
      gradient: (dy, [rows, weight]) => [tf.matMul(dy, weight!, false, true), tf.matMul(rows!, dy, true, false), tf.sum(dy, 0)],
    };
  });
  return tf.reshape(y, [...x.shape.slice(0, -1), outWidth]);
}

/** Rows of `weight` [rows, width] by `ids` (int32, any shape) → [..ids, width], normalized by `norm`. */
export function embedding(weight: Tensor, ids: Tensor, norm: (rows: Tensor) => Tensor = (rows) => rows): Tensor {
  const width = weight.shape[1]!;
  const flat = tf.reshape(ids, [-1]);
  const padding = paddingRows.get(weight);
  const rows = withGradient([weight], ([weight], save) => {
    save([flat]);
    return {
      value: tf.gather(weight!, flat as tf.Tensor1D),
      gradient: (dy, [flat]) => {
        // An id of -1 belongs to no row, so its gradient is dropped.
        const to = padding === undefined ? flat! : tf.where(tf.equal(flat!, tf.scalar(padding, 'int32')), tf.scalar(-1, 'int32'), flat!);
        return [tf.unsortedSegmentSum(dy, to as tf.Tensor1D, weight!.shape[0]!)];
      },
    };
  });
  const embedded = norm(tf.reshape(rows, [...ids.shape, width]));
  return rowObservers.get(weight)?.(embedded) ?? embedded;
}

/** x [B, T, H] → [B, 1, H], the first token. */
export function firstToken(x: Tensor): Tensor {
  return withGradient([x], ([x]) => ({
    value: tf.slice(x!, [0, 0, 0], [-1, 1, -1]),
    gradient: (dy) => {
      const place = tf.cast(tf.equal(tf.range(0, x!.shape[1]!, 1, 'int32'), tf.scalar(0, 'int32')), 'float32'); // 1, 0, 0 …
      return [tf.mul(dy, tf.reshape(place, [1, -1, 1]))];
    },
  }));
}

/** x [B, T, H] → [B, H], the last token of each row whose `real` [B, T] is 1; the first if there is none. */
export function lastToken(x: Tensor, real: Tensor): Tensor {
  const index = tf.reshape(tf.range(0, x.shape[1]!, 1, 'int32'), [1, -1]); // [1, T]
  const last = tf.max(tf.mul(index, tf.cast(real, 'int32')), 1, true); // [B, 1]
  const picked = tf.cast(tf.equal(index, last), 'float32'); // [B, T]
  return tf.reshape(tf.matMul(tf.expandDims(picked, 1), x), [-1, x.shape[2]!]);
}

/** The first `count` rows of `weight` [rows, width] → [count, width]. */
export const firstRows = (weight: Tensor, count: number): Tensor => embedding(weight, tf.range(0, count, 1, 'int32'));

/** The row of an embedding that gets no lookup gradient; a runtime sets it for the weights of a training. */
export const paddingRows = new WeakMap<Tensor, number>();

const rowObservers = new WeakMap<Tensor, (rows: Tensor) => Tensor>();

/** Runs `f`, in which each `embedding` of `weight` returns what `observe` makes of it. */
export function observingRows<T>(weight: Tensor, observe: (rows: Tensor) => Tensor, f: () => T): T {
  rowObservers.set(weight, observe);
  try {
    return f();
  } finally {
    rowObservers.delete(weight);
  }
}

/** Normalizes the last axis to mean 0 and (biased) variance 1, then scales it and, if there is a beta, shifts it. */
export function layerNorm(x: Tensor, gamma: Tensor, beta: Tensor | undefined, epsilon: number): Tensor {
  const width = x.shape.at(-1)!;
  return withGradient([x, gamma, beta ?? tf.zerosLike(gamma)], ([x, gamma, beta], save) => {
    const [y, mean, inverseDeviation] = normalized(x!, gamma!, beta!, epsilon);
    save([x!, gamma!, mean, inverseDeviation]);
    return {
      value: y,
      gradient: (dy, [x, gamma, mean, inverseDeviation]) => {
        const unit = tf.mul(tf.sub(x!, mean!), inverseDeviation!);
        const dyUnit = tf.mul(dy, unit);
        const rowsOf = (t: Tensor) => tf.reshape(t, [-1, width]);
        // Row means of dy·γ and dy·γ·unit are products with γ/width, without a pass of their own.
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

/** Marks x, which `observe` receives too, as all that the next layer reads of earlier ones: gradient-checkpointing.ts keeps it. */
export function betweenLayers(x: Tensor, observe?: (state: Tensor) => void): Tensor {
  const state = tracing() ? layerEnd(x) : x;
  observe?.(state);
  return state;
}

const layerEnd = (x: Tensor): Tensor =>
  withGradient([x], ([x], save) => {
    save([x!]);
    return { value: kernel('LayerEnd', { x: x! }), gradient: (dy, [x]) => [kernel('LayerEndGradient', { dy, x: x! })] };
  });

/** RMSNorm (Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467): x / √(mean of x² along the last axis + ε), scaled. */
export function rmsNorm(x: Tensor, gamma: Tensor, epsilon: number): Tensor {
  const width = x.shape.at(-1)!;
  return withGradient([x, gamma], ([x, gamma], save) => {
    const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(x!), -1, true), epsilon));
    save([x!, gamma!, inverse]);
    return {
      value: tf.mul(tf.mul(x!, inverse), gamma!),
      gradient: (dy, [x, gamma, inverse]) => {
        const unit = tf.mul(x!, inverse!);
        const dyUnit = tf.mul(dy, unit);
        const rowsOf = (t: Tensor) => tf.reshape(t, [-1, width]);
        // The row mean of dy·γ·unit is a product with γ/width, without a pass of its own.
        const direction = tf.reshape(tf.mul(gamma!, 1 / width), [width, 1]);
        const perRow = tf.reshape(tf.matMul(rowsOf(dyUnit), direction), inverse!.shape);
        return [tf.mul(tf.sub(tf.mul(dy, gamma!), tf.mul(unit, perRow)), inverse!), tf.sum(rowsOf(dyUnit), 0)];
      },
    };
  });
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
    const tanhOf = (x: Tensor, square: Tensor) => tf.tanh(tf.mul(x, tf.add(tf.mul(square, 0.044715 * ROOT_2_PI), ROOT_2_PI)));
    const y = tracing() ? kernel('GeluNew', { x: x! }) : tf.mul(x!, tf.add(tf.mul(tanhOf(x!, tf.square(x!)), 0.5), 0.5));
    // y is kept anyway for the next layer; tanh, which is as wide as the widest layer, is recomputed.
    save([x!, y]);
    return {
      value: y,
      gradient: (dy, [x, y]) => {
        const square = tf.square(x!);
        const tanh = tanhOf(x!, square);
        const slope = tf.add(tf.mul(square, 3 * 0.044715 * ROOT_2_PI), ROOT_2_PI);
        const gate = tf.add(tf.mul(tanh, 0.5), 0.5);
        return [tf.mul(dy, tf.add(gate, tf.mul(tf.mul(y!, tf.sub(1, tanh)), slope)))];
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
  /** ε: the target of each row is 1 − ε for its label, and ε spread over all classes. */
  smoothing?: number;
  /** The weight of each class, float32 [classes]; all 1 by default. */
  classWeights?: Float32Array | undefined;
}

/**
 * Mean over the rows of −log softmax(logits)[label]; rows with the label −100 are ignored. logits [.., classes],
 * labels int32 [..]. With weights and smoothing it is PyTorch's CrossEntropyLoss: a weighted mean, divided by the
 * weights of the labels. `rowWeights` float32 [..] multiply the weights of the rows.
 */
export function crossEntropy(
  logits: Tensor,
  labels: Tensor,
  { smoothing = 0, classWeights }: CrossEntropyOptions = {},
  rowWeights?: Tensor,
): tf.Scalar {
  const classes = logits.shape.at(-1)!;
  const flat = tf.reshape(labels, [-1]);
  return withGradient([tf.reshape(logits, [-1, classes])], ([rows], save) => {
    const logProbabilities = tf.logSoftmax(rows as tf.Tensor2D);
    const read = tf.cast(tf.notEqual(flat, tf.scalar(IGNORE_INDEX, 'int32')), 'float32');
    const counted = rowWeights ? tf.mul(read, tf.reshape(rowWeights, [-1])) : read;
    const label = tf.oneHot(flat as tf.Tensor1D, classes, 1, 0, 'float32'); // all zeros if the label is −100
    const weights = classWeights && tf.tensor(classWeights, [classes, 1]);
    const ofLabel = weights ? tf.reshape(tf.matMul(label, weights), [-1]) : read;
    const weight = rowWeights ? tf.mul(ofLabel, counted) : ofLabel;
    const total = weights || rowWeights ? tf.maximum(tf.sum(weight), TINY) : tf.maximum(tf.sum(weight), 1);
    let target = tf.mul(label, tf.expandDims(tf.div(weight, total), 1)); // [rows, classes]
    let share = tf.div(weight, total); // weight of each row in the mean: the sum of its targets
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

/**
 * The cross-entropy of logits that are a product, states [.., H] · vocabularyᵀ [V, H]; labels int32 [..]. With tens
 * of thousands of classes, one row of logits takes as much memory as a whole layer: they are read twice, and only
 * their softmax is stored in that size. The labels' part of the gradient is a sum of rows, as in a lookup.
 */
export function vocabularyCrossEntropy(
  states: Tensor,
  vocabulary: Tensor,
  labels: Tensor,
  { smoothing = 0 }: Pick<CrossEntropyOptions, 'smoothing'> = {},
): tf.Scalar {
  const [classes, width] = vocabulary.shape as [number, number];
  const { counted, ids } = placesOf(labels);
  return withGradient([tf.reshape(states, [-1, width]), vocabulary], ([rows, vocabulary], save) => {
    const logits = tf.matMul(rows!, vocabulary!, false, true); // [rows, V]
    const share = tf.div(counted, tf.maximum(tf.sum(counted), 1)); // [rows, 1]
    let target = tf.gather(vocabulary!, ids); // [rows, H], whose product with a row is the logit of its label
    if (smoothing > 0) target = tf.add(tf.mul(target, 1 - smoothing), tf.mul(tf.mean(vocabulary!, 0, true), smoothing));
    save([rows!, vocabulary!, logits, target, share, ids]);
    const losses = tf.sub(logSumExp(logits), tf.sum(tf.mul(rows!, target), 1, true)); // [rows, 1]
    return {
      value: tf.sum(tf.mul(share, losses)),
      gradient: (dy, [rows, vocabulary, logits, target, share, ids]) => {
        const probabilities = tf.softmax(logits!);
        const weight = tf.mul(share!, dy); // [rows, 1]
        const dRows = tf.mul(tf.sub(tf.matMul(probabilities, vocabulary!), target!), weight);
        const weighted = tf.mul(rows!, weight); // [rows, H]
        const own = tf.unsortedSegmentSum(tf.mul(weighted, smoothing - 1), ids as tf.Tensor1D, classes);
        let all = tf.matMul(probabilities, weighted, true, false); // [V, H]
        if (smoothing > 0) all = tf.sub(all, tf.mul(tf.sum(weighted, 0, true), smoothing / classes));
        return [dRows, tf.add(all, own)];
      },
    };
  }) as tf.Scalar;
}

/** For each label in one row: −log of its probability, 0 if it is ignored, and the most probable class. No gradient. */
export function vocabularyPredictions(states: Tensor, vocabulary: Tensor, labels: Tensor): { losses: Tensor; predictions: Tensor } {
  const { counted, ids } = placesOf(labels);
  const rows = tf.reshape(states, [-1, vocabulary.shape[1]!]);
  const logits = tf.matMul(rows, vocabulary, false, true); // [rows, V]
  const own = tf.sum(tf.mul(rows, tf.gather(vocabulary, ids)), 1, true);
  return { losses: tf.reshape(tf.mul(counted, tf.sub(logSumExp(logits), own)), [-1]), predictions: tf.argMax(logits, 1) };
}

/** For labels in one row: 1 if the label counts and 0 if it is ignored [rows, 1], and ids that are valid classes [rows]. */
function placesOf(labels: Tensor): { counted: Tensor; ids: tf.Tensor1D } {
  const flat = tf.reshape(labels, [-1]);
  const counted = tf.expandDims(tf.cast(tf.notEqual(flat, tf.scalar(IGNORE_INDEX, 'int32')), 'float32'), 1);
  return { counted, ids: tf.maximum(flat, tf.scalar(0, 'int32')) as tf.Tensor1D };
}

/** log Σ exp x along the last axis, which is kept with size 1. It has no gradient. */
export const logSumExp = (x: Tensor): Tensor => (tracing() ? kernel('LogSumExp', { x }) : tf.logSumExp(x, -1, true));

/** The loss if no label counts. */
const TINY = 1e-30;

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

/**
 * Mean over the rows of temperature² · KL(teacher ‖ student), of softmaxes of logits / temperature (Hinton et al. 2015,
 * https://arxiv.org/abs/1503.02531). Both logits are [rows, classes]; rows with the label −100 are ignored, labels
 * int32 [rows]. The teacher's logits get no gradient.
 */
export function softmaxDivergence(logits: Tensor, teacher: Tensor, labels: Tensor, temperature: number): tf.Scalar {
  const { counted } = placesOf(labels);
  const scaled = (x: Tensor) => tf.logSoftmax((temperature === 1 ? x : tf.div(x, temperature)) as tf.Tensor2D);
  return withGradient([logits], ([logits], save) => {
    const [own, other] = [scaled(logits!), scaled(teacher)];
    const probabilities = tf.exp(other);
    const share = tf.div(counted, tf.maximum(tf.sum(counted), 1)); // [rows, 1]
    save([own, probabilities, share]);
    const rows = tf.sum(tf.mul(probabilities, tf.sub(other, own)), 1, true); // [rows, 1]
    return {
      value: tf.mul(tf.sum(tf.mul(rows, share)), temperature ** 2),
      gradient: (dy, [own, probabilities, share]) => [
        tf.mul(tf.sub(tf.exp(own!), probabilities!), tf.mul(share!, tf.mul(dy, temperature))),
      ],
    };
  }) as tf.Scalar;
}

/** The same for labels that apply or not, independently of each other: the mean over rows and labels of sigmoids' divergence. */
export function sigmoidDivergence(logits: Tensor, teacher: Tensor, temperature: number): tf.Scalar {
  const [own, other] = [tf.div(logits, temperature), tf.div(teacher, temperature)];
  const probabilities = tf.sigmoid(other);
  const divergence = tf.sub(binaryCrossEntropy(own, probabilities), binaryCrossEntropy(other, probabilities));
  return tf.mul(divergence, temperature ** 2);
}

/** Mean of (x − y)² over the vectors [B, T, H] of the tokens whose `real` int32 [B, T] is 1. y gets no gradient. */
export function meanSquaredErrorOfTokens(x: Tensor, y: Tensor, real: Tensor): tf.Scalar {
  const mask = tf.expandDims(tf.cast(real, 'float32'), 2); // [B, T, 1]
  return withGradient([x], ([x], save) => {
    const total = tf.mul(tf.sum(mask), x!.shape[2]!);
    const difference = tf.mul(tf.sub(x!, y), mask);
    save([difference, total]);
    return {
      value: tf.div(tf.sum(tf.square(difference)), total),
      gradient: (dy, [difference, total]) => [tf.mul(difference!, tf.div(tf.mul(dy, 2), total!))],
    };
  }) as tf.Scalar;
}

/** The number of elements of x, computed in the program: in a graph with free axes it is unknown. */
const countOf = (x: Tensor): Tensor => tf.sum(tf.onesLike(x));

export interface AttentionOptions {
  /** Added to the scores [batch, heads, queries, keys], against which it broadcasts; e.g. 0 to keep, finfo.min to mask. */
  mask?: Tensor | undefined;
  /** Dropout of the probabilities. */
  dropout: Dropout;
  rate: number;
  /** Factor of the scores; 1/√(width of a head) by default. */
  scale?: number;
}

/** Multi-head attention: q [batch, queries, width], k and v [batch, keys, width] → [batch, queries, width]. */
export function attention(q: Tensor, k: Tensor, v: Tensor, { heads, ...options }: AttentionOptions & { heads: number }): Tensor {
  return joinHeads(attend(splitHeads(q, heads), splitHeads(k, heads), splitHeads(v, heads), options));
}

/** The same with separate heads: q [batch, heads, queries, d], k and v [batch, heads, keys, d] → [batch, heads, queries, d]. */
export function attend(q: Tensor, k: Tensor, v: Tensor, { mask, dropout, rate, scale }: AttentionOptions): Tensor {
  const scaled = tf.mul(q, scale ?? 1 / Math.sqrt(q.shape[3]!));
  const scores = tf.matMul(scaled, k, false, true); // [batch, heads, queries, keys]
  return tf.matMul(dropout(softmax(scores, mask), rate), v);
}

/** Keys and values of earlier tokens [batch, heads, slots, d], and the mask of their scores. */
export interface Past {
  key: Tensor;
  value: Tensor;
  mask: Tensor;
}

/** Attention of new tokens to earlier ones and to each other, with separate heads: only scores are concatenated, not the cache. */
export function attendWithPast(q: Tensor, k: Tensor, v: Tensor, past: Past, { mask, scale }: Pick<AttentionOptions, 'mask' | 'scale'>) {
  const scaled = tf.mul(q, scale ?? 1 / Math.sqrt(q.shape[3]!));
  const earlier = tf.add(tf.matMul(scaled, past.key, false, true), past.mask); // [batch, heads, queries, slots]
  const fresh = tf.matMul(scaled, k, false, true); // [batch, heads, queries, keys]
  const probabilities = tf.softmax(tf.concat([earlier, mask ? tf.add(fresh, mask) : fresh], 3));
  const [toEarlier, toFresh] = tf.split(probabilities, [past.key.shape[2]!, k.shape[2]!], 3) as [Tensor, Tensor];
  return tf.add(tf.matMul(toEarlier, past.value), tf.matMul(toFresh, v));
}

/** The rotations of the pairs of numbers of a head by position: cos and sin of the angles, [tokens, d / 2] each. */
export interface RotaryTables {
  cos: Tensor;
  sin: Tensor;
}

/** The tables of the positions from 0 on, for heads of `width`. As in PyTorch, angles are products of float32 numbers. */
export function rotaryTables(tokens: number, width: number, theta: number): RotaryTables {
  const frequencies = Float32Array.from({ length: width / 2 }, (_, i) => 1 / Math.fround(theta ** Math.fround((2 * i) / width)));
  const positions = tf.reshape(tf.cast(tf.range(0, tokens, 1, 'int32'), 'float32'), [tokens, 1]);
  const angles = tf.mul(positions, tf.tensor(frequencies, [1, width / 2]));
  return { cos: tf.cos(angles), sin: tf.sin(angles) };
}

/** Rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864): in x [batch, heads, tokens, d], i and i + d / 2 are a pair. */
export function rotate(x: Tensor, { cos, sin }: RotaryTables): Tensor {
  return withGradient([x], ([x], save) => {
    save([cos, sin]);
    return { value: turned(x!, cos, sin), gradient: (dy, [cos, sin]) => [turned(dy, cos!, tf.neg(sin!))] };
  });
}

function turned(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  if (tracing()) return kernel('Rotate', { x, cos, sin });
  const [a, b] = tf.split(x, 2, -1) as [Tensor, Tensor];
  return tf.concat([tf.sub(tf.mul(a, cos), tf.mul(b, sin)), tf.add(tf.mul(b, cos), tf.mul(a, sin))], -1);
}

/** [batch, tokens, width] → [batch, heads, tokens, width of a head]. */
export function splitHeads(t: Tensor, heads: number): Tensor {
  const [batch, tokens, width] = t.shape as [number, number, number];
  return tf.transpose(tf.reshape(t, [batch, tokens, heads, width / heads]), [0, 2, 1, 3]);
}

/** The inverse. */
export function joinHeads(t: Tensor): Tensor {
  const [batch, heads, tokens, width] = t.shape as [number, number, number, number];
  return tf.reshape(tf.transpose(t, [0, 2, 1, 3]), [batch, tokens, heads * width]);
}

/** tf.customGrad for a list of inputs. The gradient needs what it uses to be saved: the forward pass disposes its tensors. */
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
