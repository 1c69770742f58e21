/**
 * Token attributions of a text classifier: how much each token of a text raises or lowers the logit of a label. They are
 * gradient × input of the word embeddings, summed over the hidden dimension, as Captum's InputXGradient computes them.
 * The input is the output of the lookup: embeddings of positions and types are not part of it, and there is no dropout.
 * In ModernBERT it is the output of the norm that follows the lookup: this norm takes out the length of a row, so that gradient × row is 0
 * for every token.
 */

import { StepError } from '../../../engine/contract/step.ts';
import { readPreprocessing } from '../data/preprocessing.ts';
import { vocabularyWeights } from '../models/family.ts';
import type { Model } from '../models/model-folder.ts';
import type { Sequence } from '../models/tokenizer.ts';
import { observingRows } from '../runtime/ops.ts';
import type { Axes, HostTensors, Inference, Program, Runtime } from '../runtime/runtime.ts';
import { tf } from '../runtime/tfjs.ts';
import { openEncoder, readEncoding } from '../tasks/encoder.ts';
import type { Input } from '../tasks/task.ts';

/** A token, with what it adds to the logit. */
export interface AttributedToken {
  /** 0 in the first text, 1 in the second, null for special tokens. */
  text: number | null;
  /** Its range in its text, in UTF-16 code units; empty for special tokens and if the tokenizer knows no ranges. */
  span: readonly [begin: number, end: number];
  token: string;
  value: number;
}

/** The attributions of an input to the logit of a label. */
export interface Attribution {
  tokens: AttributedToken[];
  /** The logit of the label. */
  logit: number;
  /** Whether the input was longer than what the model reads. */
  truncated: boolean;
}

/** What is to be explained: a cleaned input, as the tokens of the model were made of it, and the index of a label. */
export interface Explained {
  input: Input;
  label: number;
}

/**
 * The program whose outputs are `attributions` [B, T] and `score`, the sum of the chosen logits. Besides the inputs of the model's program it takes
 * `chosen` float32 [B, labels], which is 1 for the logit of each row and 0 elsewhere.
 */
export function attributionProgram({ family, config, program }: Pick<Model, 'family' | 'config' | 'program'>): Program {
  const [words] = vocabularyWeights(family.parameters, config);
  return (weights, { chosen, ...inputs }) => {
    const logits = (onRows: (rows: tf.Tensor) => tf.Tensor) =>
      observingRows(weights[words!]!, onRows, () => program(weights, inputs, (x) => x).logits!);
    let rows: tf.Tensor; // [B, T, E]
    logits((found) => (rows = found)); // A graph keeps only the lookup of this pass.
    const { value, grad } = tf.valueAndGrad((x: tf.Tensor) =>
      tf.sum(
        tf.mul(
          logits(() => x),
          chosen!,
        ),
      ),
    )(rows!);
    return { attributions: tf.sum(tf.mul(grad, rows!), -1), score: value };
  };
}

/** The axes of its inputs. */
export const attributionAxes = ({ axes, labels }: Pick<Model, 'axes' | 'labels'>): Axes => ({
  ...axes,
  chosen: ['batch', Math.max(1, labels.length)],
});

/**
 * Attributions of each input. Inputs that the model cannot read have none. @throws StepError if the model does not classify texts
 */
export async function attribute(
  runtime: Runtime,
  { folder, model }: { folder: string; model: Model },
  explained: readonly Explained[],
  signal?: AbortSignal,
): Promise<(Attribution | undefined)[]> {
  if (model.task !== 'text-classification')
    throw new StepError(`token attributions exist only for text-classification, not for ${model.task}`);
  const encoding = await readEncoding(folder);
  const encoder = await openEncoder({
    folder,
    task: model.task,
    encoding: { max_length: model.family.maxLength(model.config), ...encoding },
    preprocessing: await readPreprocessing(folder),
    padTokenId: model.config.pad_token_id,
  });
  const read = await encoder.read(explained.map(({ input }) => input));
  const inference = runtime.inference(attributionProgram(model), model.weights, attributionAxes(model));
  const results: (Attribution | undefined)[] = [];
  try {
    for (const [i, { label }] of explained.entries()) {
      signal?.throwIfAborted();
      const sequence = read[i]!;
      results.push(
        sequence instanceof StepError
          ? undefined
          : await one(inference, sequence[0]!, label, model, (id) => encoder.tokenizer.decodeToken(id)),
      );
    }
  } finally {
    await inference.dispose();
  }
  return results;
}

/** Each sequence alone: there are few, their lengths differ, and so none needs padding. */
async function one(
  inference: Inference,
  sequence: Sequence,
  label: number,
  { labels, family, config }: Model,
  decode: (id: number) => Promise<string>,
): Promise<Attribution> {
  const length = sequence.ids.length;
  const chosen = new Float32Array(Math.max(1, labels.length));
  chosen[label] = 1;
  const row = (values: ArrayLike<number>) => ({ dtype: 'int32' as const, shape: [1, length], data: Int32Array.from(values) });
  const inputs: HostTensors = {
    input_ids: row(sequence.ids),
    attention_mask: row(new Int32Array(length).fill(1)),
    ...(family.typed(config) && { token_type_ids: row(sequence.typeIds) }),
    chosen: { dtype: 'float32', shape: [1, chosen.length], data: chosen },
  };
  const { attributions, score } = await inference.run(inputs);
  const tokens = sequence.ids.map(async (id, i) => ({
    text: sequence.sequenceIds[i]!,
    span: sequence.spans[i]!,
    token: await decode(id),
    value: attributions!.data[i]!,
  }));
  return { tokens: await Promise.all(tokens), logit: score!.data[0]!, truncated: sequence.truncated };
}
