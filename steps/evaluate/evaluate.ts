/** Tokens of a split and a model → what it predicts, row by row → metrics. A seq2seq model also writes, where a metric is about texts. */
import { open, writeFile } from 'node:fs/promises';
import { StepError } from '../../engine/step.ts';
import { writtenTexts } from '../generation/written.ts';
import { positiveClass } from '../metrics/positive.ts';
import { listed, loadModel } from '../models/checkpoint.ts';
import { sameTokenizer } from '../models/tokenizer.ts';
import { openSplit, readTokensInfo, type TokensInfo } from '../models/tokens.ts';
import { openRuntime } from '../runtime/open.ts';
import { evaluateSplit } from '../tasks/evaluation.ts';
import { meansNothing } from '../tasks/foresight.ts';
import { evaluationMetrics } from '../tasks/registry.ts';
import { differencesFromTraining } from './as-trained.ts';
import type step from './step.ts';

type Context = Parameters<(typeof step)['run']>[0];

export async function evaluate(context: Context): Promise<void> {
  const { options, inputs, outputs, signal, threads, log, warn, metric, progress } = context;
  const info = await readTokensInfo(inputs.tokens);
  const split = await openSplit(inputs.tokens, info, options.split);
  const model = await loadModel(inputs.model, info.task);
  const { labels, problem, config } = model;
  if (info.problem_type && info.problem_type !== problem)
    throw new StepError(
      `the model was trained for ${problem}, and the tokens are of ${info.problem_type}`,
      'Give the tokens that it was trained on, or their like.',
    );
  const { names, ofTexts } = evaluationMetrics(info.task, problem, labels, options.metrics);
  if (options.generation && ofTexts.length === 0)
    throw new StepError('nothing that is to be measured is about texts that the model writes', 'Leave `generation` out.', ['generation']);
  const positive =
    info.task === 'text-classification' && problem === 'single_label_classification'
      ? positiveClass(labels, options.positive, names)
      : refusePositive(info, options.positive);
  if ((await sameTokenizer(inputs.tokens, inputs.model)) === false) {
    throw new StepError(
      "the tokens were made with another tokenizer than the model's",
      'Evaluate with the tokens that the model was trained on, or their like.',
    );
  }
  const limit = model.family.maxLength(config);
  if (info.max_length > limit)
    throw new StepError(`the tokens have a max_length of ${info.max_length}, and the model takes ${limit} tokens`);

  const differences = await differencesFromTraining(info, inputs as { tokens: string; model: string });
  if (differences.length > 0)
    warn(
      `these tokens are read otherwise than the model was trained, and than predict, generate and serve read texts: ${differences.join('; ')}`,
    );

  const runtime = await openRuntime(options.runtime, { threads, device: options.device });
  log(`runtime: ${runtime.description}`);
  const written =
    ofTexts.length === 0
      ? undefined
      : await writtenTexts(runtime, split, info, {
          model,
          folders: { own: inputs.model, tokenizer: inputs.model },
          metrics: ofTexts,
          asked: options.generation ?? {},
          batchSize: options.batch_size,
          signal,
          progress: (rows) => progress(rows, split.rows, { texts: 'written' }),
        });
  const inference = runtime.inference(model.program, model.weights, model.axes);
  const predictions = await open(outputs.predictions!, 'w');
  let lines: string[] = [];
  let place = 0;
  const write = async () => {
    await predictions.appendFile(lines.join(''));
    lines = [];
  };
  try {
    const { metrics, report, warnings } = await evaluateSplit((batch) => inference.run(batch), split, info, {
      labels,
      problem,
      labelIds: intoModel(info, labels),
      metrics: names,
      positive,
      batchSize: options.batch_size,
      masking: { probability: 0.15, vocabulary: config.vocab_size },
      signal,
      progress: (rows) => progress(rows, split.rows),
      line: async (line) => {
        lines.push(`${JSON.stringify({ ...line, ...written?.texts[place++] })}\n`);
        if (lines.length === 1000) await write();
      },
    });
    await write();
    for (const warning of warnings) warn(warning);
    const asked = { ...written?.metrics, ...Object.fromEntries(names.map((name) => [name, metrics[name]!])) };
    for (const [name, value] of Object.entries(asked)) metric(name, value);
    // A perplexity means little without how much a token could see before it.
    const block = names.includes('perplexity') ? { block_length: info.max_target_length ?? info.max_length } : {};
    const all = { split: options.split, rows: split.rows, metrics: asked, ...block, ...report, ...written?.report };
    await writeFile(outputs.metrics!, `${JSON.stringify(all, null, 2)}\n`);
  } finally {
    await predictions.close();
    split.close();
    await inference.dispose();
  }
}

function refusePositive(info: TokensInfo, positive: string | undefined): undefined {
  if (positive === undefined) return;
  const { message, hint } = meansNothing(info.task, info.problem_type);
  throw new StepError(message, hint, ['positive']);
}

/** The tokens' labels as the model numbers them: it may have been trained on others' tokens. */
function intoModel(info: TokensInfo, labels: string[]): Int32Array {
  // The one number of a regression has no name to go by.
  if (info.problem_type === 'regression') return Int32Array.of(0);
  const unknown = info.labels.filter((name) => !labels.includes(name));
  if (unknown.length > 0) {
    throw new StepError(`the model knows no label ${listed(unknown)}, which the tokens have`, `It tells apart ${listed(labels)}.`);
  }
  return Int32Array.from(info.labels, (name) => labels.indexOf(name));
}
