import { createWriteStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { StepError } from '../../engine/step.ts';
import { classificationMetrics, confusionMatrix } from '../metrics/classification.ts';
import { positiveClass } from '../metrics/positive.ts';
import { listed, loadModel } from '../models/checkpoint.ts';
import { type Predictions, predictSplit } from '../models/predict.ts';
import { sameTokenizer } from '../models/tokenizer.ts';
import { readSplit, readTokensInfo, type TokensInfo } from '../models/tokens.ts';
import { openRuntime } from '../runtime/open.ts';
import type step from './step.ts';

type Context = Parameters<(typeof step)['run']>[0];

export async function evaluate(context: Context): Promise<void> {
  const { options, inputs, outputs, signal, threads, log, metric, progress } = context;
  const info = await readTokensInfo(inputs.tokens);
  const split = await readSplit(inputs.tokens, info, options.split);
  const model = await loadModel(inputs.model, 'text-classification');
  const { labels } = model;
  const names = options.metrics ?? (labels.length === 2 ? BINARY : MULTICLASS);
  const positive = positiveClass(labels, options.positive, names);
  if ((await sameTokenizer(inputs.tokens, inputs.model)) === false) {
    throw new StepError(
      "the tokens were made with another tokenizer than the model's",
      'Evaluate with the tokens that the model was trained on, or their like.',
    );
  }
  const limit = model.family.maxLength(model.config);
  if (info.max_length > limit)
    throw new StepError(`the tokens have a max_length of ${info.max_length}, and the model takes ${limit} tokens`);
  split.labels = intoModel(split.labels, info, labels);

  const runtime = await openRuntime(options.runtime, { threads });
  log(`runtime: ${runtime.description}`);
  const inference = runtime.inference(model.program, model.weights);
  let predictions: Predictions;
  try {
    predictions = await predictSplit((batch) => inference.run(batch), split, {
      classes: labels.length,
      batchSize: options.batch_size,
      padding: info.pad_token_id,
      signal,
      progress: (rows) => progress(rows, split.labels.length),
    });
  } finally {
    await inference.dispose();
  }
  if (!Number.isFinite(predictions.loss))
    throw new StepError('the model gives scores that are not numbers', 'Its training diverged: train it again with a lower learning_rate.');

  const classified = { ...predictions, positive };
  const metrics = classificationMetrics(classified, names);
  for (const [name, value] of Object.entries(metrics)) metric(name, value);
  const report = {
    split: options.split,
    rows: split.labels.length,
    metrics,
    labels,
    ...(positive === undefined ? {} : { positive: labels[positive]! }),
    confusion_matrix: confusionMatrix(classified),
  };
  await writeFile(outputs.metrics!, `${JSON.stringify(report, null, 2)}\n`);
  await pipeline(Readable.from(lines(split.ids, labels, predictions)), createWriteStream(outputs.predictions!));
}

const BINARY = ['accuracy', 'precision', 'recall', 'f1'];
const MULTICLASS = ['accuracy', 'macro_precision', 'macro_recall', 'macro_f1'];

/** The tokens' labels as the model numbers them: it may have been trained on others' tokens. */
function intoModel(ids: Int32Array, info: TokensInfo, labels: string[]): Int32Array {
  const unknown = info.labels.filter((name) => !labels.includes(name));
  if (unknown.length > 0) {
    throw new StepError(`the model knows no label ${listed(unknown)}, which the tokens have`, `It tells apart ${listed(labels)}.`);
  }
  return ids.map((id) => labels.indexOf(info.labels[id]!));
}

function* lines(ids: string[], labels: string[], { truth, predicted, scores }: Predictions): Generator<string> {
  for (const [i, id] of ids.entries()) {
    // Logits have seven digits: more of a probability would be noise.
    const rounded = Object.fromEntries(labels.map((label, k) => [label, Number(scores[i]![k]!.toPrecision(8))]));
    yield `${JSON.stringify({ id, label: labels[truth[i]!], predicted: labels[predicted[i]!], scores: rounded })}\n`;
  }
}
