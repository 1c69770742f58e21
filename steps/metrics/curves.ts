/** The history of a training: JSON lines that are points of its curves, or measurements. */
import { readFile } from 'node:fs/promises';
import { type Scalars, writeEventFile } from './event-file.ts';

export type HistoryLine = { step: number; epoch: number } & Record<string, number>;

/** A line at an epoch's end or, by steps, amid one: the mean loss since the last one, and what the validation split gave. */
export const isMeasurement = (line: HistoryLine): boolean => line.train_loss !== undefined;

/** What a line adds to the curves. A measurement's mean loss and padding would mix with those of the points. */
export function pointsOf({ step, epoch, train_loss, padding, ...values }: HistoryLine): Scalars {
  return train_loss === undefined && padding !== undefined ? { ...values, padding } : values;
}

/** Undefined where the file is none. JSON has null for what is not a number. */
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

/** The curves as a file for TensorBoard, in a folder of their own. Returns its path. */
export function exportCurves(lines: HistoryLine[], folder: string): string {
  return writeEventFile(
    folder,
    lines.map((line) => [line.step, { epoch: line.epoch, ...pointsOf(line) }] as const),
  );
}
