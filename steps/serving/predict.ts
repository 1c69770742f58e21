/** `tunesmith predict`: answers every input of a file, and prints one JSON line for each, in the order of the file. */
import { availableParallelism } from 'node:os';
import type { Writable } from 'node:stream';
import { StepError } from '../../engine/step.ts';
import { isGenerating } from '../models/family.ts';
import { taskKind } from '../tasks/registry.ts';
import type { Input } from '../tasks/task.ts';
import { openBundle, tokensOfRun } from './bundle.ts';
import { type InputOptions, readInputs } from './inputs.ts';
import { printer } from './printer.ts';
import { type Outcome, openQueue } from './queue.ts';
import { startWorkers } from './workers.ts';

/** A group: large enough to run texts of about one length together, small enough that lines come out soon and memory stays flat. */
const mostTexts = 256;
const mostCharacters = 1 << 20;

/** As many groups as keep every thread busy. */
const groupsTogether = 2 * availableParallelism();

/** Padding included: few enough to stay in the processor's caches. */
const tokensTogether = 4096;

/**
 * @param file a path, or `-` for standard input
 * @throws StepError on a line that cannot be read; what lies before it was printed
 */
export async function predict(bundle: string, file: string, options: InputOptions = {}, output: Writable = process.stdout): Promise<void> {
  const opened = await openBundle(bundle);
  if (isGenerating(opened.task))
    throw new StepError(`${bundle} holds a model that writes texts`, `Use: tunesmith generate ${bundle} --file ${file}`);
  // A second text of a model that takes none is read, so that it is refused.
  const fields = taskKind(opened.task).fields.map(
    (field) => opened.fields.find(({ name }) => name === field.name) ?? { ...field, optional: true },
  );
  const source = readInputs(file, fields, options);
  const queue = openQueue(await startWorkers(opened), { tokens: tokensOfRun(opened, tokensTogether) });
  const print = printer(output);
  // Each prints its group after the one before; false once nobody reads.
  const printing: Promise<boolean>[] = [];
  try {
    for await (const inputs of inGroups(source)) {
      if (inputs instanceof Error) {
        await printing.at(-1);
        throw inputs;
      }
      const outcomes = queue.answer(inputs);
      outcomes.catch(() => {}); // awaited in its turn
      const printed = printAfter(printing.at(-1), outcomes);
      printed.catch(() => {});
      printing.push(printed);
      if (printing.length >= groupsTogether && !(await printing.shift())) return;
    }
    await printing.at(-1);
  } finally {
    await queue.close();
  }

  /** What lies before an input that is refused is printed; then its error ends the command. */
  async function printAfter(before: Promise<boolean> | undefined, outcomes: Promise<(Outcome | undefined)[]>): Promise<boolean> {
    if ((await before) === false) return false;
    let lines = '';
    for (const outcome of await outcomes) {
      if (!('prediction' in outcome!)) {
        await print(lines);
        throw 'refused' in outcome! ? outcome.refused : outcome!.failed;
      }
      lines += `${JSON.stringify(outcome.prediction)}\n`;
    }
    return print(lines);
  }
}

/**
 * Groups for the threads. A group that is not full goes out when the source pauses, so that who types a line sees its answer.
 * A mistake in the file comes last, as a value: the inputs before it are still to be answered.
 */
async function* inGroups(source: AsyncGenerator<Input[]>): AsyncGenerator<Input[] | Error> {
  let group: Input[] = [];
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
      for (const input of read.value) {
        group.push(input);
        for (const text of Object.values(input)) characters += text.length;
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
