/** Prints answers as lines of JSON or CSV, at the reader's pace. */
import type { Writable } from 'node:stream';
import type { Json } from '../../engine/step.ts';

/** False if the reader has closed the pipe (`| head`): not an error, and nothing left to do. */
export function printer(output: Writable): (text: string) => Promise<boolean> {
  output.on('error', () => {}); // the write that caused it gets the error too
  return async (text) => {
    if (text === '') return true;
    const error = await new Promise<NodeJS.ErrnoException | null | undefined>((resolve) => output.write(text, resolve));
    if (error && error.code !== 'EPIPE') throw error;
    return !error;
  };
}

export type AnswerFormat = 'jsonl' | 'csv';

/** The line of an answer, after the copied columns of its row. In CSV the first line comes with the header. */
export function answerLines(format: AnswerFormat): (kept: Record<string, Json>, answer: Json) => string {
  if (format === 'jsonl') return (kept, answer) => `${JSON.stringify(together(kept, answer))}\n`;
  let header: string[] | undefined;
  return (kept, answer) => {
    const cells = cellsOf(together(kept, answer));
    const first = header === undefined;
    header ??= [...cells.keys()];
    const line = header.map((name) => cell(cells.get(name) ?? null)).join(',');
    return first ? `${header.map(cell).join(',')}\n${line}\n` : `${line}\n`;
  };
}

/** A copied column with the name of an answer field is renamed: `input_label`. */
function together(kept: Record<string, Json>, answer: Json): Record<string, Json> {
  const answered = answer as Record<string, Json>;
  const renamed = Object.entries(kept).map(([name, value]) => [Object.hasOwn(answered, name) ? `input_${name}` : name, value]);
  return { ...Object.fromEntries(renamed), ...answered };
}

/** Objects become one column per field: `scores.spam`. Lists stay JSON. */
function cellsOf(row: Record<string, Json>, prefix = '', cells = new Map<string, string | null>()): Map<string, string | null> {
  for (const [name, value] of Object.entries(row)) {
    if (value === null || typeof value === 'string') cells.set(prefix + name, value);
    else if (typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
      cellsOf(value as Record<string, Json>, `${prefix}${name}.`, cells);
    else cells.set(prefix + name, JSON.stringify(value));
  }
  return cells;
}

/** As collect reads it: an empty text is quoted, a missing value is not. */
function cell(value: string | null): string {
  if (value === null) return '';
  return value === '' || /^\s|\s$|[",\r\n;\t]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
