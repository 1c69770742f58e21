/** `tunesmith generate`: continues one prompt, streaming the text to the terminal, or all prompts of a file. */
import { statSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { StepError } from '../../engine/contract/step.ts';
import { openRuntime } from '../ml/device/open.ts';
import { type GeneratedText, type Generator, openGenerator } from '../ml/generation/generator.ts';
import { checkOptions, type GenerationOptions } from '../ml/generation/options.ts';
import { currentBundle } from '../ml/models/pointer.ts';
import { atPlace, type InputOptions, readInputs } from './inputs.ts';
import { printer } from './predict.ts';
import { usable } from './usable.ts';

/** Streams the text, followed by a newline. */
export async function generateOne(
  model: string,
  prompt: string,
  options: GenerationOptions,
  { threads }: { threads?: number | undefined },
  output: Writable = process.stdout,
): Promise<void> {
  await withGenerator(model, options, { threads }, async (generator) => {
    const print = printer(output);
    const reading = new AbortController();
    let place = 0;
    const onText = async (of: number, piece: string) => {
      // Several texts are printed one after the other when all are complete.
      if (of === place && !(await print(piece))) reading.abort(UNREAD);
    };
    const texts = await generator.generate([await generator.encode(prompt, options)], options, { onText, signal: reading.signal });
    await print('\n');
    for (place = 1; place < texts.length; place++) await print(`${texts[place]!.text}\n`);
  });
}

/** The reader has closed the pipe (`| head`): not an error, and nothing left to do. */
const UNREAD = new Error('the reader has closed the pipe');

/** `file`: a path, or `-` for standard input. @throws StepError for an invalid line, once the results before it were printed */
export async function generateAll(
  model: string,
  file: string,
  options: GenerationOptions,
  { batchSize, threads, ...reading }: { batchSize: number; threads?: number | undefined } & Omit<InputOptions, 'known' | 'columns'>,
  output: Writable = process.stdout,
): Promise<void> {
  await withGenerator(model, options, { threads, packed: true }, async (generator) => {
    const print = printer(output);
    let prompts: number[][] = [];
    // A raw row of the training data is a valid input too.
    const known = { prompt: ['prompt', ...generator.columns] };
    const flush = async (): Promise<void> => {
      const given = prompts;
      prompts = [];
      const lines = (await inBatches(generator, given, options, batchSize)).map(
        ({ text, tokens }) => `${JSON.stringify({ text, tokens })}\n`,
      );
      if (!(await print(lines.join('')))) throw UNREAD;
    };
    try {
      for await (const inputs of readInputs(file, [{ name: 'prompt' }], { known, ...reading })) {
        for (const { input, place } of inputs) {
          prompts.push(await encoded(generator, input.prompt!, options, place));
          if (prompts.length >= WINDOW * batchSize) await flush();
        }
      }
    } catch (error) {
      if (error !== UNREAD) await flush();
      throw error;
    }
    await flush();
  });
}

/** Number of batches within which prompts of similar lengths are grouped. */
const WINDOW = 8;

async function withGenerator(
  model: string,
  options: GenerationOptions,
  { threads, packed = false }: { threads?: number | undefined; packed?: boolean },
  use: (generator: Generator) => Promise<void>,
): Promise<void> {
  const generator = await usable(async () => {
    checkOptions(options as Record<string, unknown>, (name) => `--${name.replaceAll('_', '-')}`);
    if (!statSync(model, { throwIfNoEntry: false })?.isDirectory())
      throw new StepError(
        `the folder ${model} does not exist`,
        'Give a Hugging Face model folder, its address (hf://owner/name), or the output of the step `train` or `deploy`.',
      );
    return openGenerator(await currentBundle(model), await openRuntime('onnx', threads === undefined ? {} : { threads }), { packed });
  });
  try {
    await use(generator);
  } catch (error) {
    if (error !== UNREAD) throw error;
  } finally {
    await generator.close();
  }
}

async function encoded(generator: Generator, prompt: string, options: GenerationOptions, place: string): Promise<number[]> {
  try {
    return await generator.encode(prompt, options);
  } catch (error) {
    if (error instanceof StepError) throw atPlace(error, place);
    throw error;
  }
}

/** In the order of the prompts, however they were grouped. */
async function inBatches(
  generator: Generator,
  prompts: readonly number[][],
  options: GenerationOptions,
  batchSize: number,
): Promise<GeneratedText[]> {
  const order = [...prompts.keys()].sort((a, b) => prompts[a]!.length - prompts[b]!.length);
  const texts: GeneratedText[][] = [];
  for (let start = 0; start < order.length; start += batchSize) {
    const batch = order.slice(start, start + batchSize);
    const generated = await generator.generate(
      batch.map((i) => prompts[i]!),
      options,
    );
    const each = generated.length / batch.length;
    for (const [row, i] of batch.entries()) texts[i] = generated.slice(row * each, (row + 1) * each);
  }
  return texts.flat();
}
