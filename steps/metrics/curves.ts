/** The history of a training: JSON lines that are points of its curves, or evaluations. */
import { readFile } from 'node:fs/promises';
import { type Scalars, writeEventFile } from './event-file.ts';

export type HistoryLine = { step: number; epoch: number } & Record<string, number>;

/**
 * An evaluation at the end of an epoch or, by steps, within one: the mean training loss since the last one, and the
 * validation metrics.
 */
export const isMeasurement = (line: HistoryLine): boolean => line.train_loss !== undefined;

/**
 * The values of a line that belong to the curves. The mean loss and padding of an evaluation are left out, because
 * they would mix with those of the points.
 */
export function pointsOf({ step, epoch, train_loss, padding, ...values }: HistoryLine): Scalars {
  return train_loss === undefined && padding !== undefined ? { ...values, padding } : values;
}

/** Undefined if the file is not a history. In JSON, null stands for values that are not numbers. */
export async function readHistory(file: string): Promise<HistoryLine[] | undefined> {
  const lines: HistoryLine[] = [];
  for (const text of (await readFile(file, 'utf8')).split('\n')) {
    if (text === '') continue;
    const line = parsed(text);
    if (!line) return undefined;
    lines.push(line);
  }
  return lines.length > 0 ? lines : undefined;
}

function parsed(text: string): HistoryLine | undefined {
  try {
    const values = Object.entries(JSON.parse(text) as Record<string, unknown>).map(([name, value]) => [name, value ?? Number.NaN]);
    const line = Object.fromEntries(values);
    const numbers = values.every(([, value]) => typeof value === 'number');
    return numbers && Number.isInteger(line.step) && Number.isInteger(line.epoch) ? line : undefined;
  } catch {
    return undefined;
  }
}

/** Writes the curves as an event file for TensorBoard, in a folder of its own, and returns its path. */
export function exportCurves(lines: HistoryLine[], folder: string): string {
  return writeEventFile(
    folder,
    lines.map((line) => [line.step, { epoch: line.epoch, ...pointsOf(line) }] as const),
  );
}
