/** `tunesmith predict`: predicts for every input of a file, and prints one line for each, JSON or CSV, in the order of the file. */

import { createWriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { type Json, StepError } from '../../engine/contract/step.ts';
import { type Bundle, openBundle, tokensOfRun } from '../ml/answering/bundle.ts';
import { isGenerating } from '../ml/models/config.ts';
import { currentBundle } from '../ml/models/pointer.ts';
import { taskKind } from '../ml/tasks/registry.ts';
import { atPlace, type InputOptions, type InputRow, readInputs } from './inputs.ts';
import { Queue, type QueueOutcome } from './queue.ts';
import { usable } from './usable.ts';
import { startWorkers } from './workers.ts';

/** The size of a group: large enough to group texts of similar lengths, small enough that lines are printed soon. */
const mostTexts = 256;
const mostCharacters = 1 << 20;

/** As many groups as keep the model busy. */
const groupsTogether = 4;

/** Including padding: few enough to fit into the processor's caches. */
const tokensTogether = 4096;

export interface PredictOptions extends InputOptions {
  /** Where to write the answers, instead of standard output. */
  output?: string;
  /** Default: CSV if `output` ends in .csv, otherwise JSON lines. */
  outputFormat?: AnswerFormat;
}

/** Keeps the file `output` open only while answers are written. */
export async function predict(
  bundle: string,
  file: string,
  options: PredictOptions = {},
  output: Writable = process.stdout,
): Promise<void> {
  if (options.output === undefined) return answerAll(bundle, file, options, output);
  const written = createWriteStream(options.output);
  const closed = finished(written).catch((error: NodeJS.ErrnoException) => {
    throw new StepError(`${options.output} cannot be written: ${error.message}`);
  });
  closed.catch(() => {}); // the first write throws it too
  try {
    await answerAll(bundle, file, options, written);
  } finally {
    written.end();
    await closed;
  }
}

/** `file`: a path, or `-` for standard input. @throws StepError for an invalid line, once the answers before it were printed */
async function answerAll(bundle: string, file: string, options: PredictOptions, output: Writable): Promise<void> {
  const opened = await usable(async () => {
    const opened = await openBundle(await currentBundle(bundle));
    if (isGenerating(opened.task))
      throw new StepError(`${bundle} contains a model that generates texts`, `Use: tunesmith generate ${bundle} --file ${file}`);
    return opened;
  });
  // A second text for a model of single texts is read, so that it can be rejected.
  const fields = [
    ...taskKind(opened.task).fields.map((field) => opened.fields.find(({ name }) => name === field.name) ?? { ...field, optional: true }),
    ...opened.fields.filter(({ group }) => group),
  ];
  const source = readInputs(file, fields, { known: columnsOf(opened), ...options });
  const queue = new Queue(await usable(() => startWorkers(opened)), { tokens: tokensOfRun(opened, tokensTogether) });
  const print = printer(output);
  const lines = answerLines(options.outputFormat ?? (/\.csv$/i.test(options.output ?? '') ? 'csv' : 'jsonl'));
  const progress = countProgress(output);
  // Each task prints its group after the one before; false if the reader has closed the pipe.
  const printing: Promise<boolean>[] = [];
  try {
    for await (const rows of inGroups(source)) {
      if (rows instanceof Error) {
        await printing.at(-1);
        throw rows;
      }
      const outcomes = queue.answer(rows.map(({ input }) => input));
      outcomes.catch(() => {}); // awaited in its turn
      const printed = printAfter(printing.at(-1), rows, outcomes);
      printed.catch(() => {});
      printing.push(printed);
      if (printing.length >= groupsTogether && !(await printing.shift())) return;
    }
    await printing.at(-1);
  } finally {
    progress.end();
    await queue.close();
  }

  /** Prints the answers before an invalid input; then its error ends the command. */
  async function printAfter(
    before: Promise<boolean> | undefined,
    rows: InputRow[],
    outcomes: Promise<(QueueOutcome | undefined)[]>,
  ): Promise<boolean> {
    if ((await before) === false) return false;
    let text = '';
    for (const [i, outcome] of (await outcomes).entries()) {
      if (!('prediction' in outcome!)) {
        await print(text);
        throw 'refused' in outcome! ? atPlace(outcome.refused, rows[i]!.place) : outcome!.failed;
      }
      text += lines(rows[i]!.kept, outcome.prediction);
    }
    progress.add(rows.length);
    return print(text);
  }
}

/** Possible names of the fields in a file: those in the collected files, then those in the training table. */
function columnsOf({ encoding: { files = {}, fields = {} }, calibration }: Bundle): Record<string, string[]> {
  const { group, group_in_files: file } = calibration ?? {};
  return Object.fromEntries([
    ...Object.entries(fields).map(([field, column]) => [field, [files[field] ?? column, column]]),
    ...(group === undefined || file === undefined ? [] : [[group, [file, group]]]),
  ]);
}

/**
 * Groups for the threads, partial ones when the source pauses, so that a person who types a line sees the answer. An error in the
 * file comes last, as a value: the inputs before it are still answered.
 */
async function* inGroups(source: AsyncGenerator<InputRow[]>): AsyncGenerator<InputRow[] | Error> {
  let group: InputRow[] = [];
  let characters = 0;
  try {
    while (true) {
      const next = source.next().catch((error: Error) => error);
      if (group.length > 0 && (await Promise.race([next, pause(20)])) === 'paused') {
        yield group;
        group = [];
        characters = 0;
      }
      const read = await next;
      if (read instanceof Error || read.done) {
        if (group.length > 0) yield group;
        if (read instanceof Error) yield read;
        return;
      }
      for (const row of read.value) {
        group.push(row);
        for (const text of Object.values(row.input)) characters += text.length;
        if (group.length < mostTexts && characters < mostCharacters) continue;
        yield group;
        group = [];
        characters = 0;
      }
    }
  } finally {
    await source.return(undefined);
  }
}

function pause(milliseconds: number): Promise<'paused'> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds, 'paused').unref());
}

/** Prints at the reader's pace. False if the reader has closed the pipe (`| head`): not an error, and nothing left to do. */
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

/** The line of an answer, after the copied columns of its row. In CSV the first line comes with the header, unless it is left out. */
export function answerLines(format: AnswerFormat, { header: named = true } = {}): (kept: Record<string, Json>, answer: Json) => string {
  if (format === 'jsonl') return (kept, answer) => `${JSON.stringify(together(kept, answer))}\n`;
  let header: string[] | undefined;
  return (kept, answer) => {
    const cells = cellsOf(together(kept, answer));
    const first = named && header === undefined;
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

/** Shows how many inputs are answered, on standard error if that is a terminal and the answers go elsewhere. */
export function countProgress(output: Writable, screen: NodeJS.WriteStream = process.stderr): { add(count: number): void; end(): void } {
  const shown = screen.isTTY && !(output as Partial<NodeJS.WriteStream>).isTTY;
  const start = Date.now();
  let answered = 0;
  const draw = () => {
    const seconds = (Date.now() - start) / 1000;
    const rate = seconds > 0 ? `, ${Math.round(answered / seconds).toLocaleString('en-US')} a second` : '';
    screen.write(`\r\x1b[K${answered.toLocaleString('en-US')} answered${rate}`);
  };
  const timer = shown ? setInterval(draw, 200) : undefined;
  timer?.unref();
  return {
    add(count) {
      answered += count;
    },
    end() {
      if (!shown) return;
      clearInterval(timer);
      draw();
      screen.write('\n');
    },
  };
}
