/** The history of a training: a table row for each evaluation, and each curve as a sparkline. */

import { mean } from '../ml/metrics/counts.ts';
import { exportCurves, type HistoryLine, isMeasurement, pointsOf, readHistory } from '../ml/metrics/tensorboard.ts';
import { betterOf } from '../ml/tasks/metrics.ts';
import type { Preview } from './part.ts';

/** Undefined if the file is not a history. */
export async function previewHistory(file: string, limit: number): Promise<Preview[] | undefined> {
  const lines = await readHistory(file);
  if (!lines) return undefined;
  const measured = lines.filter(isMeasurement);
  return [...(measured.length > 0 ? [measurements(measured, Math.max(limit, LEAST))] : []), curves(lines)];
}

/** Writes the curves of a history for TensorBoard, into a folder of their own. False if the file is not a history. */
export async function exportHistory(file: string, folder: string): Promise<boolean> {
  const lines = await readHistory(file);
  if (lines) exportCurves(lines, folder);
  return lines !== undefined;
}

/** Rows that are shown even if fewer were requested, because a training is judged as a whole. */
const LEAST = 50;

function measurements(measured: HistoryLine[], limit: number): Preview {
  const shown = measured.slice(0, limit);
  const figures = [...new Set(measured.flatMap((line) => Object.keys(line)))].filter(
    (name) => name === 'train_loss' || name === 'generalization_gap' || name.startsWith(PREFIX),
  );
  const best = new Map(figures.filter((name) => name.startsWith(PREFIX)).map((name) => [name, bestOf(name, measured)]));
  const rows = shown.map((line) => [
    String(line.epoch),
    line.step.toLocaleString('en-US'),
    ...figures.map((name) => {
      const mark = line === best.get(name) ? ' *' : best.has(name) ? '  ' : '';
      return line[name] === undefined ? '' : `${line[name].toFixed(4)}${mark}`;
    }),
  ]);
  const times = measured.length === 1 ? '1 evaluation' : `${measured.length.toLocaleString('en-US')} evaluations`;
  return {
    title: `training history, ${measured.at(-1)!.step.toLocaleString('en-US')} steps, ${times} (* is the best)`,
    table: {
      header: ['epoch', 'step', ...figures.map((name) => (best.has(name) ? `${short(name)}  ` : short(name)))],
      rows,
      numeric: [true, true, ...figures.map(() => true)],
    },
    ...(measured.length > shown.length
      ? { rest: `+ ${(measured.length - shown.length).toLocaleString('en-US')} more evaluations (-n ${measured.length})` }
      : {}),
  };
}

const PREFIX = 'validation_';

/** A short name, so that more columns fit on the screen. */
const short = (name: string): string => name.replace(PREFIX, 'val_').replace('generalization_gap', 'gap');

/** The first of the best; undefined if there is nothing to compare. */
function bestOf(name: string, measured: HistoryLine[]): HistoryLine | undefined {
  const sign = betterOf(name.slice(PREFIX.length)) === 'lower' ? -1 : 1;
  const finite = measured.filter((line) => Number.isFinite(line[name]));
  if (new Set(finite.map((line) => line[name])).size < 2) return undefined;
  return finite.reduce((best, line) => (sign * line[name]! > sign * best[name]! ? line : best));
}

function curves(lines: HistoryLine[]): Preview {
  const points = Map.groupBy(
    lines.flatMap((line) => Object.entries(pointsOf(line))),
    ([name]) => name,
  );
  const rows = [...points].map(([name, own]) => {
    const all = own.map(([, value]) => value);
    const finite = all.filter(Number.isFinite);
    const figure = (value: number | undefined) => (value === undefined ? '–' : compact(value));
    return [short(name), sparkline(all, WIDTH), figure(all[0]), figure(all.at(-1)), figure(least(finite)), figure(most(finite))];
  });
  return {
    title: 'curves, from the first step to the last',
    table: { header: ['curve', '', 'first', 'last', 'least', 'most'], rows, numeric: [false, true, true, true, true, true] },
  };
}

/** Columns of a sparkline. */
const WIDTH = 20;

function compact(value: number): string {
  const size = Math.abs(value);
  return size !== 0 && size < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}

const least = (values: number[]): number | undefined => (values.length > 0 ? values.reduce((a, b) => Math.min(a, b)) : undefined);
const most = (values: number[]): number | undefined => (values.length > 0 ? values.reduce((a, b) => Math.max(a, b)) : undefined);

/** The means of neighbours as bars of eight heights; a blank for NaN. */
export function sparkline(values: number[], columns: number): string {
  const count = Math.min(columns, values.length);
  const means = Array.from({ length: count }, (_, i) => {
    return mean(values.slice(Math.floor((i * values.length) / count), Math.floor(((i + 1) * values.length) / count)));
  });
  const finite = means.filter(Number.isFinite);
  const [low, high] = [least(finite) ?? 0, most(finite) ?? 0];
  return means
    .map((mean) => (Number.isFinite(mean) ? BARS[high > low ? Math.round(((mean - low) / (high - low)) * (BARS.length - 1)) : 0] : ' '))
    .join('');
}

const BARS = [...'▁▂▃▄▅▆▇█'];
