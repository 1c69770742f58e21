/**
 * calibration.json of a model folder: how scores become probabilities that can be trusted, and from which score on a label is
 * predicted. The step `calibrate` writes it; evaluate, predict and serve apply it through this file alone.
 */

import { existsSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import type { ProblemType, Task } from './config.ts';
import { listed, readJson, shown } from './json.ts';

export interface ModelCalibration {
  /** Logits are divided by it before they become probabilities. */
  temperature: number;
  /** From which score on a label is predicted: for the positive label of two, or for each of any number of labels. */
  thresholds?: Thresholds;
  /** The column whose values have thresholds of their own. It is a field of every input. */
  group?: string;
  /** The type of the column if it is not text: 1 and 1.0 are the same number. */
  group_type?: 'number' | 'boolean';
  /** The name of this column in the collected files, if it was renamed. */
  group_in_files?: string;
  /** By value of the column. Other values, and missing ones, have `thresholds`. */
  group_thresholds?: Record<string, Thresholds>;
  /** The split. */
  fitted_on: string;
  /** The number of its rows. */
  rows: number;
  /** The expected calibration error of these rows, without and with the temperature. */
  ece: { before: number; after: number };
}

export type Thresholds = Record<string, number>;

/** The labels that a calibration is for. */
interface Calibrated {
  task: Task;
  problem: ProblemType;
  labels: string[];
}

export const CALIBRATION = 'calibration.json';

export const hasCalibration = (folder: string): boolean => existsSync(path.join(folder, CALIBRATION));

/** Undefined if the model was not calibrated. @throws StepError for a damaged file, or one of another model */
export async function readCalibration(folder: string, model: Calibrated): Promise<ModelCalibration | undefined> {
  if (!hasCalibration(folder) || model.task !== 'text-classification') return undefined;
  const calibration = (await readJson(path.join(folder, CALIBRATION))) as unknown as ModelCalibration;
  const wrong = wrongWith(calibration, model);
  if (wrong === undefined) return calibration;
  throw new StepError(
    `${CALIBRATION} of ${shown(folder)} ${wrong}`,
    'The file was edited, or belongs to another model: run calibrate again, or remove the file.',
  );
}

/** Undefined for a valid calibration. */
function wrongWith({ temperature, thresholds, group, group_thresholds: groups }: ModelCalibration, model: Calibrated): string | undefined {
  if (!(typeof temperature === 'number' && temperature > 0)) return 'has no positive number `temperature`';
  if (model.problem === 'regression') return 'belongs to a classifier, and this model predicts numbers';
  if (group !== undefined && (typeof group !== 'string' || Object(groups) !== groups || thresholds === undefined))
    return 'has a `group`, but no thresholds for its values';
  for (const each of [thresholds, ...Object.values(groups ?? {})]) {
    if (each === undefined) continue;
    const entries = Object.entries(each ?? {});
    if (entries.length === 0 || entries.some(([, value]) => typeof value !== 'number')) return 'has thresholds that are not numbers';
    const unknown = entries.find(([label]) => !model.labels.includes(label));
    if (unknown) return `has a threshold for the label "${unknown[0]}", which the model does not have`;
    if (model.problem === 'single_label_classification' && (model.labels.length !== 2 || entries.length !== 1))
      return 'must have one threshold, for one of two labels';
  }
  return undefined;
}

export const writeCalibration = (folder: string, calibration: ModelCalibration): Promise<void> =>
  writeFile(path.join(folder, CALIBRATION), `${JSON.stringify(calibration, null, 2)}\n`);

/** Copies the calibration of a model to another folder with the same model. */
export async function carryCalibration(from: string, to: string): Promise<void> {
  if (hasCalibration(from)) await copyFile(path.join(from, CALIBRATION), path.join(to, CALIBRATION));
}

/** The logits divided by the temperature; the same logits for a model that was not calibrated. */
export const calibratedLogits = (logits: ArrayLike<number>, calibration: ModelCalibration | undefined): ArrayLike<number> =>
  calibration ? Float64Array.from(logits, (logit) => logit / calibration.temperature) : logits;

/** For one label of two: which one the threshold decides for; undefined without a threshold. `scores`: calibrated probabilities. */
export function labelByThreshold(
  scores: ArrayLike<number>,
  labels: readonly string[],
  calibration: ModelCalibration | undefined,
  group?: string,
): number | undefined {
  const thresholds = thresholdsFor(calibration, group);
  if (!thresholds) return undefined;
  const positive = labels.findIndex((label) => Object.hasOwn(thresholds, label));
  return scores[positive]! >= thresholds[labels[positive]!]! ? positive : 1 - positive;
}

/** For any number of labels: 1 for each label that is predicted. `scores`: calibrated probabilities. */
export function flagsByThreshold(
  scores: ArrayLike<number>,
  labels: readonly string[],
  calibration: ModelCalibration | undefined,
  group?: string,
): Uint8Array {
  const thresholds = thresholdsFor(calibration, group);
  return Uint8Array.from(labels, (label, k) => {
    const score = scores[k]!;
    return (thresholds && Object.hasOwn(thresholds, label) ? score >= thresholds[label]! : score > THRESHOLD) ? 1 : 0;
  });
}

/** transformers' pipeline has no threshold; 0.5 is what training with binary cross-entropy implies. */
const THRESHOLD = 0.5;

function thresholdsFor(calibration: ModelCalibration | undefined, group: string | undefined): Thresholds | undefined {
  const { group_thresholds: groups, group_type: type, thresholds } = calibration ?? {};
  if (group === undefined || !groups) return thresholds;
  const value = asStored(group, type);
  return Object.hasOwn(groups, value) ? groups[value] : thresholds;
}

/** A number or a boolean as the data write it, as `collect` reads it from text: 1.0 is 1, and True is true. */
function asStored(value: string, type: ModelCalibration['group_type']): string {
  const text = value.trim();
  if (type === 'number' && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) && Number.isSafeInteger(Number(text)))
    return String(Number(text));
  if (type === 'boolean') return BOOLEANS[text.toLowerCase()] ?? value;
  return value;
}

const BOOLEANS: Record<string, string> = { true: 'true', 1: 'true', false: 'false', 0: 'false' };

/** For the log. */
export function calibrationInWords({ temperature, thresholds = {}, group }: ModelCalibration): string {
  const short = (value: number) => String(Number(value.toPrecision(4)));
  const each = Object.entries(thresholds).map(([label, threshold]) => `${label} ${short(threshold)}`);
  const from = each.length === 0 ? '' : `, thresholds ${listed(each)}`;
  return `temperature ${short(temperature)}${from}${group === undefined ? '' : `, others for the values of ${group}`}`;
}
