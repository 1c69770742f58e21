/** Measures a runtime by a few training steps of a small transformer, with dropout; it takes about two seconds. */
import { attention, crossEntropy, embedding, gelu, layerNorm, linear } from './ops.ts';
import type { HostTensors, Program, Runtime } from './runtime.ts';
import { tf } from './tfjs.ts';

export interface Measured {
  /** The time of a step: the best of a few. */
  milliseconds: number;
  /** The loss after them. */
  loss: number;
}

export async function measure(runtime: Runtime): Promise<Measured> {
  const training = runtime.training(program, initialWeights(), {
    optimizer: { name: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    weight: () => ({ learningRateFactor: 1, weightDecay: 0.01 }),
    maxGradNorm: 1,
  });
  const times: number[] = [];
  let loss = 0;
  for (let step = 0; step < STEPS; step++) {
    const begin = performance.now();
    ({ loss } = await training.step([{ inputs: batch(), share: 1 }], { seed: 1, epoch: 0, step, learningRate: 1e-4 }));
    times.push(performance.now() - begin);
  }
  await training.dispose();
  // The first step includes compilation.
  return { milliseconds: Number(Math.min(...times.slice(1)).toPrecision(3)), loss };
}

const STEPS = 6;
const [ROWS, LENGTH, WIDTH, HEADS, LAYERS, VOCABULARY, CLASSES, RATE] = [16, 64, 256, 4, 2, 4000, 2, 0.1];

const program: Program = (w, { ids, labels }, dropout) => {
  let x = dropout(layerNorm(embedding(w.words!, ids!), w.gamma!, w.beta!, 1e-12), RATE); // [rows, length, width]
  for (let i = 0; i < LAYERS; i++) {
    const [q, k, v] = ['q', 'k', 'v'].map((name) => linear(x, w[`${name}${i}`]!));
    const context = attention(q!, k!, v!, { heads: HEADS, dropout, rate: RATE });
    x = layerNorm(tf.add(x, dropout(linear(context, w[`out${i}`]!), RATE)), w.gamma!, w.beta!, 1e-12);
    const inner = gelu(linear(x, w[`up${i}`]!));
    x = layerNorm(tf.add(x, dropout(linear(inner, w[`down${i}`]!), RATE)), w.gamma!, w.beta!, 1e-12);
  }
  const logits = linear(tf.mean(x, 1), w.classes!);
  return { logits, loss: crossEntropy(logits, labels!) };
};

function initialWeights(): HostTensors {
  const weights: HostTensors = {};
  const add = (name: string, shape: number[], value: (i: number) => number) => {
    const size = shape.reduce((product, n) => product * n, 1);
    weights[name] = { dtype: 'float32', shape, data: Float32Array.from({ length: size }, (_, i) => value(i)) };
  };
  // Uniform over ±0.04, the same on every machine.
  const spread = (i: number) => 0.08 * ((((i + 1) * 0.6180339887) % 1) - 0.5);
  add('words', [VOCABULARY, WIDTH], spread);
  add('gamma', [WIDTH], () => 1);
  add('beta', [WIDTH], () => 0);
  for (let i = 0; i < LAYERS; i++) {
    for (const name of ['q', 'k', 'v', 'out']) add(`${name}${i}`, [WIDTH, WIDTH], spread);
    add(`up${i}`, [4 * WIDTH, WIDTH], spread);
    add(`down${i}`, [WIDTH, 4 * WIDTH], spread);
  }
  add('classes', [CLASSES, WIDTH], spread);
  return weights;
}

function batch(): HostTensors {
  return {
    ids: { dtype: 'int32', shape: [ROWS, LENGTH], data: Int32Array.from({ length: ROWS * LENGTH }, (_, i) => (i * 7919) % VOCABULARY) },
    labels: { dtype: 'int32', shape: [ROWS], data: Int32Array.from({ length: ROWS }, (_, row) => row % CLASSES) },
  };
}
