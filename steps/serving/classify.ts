/** Raw text to labels and scores: decode and clean, tokenize, run the model, softmax. What else is in the batch makes no difference to a text. */
import * as ort from 'onnxruntime-node';
import { StepError } from '../../engine/step.ts';
import { preprocess } from '../data/preprocessing.ts';
import { openTokenizer, type Tokenized } from '../models/tokenizer.ts';
import type { Bundle } from './bundle.ts';

export interface Prediction {
  /** The most probable label. */
  label: string;
  /** The probability of every label. */
  scores: Record<string, number>;
}

/** @param threads cores of the matrix products */
export async function openClassifier(bundle: Bundle, threads: number): Promise<(texts: string[]) => Promise<Prediction[]>> {
  const { preprocessing, labels } = bundle;
  const tokenizer = await openTokenizer(bundle.folder, bundle.maxLength);
  const session = await openSession(bundle, threads);

  return async (texts) => {
    const rows = await tokenizer.encode(preprocessing ? await preprocess(texts, preprocessing) : texts);
    const predictions = new Array<Prediction>(texts.length);
    for (const batch of batchesByLength(rows)) {
      const logits = await runModel(
        session,
        batch.map((i) => rows[i]!),
        bundle,
      );
      for (const [at, i] of batch.entries())
        predictions[i] = predictionOf(logits.subarray(at * labels.length, (at + 1) * labels.length), labels);
    }
    return predictions;
  };
}

/** What the exported models of Hugging Face and ours read. */
const knownInputs = ['input_ids', 'attention_mask', 'token_type_ids'];

async function openSession({ model, folder, labels }: Bundle, threads: number): Promise<ort.InferenceSession> {
  const options: ort.InferenceSession.SessionOptions = {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Plans memory for each shape it meets, and here every batch has its own.
    enableMemPattern: false,
    logSeverityLevel: 3,
  };
  let session: ort.InferenceSession;
  try {
    session = await (typeof model === 'string' ? ort.InferenceSession.create(model, options) : ort.InferenceSession.create(model, options));
  } catch (error) {
    const reason = (error as Error).message.split('\n', 1)[0];
    throw new StepError(
      `the ONNX model of ${folder} cannot be opened: ${reason}`,
      'Was onnx/model.onnx cut off? Copy or deploy the bundle again.',
    );
  }
  const unknown = session.inputNames.find((name) => !knownInputs.includes(name));
  if (unknown) throw new StepError(`the ONNX model of ${folder} wants the input ${unknown}`, `Supported: ${knownInputs.join(', ')}.`);
  const logits = session.outputMetadata.find(({ name }) => name === 'logits');
  if (!logits?.isTensor) throw new StepError(`the ONNX model of ${folder} has no output "logits"`, 'Export it for text classification.');
  const width = logits.shape.at(-1);
  if (typeof width === 'number' && width !== labels.length)
    throw new StepError(
      `the ONNX model of ${folder} tells ${width} labels apart, and config.json names ${labels.length}`,
      'Deploy the model again.',
    );
  return session;
}

/** Tokens of one run, padding included: few enough to stay in the processor's caches. */
const mostTokens = 4096;

/** Indices of rows that run together: of about one length, since all are padded to the longest. */
function batchesByLength(rows: Tokenized[]): number[][] {
  const order = rows.map((_, i) => i).sort((a, b) => rows[a]!.ids.length - rows[b]!.ids.length);
  const batches: number[][] = [];
  let batch: number[] = [];
  for (const i of order) {
    if (batch.length > 0 && (batch.length + 1) * rows[i]!.ids.length > mostTokens) {
      batches.push(batch);
      batch = [];
    }
    batch.push(i);
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

/** Logits [rows, labels]. */
async function runModel(session: ort.InferenceSession, rows: Tokenized[], { padTokenId }: Bundle): Promise<Float32Array> {
  const width = Math.max(1, ...rows.map(({ ids }) => ids.length));
  const integers = (valueAt: (ids: number[], i: number) => number) => {
    // int64, written as pairs of int32: ten times as fast as through BigInt.
    const words = new Int32Array(2 * rows.length * width);
    for (const [row, { ids }] of rows.entries()) for (let i = 0; i < width; i++) words[2 * (row * width + i)] = valueAt(ids, i);
    return new ort.Tensor('int64', new BigInt64Array(words.buffer), [rows.length, width]);
  };
  const inputs: Record<string, () => ort.Tensor> = {
    input_ids: () => integers((ids, i) => ids[i] ?? padTokenId),
    attention_mask: () => integers((ids, i) => (i < ids.length ? 1 : 0)),
    token_type_ids: () => integers(() => 0),
  };
  const { logits } = await session.run(Object.fromEntries(session.inputNames.map((name) => [name, inputs[name]!()])));
  return logits!.data as Float32Array;
}

function predictionOf(logits: Float32Array, labels: string[]): Prediction {
  const highest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - highest));
  const sum = powers.reduce((a, b) => a + b);
  // A logit has 7 digits: more of a probability would be noise.
  const scores = labels.map((label, id) => [label, Number((powers[id]! / sum).toPrecision(8))] as const);
  return { label: labels[logits.indexOf(highest)]!, scores: Object.fromEntries(scores) };
}
