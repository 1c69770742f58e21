/** Answers as lines of JSON or CSV, written at the reader's pace. */
import type { Writable } from 'node:stream';
import type { Json } from '../../engine/step.ts';

/** False once nobody reads any more (`| head`): no mistake, and nothing left to do. */
export function printer(output: Writable): (text: string) => Promise<boolean> {
  output.on('error', () => {}); // also told to the write that met it
  return async (text) => {
    if (text === '') return true;
    const error = await new Promise<NodeJS.ErrnoException | null | undefined>((resolve) => output.write(text, resolve));
    if (error && error.code !== 'EPIPE') throw error;
    return !error;
  };
}

export type AnswerFormat = 'jsonl' | 'csv';

/** The line of an answer, behind what was kept of its row. The first line of CSV comes with the header. */
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

/** A column that is called as a field of the answer is gets a name of its own: `input_label`. */
function together(kept: Record<string, Json>, answer: Json): Record<string, Json> {
  const answered = answer as Record<string, Json>;
  const renamed = Object.entries(kept).map(([name, value]) => [Object.hasOwn(answered, name) ? `input_${name}` : name, value]);
  return { ...Object.fromEntries(renamed), ...answered };
}

/** Objects become a column a field: `scores.spam`. Lists stay JSON. */
function cellsOf(row: Record<string, Json>, prefix = '', cells = new Map<string, string | null>()): Map<string, string | null> {
  for (const [name, value] of Object.entries(row)) {
    if (value === null || typeof value === 'string') cells.set(prefix + name, value);
    else if (typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
      cellsOf(value as Record<string, Json>, `${prefix}${name}.`, cells);
    else cells.set(prefix + name, JSON.stringify(value));
  }
  return cells;
}

/** As collect reads it: an empty text is in quotes, what is missing is not. */
function cell(value: string | null): string {
  if (value === null) return '';
  return value === '' || /^\s|\s$|[",\r\n;\t]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
