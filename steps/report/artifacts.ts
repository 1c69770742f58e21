/**
 * Reads what a report is made of. Files may come from other versions of tunesmith or from custom steps, so nothing is assumed
 * about them: what cannot be read is reported, and the rest of the report is made.
 */

import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Json } from '../../engine/contract/step.ts';
import { type HistoryLine, readHistory } from '../ml/metrics/tensorboard.ts';
import { shown } from './document.ts';

/** What an artifact is. */
export type Role =
  | 'metrics'
  | 'predictions'
  | 'baselines'
  | 'history'
  | 'model'
  | 'data'
  | 'checks'
  | 'behavior'
  | 'calibration'
  | 'verdict'
  | 'samples';

export interface Artifact {
  role: Role;
  path: string;
  /** The output as the pipeline names it: `evaluate[seed=1].metrics`. */
  name: string;
  /** The cell that made it. */
  cell?: string;
  /** The cell failed, and left this. */
  failed?: true;
  matrix: Record<string, Json>;
  /** The cells whose outputs this cell reads, directly or not, the nearest first. */
  above?: string[];
  /** Puts a copy of a stored output at `path`, which does not exist before. */
  fetch?(): Promise<void>;
}

/** The path of an artifact, which exists from now on. */
export async function opened({ path, fetch }: Artifact): Promise<string> {
  if (!existsSync(path)) await fetch?.();
  return path;
}

export type Fields = Record<string, unknown>;

export interface EvaluationFile extends Artifact {
  /** Undefined if the file does not say it. */
  split: string | undefined;
  rows: number | undefined;
  metrics: Record<string, number | null>;
  file: Fields;
}

export interface HistoryFile extends Artifact {
  lines: HistoryLine[];
}

export interface JsonFile extends Artifact {
  file: Fields;
}

export interface Material {
  evaluations: EvaluationFile[];
  baselines: JsonFile[];
  histories: HistoryFile[];
  checks: JsonFile[];
  behavior: JsonFile[];
  calibrations: JsonFile[];
  verdicts: JsonFile[];
  cards: JsonFile[];
  predictions: Artifact[];
  models: Artifact[];
  /** Lines that are not empty. */
  samples: (Artifact & { lines: string[] })[];
  /** Why something is missing. */
  missing: string[];
}

export async function readMaterial(artifacts: readonly Artifact[]): Promise<Material> {
  const missing: string[] = [];
  /** Reads each artifact of a role; those that cannot be read are reported. */
  const each = async <T>(role: Role, read: (artifact: Artifact) => Promise<T>): Promise<T[]> => {
    const all: T[] = [];
    for (const artifact of artifacts.filter((one) => one.role === role)) {
      try {
        // A model may be large, and not every one is needed.
        if (role !== 'model') await opened(artifact);
        all.push(await read(artifact));
      } catch (error) {
        // The message of a SyntaxError quotes the file.
        missing.push(`${artifact.name} cannot be read: ${error instanceof SyntaxError ? 'it is not JSON' : oneLine(error)}`);
      }
    }
    return all;
  };
  const jsonFiles = (role: Role) => each(role, async (artifact): Promise<JsonFile> => ({ ...artifact, file: await readFields(artifact) }));
  return {
    evaluations: (await jsonFiles('metrics')).map((read) => ({
      ...read,
      split: textOf(read.file.split),
      rows: numberOf(read.file.rows),
      metrics: numbersOf(read.file.metrics),
    })),
    baselines: await jsonFiles('baselines'),
    histories: await each('history', async (artifact) => ({ ...artifact, lines: await historyIn(artifact.path) })),
    checks: await jsonFiles('checks'),
    behavior: await jsonFiles('behavior'),
    calibrations: await jsonFiles('calibration'),
    verdicts: await jsonFiles('verdict'),
    cards: await each('data', async (artifact) => ({ ...artifact, file: await readFields(artifact, 'card.json') })),
    predictions: await each('predictions', async (artifact) => {
      if (!existsSync(join(artifact.path, 'data.parquet'))) throw new Error('it is no table (older versions of evaluate wrote a file)');
      return artifact;
    }),
    models: await each('model', async (artifact) => artifact),
    samples: await each('samples', async (artifact) => ({ ...artifact, lines: await linesIn(artifact.path) })),
    missing,
  };
}

/** A JSON object: the file itself, one of these names in a folder, or the only JSON file of a folder. */
async function readFields(artifact: Artifact, ...names: string[]): Promise<Fields> {
  const folder = (await stat(artifact.path)).isDirectory();
  const file = folder
    ? [...names, 'report.json', 'metrics.json', 'card.json'].map((name) => join(artifact.path, name)).find((path) => existsSync(path))
    : artifact.path;
  if (file === undefined) throw new Error('the folder has no JSON file that a report knows');
  const value: unknown = JSON.parse(await readFile(file, 'utf8'));
  if (!isFields(value)) throw new Error('it is not a JSON object');
  return value;
}

const linesIn = async (path: string): Promise<string[]> => (await readFile(path, 'utf8')).split('\n').filter((line) => line.trim() !== '');

async function historyIn(path: string): Promise<HistoryLine[]> {
  const lines = await readHistory(path);
  if (!lines) throw new Error('it is not a training history');
  return lines;
}

export const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);

/** An object of the file; empty if there is none. */
export const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {});

/** A list of the file; empty if there is none. */
export const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

export const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

export const numberOf = (value: unknown): number | undefined => (typeof value === 'number' && Number.isFinite(value) ? value : undefined);

/** Any value on one line; nothing for one that is missing. */
export const plainText = (value: unknown): string =>
  value === null || value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);

/** Numbers by name; null for those that are undefined. */
export const numbersOf = (value: unknown): Record<string, number | null> =>
  Object.fromEntries(Object.entries(fieldsOf(value)).flatMap(([name, n]) => (n === null || typeof n === 'number' ? [[name, n]] : [])));

/** An interval as two numbers. */
export function boundsOf(value: unknown): { low: number; high: number } | undefined {
  const { low, high } = fieldsOf(value);
  return numberOf(low) !== undefined && numberOf(high) !== undefined ? { low: low as number, high: high as number } : undefined;
}

/** `0.955 [0.931, 0.975]`, with a remark if the interval says too little, or `n/a` and the reason. */
export function withBounds(value: number | null | undefined, interval: unknown, why?: unknown, format = shown): string {
  const bounds = boundsOf(interval);
  if (value === null || value === undefined) return textOf(why) === undefined ? 'n/a' : `n/a (${why})`;
  const remark = fieldsOf(interval).narrow === true ? ' (too narrow)' : '';
  return `${format(value)}${bounds ? ` [${format(bounds.low)}, ${format(bounds.high)}]${remark}` : ''}`;
}

export const oneLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split('\n')[0]!;

/** What an output of a step is; undefined if a report does not need it. `uses`: the name of a built-in step. */
export function roleOf(uses: string | undefined, output: string): Role | undefined {
  return (uses === undefined ? undefined : OF_STEPS[uses]?.[output]) ?? (isBuiltIn(uses) ? undefined : OF_OTHERS[output]);
}

/** Whether it is the name of a step whose result quotes no text. */
export const isBuiltIn = (uses: string | undefined): boolean => uses !== undefined && Object.hasOwn(OF_STEPS, uses);

/** Whether a step decides if a model or data are good enough. */
export const isGate = (uses: string | undefined): boolean => uses !== undefined && ['require', 'behavior', 'check', 'drift'].includes(uses);

const OF_STEPS: Record<string, Record<string, Role>> = {
  collect: { data: 'data' },
  clean: { data: 'data' },
  split: { data: 'data' },
  tokenize: {},
  check: { report: 'checks' },
  drift: { metrics: 'checks' },
  train: { history: 'history', model: 'model' },
  calibrate: { metrics: 'calibration', model: 'model' },
  reduce: { model: 'model' },
  evaluate: { metrics: 'metrics', predictions: 'predictions' },
  baseline: { metrics: 'baselines' },
  behavior: { report: 'behavior' },
  require: { verdict: 'verdict' },
  select: {},
  deploy: {},
  promote: {},
  deployed: {},
  report: {},
};

/** Of custom steps and commands, by the name of the output. */
const OF_OTHERS: Record<string, Role> = { metrics: 'metrics', history: 'history', predictions: 'predictions', samples: 'samples' };
