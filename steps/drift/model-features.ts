/** What the model says about texts: their tokens, their embeddings and its predictions. */
import { type Json, StepError } from '../../engine/contract/step.ts';
import { answerAll, inGroups } from '../ml/answering/answer-all.ts';
import { type Bundle, openBundle } from '../ml/answering/bundle.ts';
import { type Preprocessing, preprocess, remainingSteps, stepsOf } from '../ml/data/preprocessing.ts';
import { openRuntime } from '../ml/device/open.ts';
import { teacherProgram } from '../ml/models/family.ts';
import { loadModel, type Model } from '../ml/models/model-folder.ts';
import { openTokenizer, type Sequence } from '../ml/models/tokenizer.ts';
import type { HostTensors, Inference } from '../ml/runtime/runtime.ts';
import { openEncoder } from '../ml/tasks/encoder.ts';
import type { Input } from '../ml/tasks/task.ts';

export interface ModelReader {
  bundle: Bundle;
  /** The texts of rows as the model reads them. `texts`: preprocessed as the reference. */
  inputs(texts: readonly string[][]): Promise<Input[]>;
}

/** `reference`: the preprocessing of the reference. @throws StepError if the model does not read as many texts as the rows have */
export async function openReader(folder: string, reference: Preprocessing, columns: number): Promise<ModelReader> {
  const bundle = await openBundle(folder);
  const fields = bundle.fields.filter(({ group }) => !group);
  const required = fields.filter(({ optional }) => !optional).length;
  if (columns < required || columns > fields.length)
    throw new StepError(
      `the model reads ${fields.map(({ name }) => name).join(' and ')}, but \`text\` names ${columns} ${columns === 1 ? 'column' : 'columns'}`,
      'Set `text` to the columns that the model reads, in their order, or leave `model` out.',
      ['text'],
    );
  const remaining = remainingSteps(bundle.preprocessing, reference);
  const cleaning = fields.map(({ name }) => stepsOf(remaining, bundle.encoding.fields?.[name] ?? name));
  return {
    bundle: { ...bundle, preprocessing: [] },
    inputs: (texts) =>
      Promise.all(
        texts.map(async (row) =>
          Object.fromEntries(await Promise.all(row.map(async (text, k) => [fields[k]!.name, await preprocess(text, cleaning[k]!)]))),
        ),
      ),
  };
}

export interface TokenCounts {
  tokens: Float64Array;
  /** The share of unknown tokens of each text, or why there is none. */
  unknown: Float64Array | string;
}

/** Without special tokens and without truncation. */
export async function countTokens({ bundle }: ModelReader, inputs: readonly Input[]): Promise<TokenCounts> {
  const tokenizer = await openTokenizer(bundle.folder, {});
  const tokens = new Float64Array(inputs.length);
  const unknown = new Float64Array(inputs.length);
  let row = 0;
  for (const group of inGroups(inputs)) {
    for (const own of await Promise.all(group.map(async (input) => (await tokenizer.encode(Object.values(input))).map(ofText)))) {
      const ids = own.flat();
      tokens[row] = ids.length;
      unknown[row++] = ids.length === 0 ? 0 : ids.filter((id) => id === tokenizer.unknownId).length / ids.length;
    }
  }
  return {
    tokens,
    unknown: tokenizer.unknownId === undefined ? 'the tokenizer of the model has no unknown token: it can write every text' : unknown,
  };
}

const ofText = ({ ids, sequenceIds }: Sequence): number[] => ids.filter((_, i) => sequenceIds[i] !== null);

/** The labels that the model predicts; undefined for an input that it cannot read. Or why it predicts none. */
export async function predictLabels(
  { bundle }: ModelReader,
  inputs: readonly Input[],
  options: { threads: number; signal: AbortSignal },
): Promise<(string | undefined)[] | string> {
  if (bundle.task !== 'text-classification') return `the model is for ${bundle.task}, which predicts no label of a text`;
  if (bundle.problem !== 'single_label_classification')
    return bundle.problem === 'regression' ? 'the model predicts numbers' : 'the model predicts several labels for a text';
  // Thresholds of groups do not apply, because rows have no group here.
  const labels: (string | undefined)[] = [];
  for await (const group of answerAll(bundle, inGroups(inputs), options))
    labels.push(...group.map((answer) => (answer instanceof StepError ? undefined : String((answer as Record<string, Json>).label))));
  return labels;
}

/** The mean of the last hidden states of each text, or why there is none. */
export async function embed(
  { bundle }: ModelReader,
  inputs: readonly Input[],
  { threads, signal }: { threads: number; signal: AbortSignal },
): Promise<Float32Array[] | string> {
  if (bundle.task !== 'text-classification' && bundle.task !== 'masked-lm')
    return `the embeddings of a model for ${bundle.task} are not read`;
  const model = await loadModel(bundle.folder).catch((error: Error) => {
    // A folder from elsewhere may have an ONNX model and no weights.
    if (error instanceof StepError) return error.message;
    throw error;
  });
  if (typeof model === 'string') return model;
  const encoder = await openEncoder({ ...bundle, encoding: { max_length: model.family.maxLength(model.config), ...bundle.encoding } });
  const read = (await encoder.read([...inputs])).map((own) => (own instanceof StepError ? undefined : own[0]));
  const unread = read.filter((sequence) => sequence === undefined).length;
  if (unread > 0) return `the model cannot read ${unread} of the texts`;
  const sequences = read as Sequence[];
  const order = [...sequences.keys()].sort((a, b) => sequences[a]!.ids.length - sequences[b]!.ids.length);
  const program = teacherProgram(model, { logits: true, states: [], pooled: true });
  const inference = (await openRuntime('onnx', { threads })).inference(program, model.weights, model.axes);
  const embeddings: Float32Array[] = new Array(sequences.length);
  try {
    for (const group of inGroups(order, BATCH)) {
      signal.throwIfAborted();
      const pooled = await pooledOf(
        inference,
        group.map((i) => sequences[i]!),
        model,
      );
      const width = pooled.length / group.length;
      for (const [k, i] of group.entries()) embeddings[i] = pooled.slice(k * width, (k + 1) * width);
    }
  } finally {
    await inference.dispose();
  }
  return embeddings;
}

const BATCH = 16;

async function pooledOf(inference: Inference, sequences: Sequence[], { config, family }: Model): Promise<Float32Array> {
  const width = Math.max(...sequences.map(({ ids }) => ids.length));
  const rows = (valuesOf: (sequence: Sequence) => readonly number[], padding: number) => ({
    dtype: 'int32' as const,
    shape: [sequences.length, width],
    data: Int32Array.from(
      { length: sequences.length * width },
      (_, at) => valuesOf(sequences[Math.floor(at / width)]!)[at % width] ?? padding,
    ),
  });
  const inputs: HostTensors = {
    input_ids: rows(({ ids }) => ids, config.pad_token_id ?? 0),
    attention_mask: rows(({ ids }) => ids.map(() => 1), 0),
    ...(family.typed(config) && { token_type_ids: rows(({ typeIds }) => typeIds, 0) }),
  };
  const { pooled } = await inference.run(inputs);
  return pooled!.data as Float32Array;
}
