/**
 * Records a sample of the requests: one line of JSON for each input and its answer, in one file a day (UTC). Records are written after
 * the answer, so no request waits for the disk, or fails because of it.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Json } from '../../engine/contract/step.ts';
import type { Input } from '../ml/tasks/task.ts';
import type { ServedModel } from './served-model.ts';

export interface RecordOptions {
  folder: string;
  /** The probability with which a request is recorded. */
  share: number;
  /** Prints a line to the server's log. */
  warn(line: string): void;
  /** The number of records that were written, or lost. */
  onRecords(outcome: 'written' | 'lost', count: number): void;
}

export type RequestRecorder = ReturnType<typeof openRecorder>;

export function openRecorder({ folder, share, warn, onRecords }: RecordOptions) {
  const waiting: { lines: string; count: number; day: string }[] = [];
  let waitingLength = 0;
  let working: Promise<void> | undefined;
  let failing = false;
  let current: { day: string; file: FileHandle } | undefined;

  const work = async () => {
    while (waiting.length > 0) {
      const { day } = waiting[0]!;
      const of = waiting.findIndex((one) => one.day !== day);
      const batch = waiting.splice(0, of < 0 ? waiting.length : of);
      const count = batch.reduce((sum, one) => sum + one.count, 0);
      const text = batch.map(({ lines }) => lines).join('');
      try {
        if (current?.day !== day) {
          await leave();
          current = { day, file: await openDay(folder, day) };
        }
        await appendLines(current.file, text);
        onRecords('written', count);
        if (failing) warn(`requests are recorded again in ${folder}`);
        failing = false;
      } catch (error) {
        onRecords('lost', count);
        if (!failing) warn(`requests are answered, but not recorded: ${(error as Error).message}`);
        failing = true;
        // The next attempt opens the file anew, which may have been removed.
        await leave();
      }
      waitingLength -= text.length;
    }
    working = undefined;
  };
  const leave = async () => {
    await current?.file.close().catch(() => {});
    current = undefined;
  };

  return {
    /** Draws whether to record the request. `inputs` and `answers` are in the same order. */
    add(inputs: readonly object[], answers: readonly Json[]): void {
      if (Math.random() >= share || inputs.length === 0) return;
      const time = new Date().toISOString();
      const record = (input: object, i: number) => `${JSON.stringify({ time, id: randomUUID(), input, answer: answers[i] })}\n`;
      const lines = inputs.map(record).join('');
      if (waitingLength + lines.length > MOST_WAITING) {
        onRecords('lost', inputs.length);
        return;
      }
      waiting.push({ lines, count: inputs.length, day: time.slice(0, 10) });
      waitingLength += lines.length;
      working ??= work();
    },
    /** Opens the file, so that a missing permission is reported at the start. */
    async check(): Promise<void> {
      await openDay(folder, new Date().toISOString().slice(0, 10)).then(
        (file) => file.close(),
        (error: Error) => {
          failing = true;
          warn(`requests are answered, but not recorded: ${error.message}`);
        },
      );
    },
    /** Writes what waits. */
    async close(): Promise<void> {
      await working;
      await leave();
    },
  };
}

/** Characters that may wait for a slow disk. Further records are lost. */
const MOST_WAITING = 1 << 25;

/** Only the user of the server may read the records. */
async function openDay(folder: string, day: string): Promise<FileHandle> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = await open(join(folder, `${day}.jsonl`), 'a+', 0o600);
  try {
    // A line that a crash of the machine has left incomplete must not join the next one.
    const { size } = await file.stat();
    if (size > 0 && (await file.read(Buffer.alloc(1), 0, 1, size - 1)).buffer.toString() !== '\n') await file.write('\n');
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Appends all of the lines, or none: a full disk may take only a part of them, which is removed again. */
async function appendLines(file: FileHandle, lines: string): Promise<void> {
  const bytes = Buffer.from(lines);
  const { size } = await file.stat();
  let written = 0;
  try {
    // One write, as long as the disk has space: so lines of several servers do not mix.
    while (written < bytes.length) written += (await file.write(bytes, written)).bytesWritten;
  } catch (error) {
    if (written > 0 && (await file.stat()).size === size + written) await file.truncate(size);
    throw error;
  }
}

/** The model, with a recorder of what it answers. */
export function recorded(model: ServedModel, recorder: RequestRecorder): ServedModel {
  return {
    get bundle() {
      return model.bundle;
    },
    get limits() {
      return model.limits;
    },
    get waiting() {
      return model.waiting;
    },
    get running() {
      return model.running;
    },
    report: (error, request) => model.report(error, request),
    async predict(inputs, options) {
      const answers = await model.predict(inputs, options);
      recorder.add(inputs.map(asGiven(model)), answers);
      return answers;
    },
    async generate(request, options) {
      const texts = await model.generate(request, options);
      const { prompts } = request;
      const each = texts.length / prompts.length;
      recorder.add(
        texts.map(({ prompt }, i) => ({ prompt: prompt ?? (prompts[Math.floor(i / each)] as string) })),
        texts.map(({ text }) => ({ text })),
      );
      return texts;
    },
    close: () => model.close(),
  };
}

/** The input with the list of its words, if it was given as one. */
const asGiven =
  ({ bundle }: ServedModel) =>
  ({ words, ...input }: Input): object => {
    const field = bundle.fields.find((one) => one.words);
    return words === undefined || !field ? input : { ...input, [field.name]: JSON.parse(words) };
  };
