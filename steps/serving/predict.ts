/** `tunesmith predict`: answers every input of a file, and prints one line for each, JSON or CSV, in the order of the file. */
import { createWriteStream } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { StepError } from '../../engine/step.ts';
import type { Encoding } from '../models/encoding.ts';
import { isGenerating } from '../models/family.ts';
import { taskKind } from '../tasks/registry.ts';
import { openBundle, tokensOfRun, usable } from './bundle.ts';
import { type InputOptions, type InputRow, readInputs } from './inputs.ts';
import { type AnswerFormat, answerLines, printer } from './printer.ts';
import { countProgress } from './progress.ts';
import { type Outcome, openQueue } from './queue.ts';
import { startWorkers } from './workers.ts';

/** A group: large enough to run texts of about one length together, small enough that lines come out soon and memory stays flat. */
const mostTexts = 256;
const mostCharacters = 1 << 20;

/** As many groups as keep every thread busy. */
const groupsTogether = 2 * availableParallelism();

/** Padding included: few enough to stay in the processor's caches. */
const tokensTogether = 4096;

export interface PredictOptions extends InputOptions {
  /** Where the answers go instead of standard output. */
  output?: string;
  /** By default CSV where `output` ends in .csv, else JSON lines. */
  outputFormat?: AnswerFormat;
}

/** Opens the file that `output` names only for the time of the answers. */
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
  closed.catch(() => {}); // also met by the first line
  try {
    await answerAll(bundle, file, options, written);
  } finally {
    written.end();
    await closed;
  }
}

/**
 * @param file a path, or `-` for standard input
 * @throws StepError on a line that cannot be read; what lies before it was printed
 */
async function answerAll(bundle: string, file: string, options: PredictOptions, output: Writable): Promise<void> {
  const opened = await usable(async () => {
    const opened = await openBundle(bundle);
    if (isGenerating(opened.task))
      throw new StepError(`${bundle} holds a model that writes texts`, `Use: tunesmith generate ${bundle} --file ${file}`);
    return opened;
  });
  // A second text of a model that takes none is read, so that it is refused.
  const fields = taskKind(opened.task).fields.map(
    (field) => opened.fields.find(({ name }) => name === field.name) ?? { ...field, optional: true },
  );
  const source = readInputs(file, fields, { known: columnsOf(opened.encoding), ...options });
  const queue = openQueue(await usable(() => startWorkers(opened)), { tokens: tokensOfRun(opened, tokensTogether) });
  const print = printer(output);
  const lines = answerLines(options.outputFormat ?? (/\.csv$/i.test(options.output ?? '') ? 'csv' : 'jsonl'));
  const progress = countProgress(output);
  // Each prints its group after the one before; false once nobody reads.
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

  /** What lies before an input that is refused is printed; then its error ends the command. */
  async function printAfter(
    before: Promise<boolean> | undefined,
    rows: InputRow[],
    outcomes: Promise<(Outcome | undefined)[]>,
  ): Promise<boolean> {
    if ((await before) === false) return false;
    let text = '';
    for (const [i, outcome] of (await outcomes).entries()) {
      if (!('prediction' in outcome!)) {
        await print(text);
        throw 'refused' in outcome! ? outcome.refused : outcome!.failed;
      }
      text += lines(rows[i]!.kept, outcome.prediction);
    }
    progress.add(rows.length);
    return print(text);
  }
}

/** What the fields may be called in a file: as in the files that were collected, then as in the table of training. */
function columnsOf({ files = {}, fields = {} }: Partial<Encoding>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(fields).map(([field, column]) => [field, [files[field] ?? column, column]]));
}

/**
 * Groups for the threads. A group that is not full goes out when the source pauses, so that who types a line sees its answer.
 * A mistake in the file comes last, as a value: the inputs before it are still to be answered.
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
