/** A small BERT for the tests of the runtimes, independent of steps/models. */
import * as ops from '../../../../steps/ml/runtime/ops.ts';
import type { Axes, HostTensor, HostTensors, Program } from '../../../../steps/ml/runtime/runtime.ts';
import { tf } from '../../../../steps/ml/runtime/tfjs.ts';

export interface ToyConfig {
  vocabulary: number;
  positions: number;
  hidden: number;
  layers: number;
  heads: number;
  ffn: number;
  classes: number;
  dropout: number;
}

export const tiny: ToyConfig = { vocabulary: 50, positions: 16, hidden: 16, layers: 2, heads: 2, ffn: 32, classes: 3, dropout: 0.1 };

export const toyAxes: Axes = { ids: ['batch', 'length'], types: ['batch', 'length'], mask: ['batch', 'length'], labels: ['batch'] };

/** Inputs: ids, types, mask (1 = token), labels. */
export function toyProgram(config: ToyConfig): Program {
  return (w, { ids, types, mask, labels }, dropout) => {
    const length = ids!.shape[1]!;
    const norm = (x: tf.Tensor, name: string) => ops.layerNorm(x, w[`${name}.weight`]!, w[`${name}.bias`]!, 1e-12);
    const linear = (x: tf.Tensor, name: string) => ops.linear(x, w[`${name}.weight`]!, w[`${name}.bias`]!);
    const positions = ops.firstRows(w['position.weight']!, length);
    const embedded = tf.add(tf.add(ops.embedding(w['word.weight']!, ids!), ops.embedding(w['type.weight']!, types!)), positions);
    let x = dropout(norm(embedded, 'norm'), config.dropout); // [batch, length, hidden]
    const keep = tf.expandDims(tf.expandDims(tf.cast(mask!, 'float32'), 1), 1); // [batch, 1, 1, length]
    const additive = tf.mul(tf.sub(1, keep), -3.4028234663852886e38);
    for (let i = 0; i < config.layers; i++) {
      const part = (name: string) => `layer.${i}.${name}`;
      const [q, k, v] = ['query', 'key', 'value'].map((name) => linear(x, part(name)));
      const context = ops.attention(q!, k!, v!, { heads: config.heads, mask: additive, dropout, rate: config.dropout });
      x = norm(tf.add(x, dropout(linear(context, part('attention')), config.dropout)), part('attention.norm'));
      const inner = ops.gelu(linear(x, part('intermediate')));
      x = norm(tf.add(x, dropout(linear(inner, part('output')), config.dropout)), part('output.norm'));
    }
    const first = tf.reshape(ops.firstToken(x), [-1, config.hidden]);
    const pooled = dropout(tf.tanh(linear(first, 'pooler')), config.dropout);
    const logits = linear(pooled, 'classifier');
    const outputs: Record<string, tf.Tensor> = { logits };
    if (labels) outputs.loss = ops.crossEntropy(logits, labels);
    return outputs;
  };
}

export function toyWeights({ vocabulary, positions, hidden, layers, ffn, classes }: ToyConfig): HostTensors {
  const random = generator(1);
  const weights: HostTensors = {};
  const normal = (name: string, ...shape: number[]) => {
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
      return 0.05 * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    });
    weights[name] = { dtype: 'float32', shape, data };
  };
  const linear = (name: string, out: number, width: number) => {
    normal(`${name}.weight`, out, width);
    normal(`${name}.bias`, out);
  };
  const norm = (name: string) => {
    normal(`${name}.weight`, hidden);
    normal(`${name}.bias`, hidden);
    const { data } = weights[`${name}.weight`]!;
    for (let i = 0; i < hidden; i++) data[i]! += 1;
  };
  normal('word.weight', vocabulary, hidden);
  normal('position.weight', positions, hidden);
  normal('type.weight', 2, hidden);
  norm('norm');
  for (let i = 0; i < layers; i++) {
    for (const name of ['query', 'key', 'value', 'attention']) linear(`layer.${i}.${name}`, hidden, hidden);
    norm(`layer.${i}.attention.norm`);
    linear(`layer.${i}.intermediate`, ffn, hidden);
    linear(`layer.${i}.output`, hidden, ffn);
    norm(`layer.${i}.output.norm`);
  }
  linear('pooler', hidden, hidden);
  linear('classifier', classes, hidden);
  return weights;
}

/** Ids repeat, and the second half of the last row is padding (id 0). */
export function toyBatch({ vocabulary, classes }: ToyConfig, batch: number, length: number, seed = 1): HostTensors {
  const random = generator(seed);
  const int32 = (shape: number[], f: (i: number) => number): HostTensor => ({
    dtype: 'int32',
    shape,
    data: Int32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => f(i)),
  });
  const padded = (i: number) => i >= batch * length - length / 2;
  return {
    ids: int32([batch, length], (i) => (padded(i) ? 0 : 1 + Math.floor(random() ** 2 * (vocabulary - 1)))),
    types: int32([batch, length], (i) => Number(i % length > length / 2)),
    mask: int32([batch, length], (i) => Number(!padded(i))),
    labels: int32([batch], () => Math.floor(random() * classes)),
  };
}

export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
