/** How well a model predicts the tokens of raw rows: rows become tokens as in tokenize, and are measured as in evaluate. */

import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { StepError } from '../../engine/contract/step.ts';
import type { Row } from '../ml/data/database.ts';
import { preprocess } from '../ml/data/preprocessing.ts';
import { quote } from '../ml/data/sql.ts';
import { openRuntime } from '../ml/device/open.ts';
import { loadModel, type Model } from '../ml/models/model-folder.ts';
import { openSplit, SplitWriter, type TokensInfo } from '../ml/models/token-dataset.ts';
import { checkVocabulary } from '../ml/models/tokenizer.ts';
import { cleaningOf, encodingOf, openEncoder } from '../ml/tasks/encoder.ts';
import { evaluateSplit } from '../ml/tasks/evaluation.ts';
import { taskKind } from '../ml/tasks/registry.ts';
import type { Input, Preparation } from '../ml/tasks/task.ts';
import type { Compared, ComparedFigures, ModelOfRows } from './compared.ts';

const BATCH = 32;
const SPLIT = 'compared';

/** A row is one example, however many windows it has. */
export async function tokensOf(own: ModelOfRows, compared: Compared): Promise<ComparedFigures> {
  const { metric, rows, context } = compared;
  const { threads, signal, progress, checkpoints } = context;
  const model = await loadModel(own.bundle.folder, own.bundle.task);
  // Removed with the checkpoints.
  const folder = join(checkpoints, SPLIT);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const info = await writeTokens(folder, model, own, compared);
  const runtime = await openRuntime('auto', { threads });
  const inference = runtime.inference(model.program, model.weights, model.axes);
  const split = await openSplit(folder, info, SPLIT);
  try {
    const measurement = await evaluateSplit((batch) => inference.run(batch), split, info, {
      labels: [],
      problem: model.problem,
      labelIds: new Int32Array(0),
      metrics: [metric],
      batchSize: BATCH,
      masking: { probability: 0.15, vocabulary: model.config.vocab_size },
      signal,
      progress: (done) => progress(done, rows.ids.length, { model: own.name }),
    });
    return { metrics: (some) => ({ [metric]: measurement.metrics(some)[metric]! }) };
  } finally {
    split.close();
    await inference.dispose();
  }
}

async function writeTokens(
  folder: string,
  { config, family, file }: Model,
  { bundle, name, preprocessing }: ModelOfRows,
  { rows, database, context }: Compared,
): Promise<TokensInfo> {
  const { task, encoding: given } = bundle;
  const maxLength = given.max_length ?? family.maxLength(config);
  const text = rows.textOf(bundle, name);
  const prepared: Preparation<Row> = await taskKind(task).prepare({
    database,
    table: rows.table,
    columns: rows.columns,
    // transformers keeps the prefix of input texts in config.json.
    options: {
      ...(typeof file.prefix === 'string' && { prefix: file.prefix }),
      ...given,
      task,
      ...columnsOf(task, text, rows.label),
      max_length: maxLength,
    },
    config,
    maxLength,
    splits: new Map([[SPLIT, rows.ids.length]]),
    split: `'${SPLIT}'`,
    log: context.log,
    warn: (message) => context.warn(`${name}: ${message}`),
  });
  const encoding = { ...prepared.encoding, fields: prepared.fields, max_length: maxLength };
  const encoder = await openEncoder({ folder: bundle.folder, task, encoding, preprocessing, padTokenId: config.pad_token_id });
  checkVocabulary(encoder.tokenizer, config.vocab_size);
  const cleaning = cleaningOf('text', { task, encoding: { fields: { text } }, preprocessing });
  const read = async (inputs: Input[]) => {
    const cleaned = await Promise.all(
      inputs.map(async (input) => ({ text: await preprocess(input.text!, cleaning, encoder.mask?.token) })),
    );
    return (await encoder.read(cleaned)).map((sequences) => {
      if (sequences instanceof StepError) throw sequences;
      return sequences;
    });
  };
  const columns: TokensInfo['columns'] = { input_ids: { per: 'token', dtype: 'int32', width: 1 }, ...prepared.columns };
  const writer = new SplitWriter(folder, SPLIT, columns);
  const selected = Object.entries(prepared.select).map(([column, sql]) => `${sql} AS ${quote(column)}`);
  for await (const chunk of database.stream<Row>(`SELECT ${['id', ...selected].join(', ')} FROM ${rows.table} ORDER BY id`)) {
    context.signal.throwIfAborted();
    for (const { example, sequences, truncated } of await prepared.encode(chunk, read, encoder.tokenizer))
      await writer.add(
        example,
        sequences.map(({ sequence, values }) => ({ ...values, input_ids: sequence.ids })),
        truncated,
      );
  }
  await writer.end();
  prepared.finish?.();
  return {
    task,
    ...encodingOf(encoding),
    labels: [],
    model_type: family.type,
    pad_token_id: config.pad_token_id,
    ...(encoder.mask && { mask_token_id: encoder.mask.id, special_ids: encoder.tokenizer.specialIds }),
    ...(config.decoder_start_token_id !== undefined && { decoder_start_token_id: config.decoder_start_token_id }),
    columns,
    splits: { [SPLIT]: writer.info },
  };
}

/** The columns as options of tokenize. */
function columnsOf(task: string, text: string, label: string | undefined): Record<string, string> {
  if (task === 'seq2seq') return { text, target: label! };
  return label === undefined ? { text } : { prompt: text, completion: label };
}
