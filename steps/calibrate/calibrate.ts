/**
 * Calibrates a classifier: the logits of the validation split → a temperature → thresholds on the calibrated scores → the model
 * with calibration.json, which evaluate, predict and serve apply.
 */

import { constants } from 'node:fs';
import { cp, writeFile } from 'node:fs/promises';
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { namesOf } from '../ml/data/table.ts';
import { openRuntime } from '../ml/device/open.ts';
import { meanOver } from '../ml/metrics/counts.ts';
import { probabilityOf } from '../ml/metrics/multi-label.ts';
import { calibrationError } from '../ml/metrics/reliability.ts';
import { classificationMetrics, positiveClass } from '../ml/metrics/text-classification.ts';
import { hasCalibration, type ModelCalibration, writeCalibration } from '../ml/models/calibration.ts';
import { loadModel, type Model } from '../ml/models/model-folder.ts';
import { openSplit, readTokensInfo, type Split, type TokensInfo } from '../ml/models/token-dataset.ts';
import { checkFit, intoModel } from '../ml/tasks/fit.ts';
import { readGroups } from '../ml/tasks/groups.ts';
import { taskKind } from '../ml/tasks/registry.ts';
import { type FittedThresholds, fitThresholds, type Grouping, reasons } from './fit-thresholds.ts';
import { tooManyLabels, unfitFor } from './foresee.ts';
import { readLogits } from './logits.ts';
import type step from './step.ts';
import { fitTemperature, probabilitiesOf, type Scored } from './temperature.ts';
import { aimOf } from './thresholds.ts';

type Context = ContextOf<typeof step>;

export async function calibrate(context: Context): Promise<void> {
  const { options, inputs, outputs, signal, threads, log, warn, progress } = context;
  const info = await readTokensInfo(inputs.tokens);
  const unfit = unfitFor(info.task, info.problem_type ?? 'single_label_classification');
  if (unfit) throw new StepError(unfit.message, unfit.hint);
  const model = await loadModel(inputs.model, info.task);
  await checkFit(info, model, inputs);
  const sharing = labelsWithThresholds(model, options);
  const labelIds = intoModel(info, model.labels);
  const split = await openSplit(inputs.tokens, info, options.split);
  try {
    const grouping = await groupingOf(context, info, split);
    const runtime = await openRuntime(options.runtime, { threads, device: options.device });
    log(`runtime: ${runtime.description}`);
    const scored = await readLogits(runtime, model, split, info, {
      batchSize: options.batch_size,
      labelIds,
      signal,
      progress: (rows) => progress(rows, split.rows),
    });
    refuseOneClass(scored, model, options.split);
    const temperature = temperatureOf(scored, options, warn);
    const probabilities = probabilitiesOf(scored, temperature);
    const thresholds =
      options.threshold && fitThresholds({ labels: model.labels, scored, probabilities, sharing }, aimOf(options.threshold), grouping);
    for (const [missing, fallback] of [
      [thresholds?.missing, 'their labels are predicted from 0.5 on'],
      [thresholds?.missingForGroups, 'they have the thresholds of all rows'],
    ] as const)
      if (missing && Object.keys(missing).length > 0) warn(`no threshold of their own have ${reasons(missing)}; ${fallback}`);
    const quality = { before: qualityOf(scored, probabilitiesOf(scored, 1)), after: qualityOf(scored, probabilities) };
    const calibration: ModelCalibration = {
      temperature,
      ...(thresholds && { thresholds: thresholds.thresholds }),
      ...(grouping && { group: grouping.column, ...grouping.reading, group_thresholds: thresholds?.group_thresholds }),
      fitted_on: options.split,
      rows: split.rows,
      ece: { before: quality.before.ece!, after: quality.after.ece! },
    };
    if (hasCalibration(inputs.model)) log('the calibration.json of the model is replaced');
    // Links of a hub's cache would not outlive it.
    await cp(inputs.model, outputs.model, { recursive: true, dereference: true, mode: constants.COPYFILE_FICLONE });
    await writeCalibration(outputs.model, calibration);
    await report(context, calibration, { quality, thresholds });
  } finally {
    split.close();
  }
}

/** The labels that get thresholds, as lists of indices that share one. */
function labelsWithThresholds({ labels, problem }: Model, { threshold, positive, per_label }: Context['options']): number[][] {
  if (problem === 'multi_label_classification') {
    if (positive !== undefined)
      throw new StepError('`positive` does not apply to texts with any number of labels', 'Each label has its own threshold. Remove it.', [
        'positive',
      ]);
    const all = labels.map((_, k) => k);
    return per_label ? all.map((k) => [k]) : [all];
  }
  const many = threshold && tooManyLabels(labels.length);
  if (many) throw new StepError(many.message, many.hint, ['threshold']);
  if (!per_label)
    throw new StepError('`per_label` applies only to texts with any number of labels', 'Remove it: there is one threshold.', ['per_label']);
  const chosen = positiveClass(labels, positive, []);
  return chosen === undefined ? [] : [[chosen]];
}

async function groupingOf({ options, inputs }: Context, info: TokensInfo, split: Split): Promise<Grouping | undefined> {
  const { group: column, min_group_rows: least } = options;
  if (column === undefined) return undefined;
  if (inputs.data === undefined)
    throw new StepError('`group` needs the input `data`, which has the column', 'Give the `data` that tokenize read.', ['group']);
  const taken = [...taskKind(info.task).fields.map(({ name }) => name), 'words'];
  if (taken.includes(column))
    throw new StepError(
      `\`group\`: inputs of the model have another field \`${column}\``,
      'Give the column another name with `select` of collect.',
      ['group'],
    );
  const file = (await namesOf(inputs.data)).renamed?.[column];
  const groups = await readGroups(split, inputs.data, column, 'group');
  const { type } = groups;
  const reading = { ...(type !== 'text' && { group_type: type }), ...(file !== undefined && { group_in_files: file }) };
  return { ...groups, column, least, reading };
}

function refuseOneClass({ truth, width, independent }: Scored, { labels }: Model, split: string): void {
  const only = truth[0]!;
  if (!truth.every((label) => label === only)) return;
  const all = `all ${independent ? truth.length / width : truth.length} rows of the split "${split}"`;
  const have = independent ? `have ${only === 1 ? 'every' : 'no'} label` : `have the label "${labels[only]}"`;
  throw new StepError(`${all} ${have}: nothing can be fitted`, 'Use a larger split, or `stratify` in the split step.');
}

function temperatureOf(scored: Scored, { temperature }: Context['options'], warn: Context['warn']): number {
  if (!temperature) return 1;
  const fitted = fitTemperature(scored);
  if ('temperature' in fitted) return fitted.temperature;
  warn(`the temperature stays 1, because ${fitted.none}`);
  return 1;
}

/** The expected calibration error and the log loss. With any number of labels, each flag counts as an example. */
function qualityOf({ width, truth, independent }: Scored, probabilities: Float64Array): Record<string, number> {
  if (independent) {
    // The confidence in a flag is the probability of its label, whether it is predicted or not.
    const predicted = new Uint8Array(truth.length).fill(1);
    return {
      ece: calibrationError({ truth, predicted, confidence: probabilities }),
      log_loss: meanOver(truth.length, (i) => -Math.log(probabilityOf(truth[i]!, probabilities[i]!))),
    };
  }
  const scores = Array.from(truth, (_, row) => probabilities.subarray(row * width, (row + 1) * width));
  const predicted = scores.map((row) => row.indexOf(Math.max(...row)));
  return classificationMetrics({ classes: width, truth, predicted, scores }, ['ece', 'log_loss']);
}

interface Results {
  quality: { before: Record<string, number>; after: Record<string, number> };
  thresholds: FittedThresholds | undefined;
}

async function report({ options, outputs, metric, result }: Context, calibration: ModelCalibration, { quality, thresholds }: Results) {
  const { temperature, rows, group } = calibration;
  const { before, after } = quality;
  const one = thresholds && Object.keys(thresholds.thresholds).length === 1 ? Object.values(thresholds.thresholds)[0] : undefined;
  const metrics = {
    temperature,
    ece: after.ece!,
    ece_before: before.ece!,
    log_loss: after.log_loss!,
    log_loss_before: before.log_loss!,
    ...(one !== undefined && { threshold: one }),
  };
  for (const [name, value] of Object.entries(metrics))
    metric(name, value, name === 'ece' || name === 'log_loss' ? { better: 'lower' } : {});
  const missing = { ...thresholds?.missing, ...thresholds?.missingForGroups };
  const all = {
    split: options.split,
    rows,
    metrics,
    ...(thresholds && { thresholds: thresholds.table, ...(group !== undefined && { group }) }),
    ...(Object.keys(missing).length > 0 && { undefined: missing }),
  };
  await writeFile(outputs.metrics, `${JSON.stringify(all, null, 2)}\n`);
  const [label] = Object.keys(thresholds?.thresholds ?? {});
  const shown = (value: number) => String(Number(value.toPrecision(4)));
  const chosen = one === undefined ? '' : `; ${label} is predicted from a score of ${shown(one)} on`;
  result(`temperature ${shown(temperature)}: ECE ${shown(before.ece!)} → ${shown(after.ece!)}${chosen}`);
}
