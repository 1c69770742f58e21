/** The files of a folder that is pushed: their hashes, and their bytes as the bodies of requests. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import { hashOfFile } from '../data/whole-files.ts';
import { filesIn } from '../models/pointer.ts';

/** The record of a push, which is not pushed itself: it contains the commit. */
export const PUSH_RECORD = 'pushed.json';

/** The files of git, and those that Hugging Face's libraries leave in a folder. */
const OWN_FILES = /(^|\/)\.git\/|^\.cache\/huggingface\//;

export interface LocalFile {
  /** In the repository, with `/`. */
  path: string;
  file: string;
  size: number;
  /** Differs after each change of the file. */
  state: string;
}

/** @throws StepError if there are none */
export async function localFiles(folder: string): Promise<LocalFile[]> {
  const paths = (await filesIn(folder)).filter((path) => path !== PUSH_RECORD && !OWN_FILES.test(path));
  return Promise.all(
    paths.map(async (path) => {
      const file = join(folder, path);
      const stats = await stat(file);
      return { path, file, size: stats.size, state: stateOf(stats) };
    }),
  );
}

const stateOf = ({ size, mtimeMs, ctimeMs, ino }: { size: number; mtimeMs: number; ctimeMs: number; ino: number }): string =>
  [size, mtimeMs, ctimeMs, ino].join(' ');

/** @throws StepError if a file was written or removed since the listing */
export async function refuseChanged(files: LocalFile[]): Promise<void> {
  for (const file of files) {
    const stats = await stat(file.file).catch(() => undefined);
    if (!stats || stateOf(stats) !== file.state) throw changed(file);
  }
}

const changed = ({ path }: LocalFile): StepError =>
  new StepError(
    `${path} changed during the push, so nothing was committed`,
    'Wait until whatever writes the folder has ended, then push again.',
  );

/** SHA-256, the name of a large file (Git LFS). */
export const lfsHash = ({ file }: LocalFile): Promise<string> => hashOfFile(file);

/** The hash under which git stores a small file. */
export async function gitHash({ file, size }: LocalFile): Promise<string> {
  const hash = createHash('sha1').update(`blob ${size}\0`);
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest('hex');
}

/** The first bytes, by which a hub decides whether the file is text. */
export async function sampleOf({ file }: LocalFile): Promise<Buffer> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/**
 * Bytes of a file as the body of a request. They are read when they are sent, so that a large file takes no memory, and the length
 * of the body is known, which storages require.
 */
export class FileSlice extends Blob {
  readonly #from: LocalFile;
  readonly #start: number;
  readonly #end: number;
  readonly #onBytes: (count: number) => void;

  constructor(from: LocalFile, { start = 0, end = from.size }: { start?: number; end?: number }, onBytes: (count: number) => void) {
    super();
    this.#from = from;
    this.#start = start;
    this.#end = end;
    this.#onBytes = onBytes;
  }

  override get size(): number {
    return this.#end - this.#start;
  }

  override stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    const [from, end, onBytes] = [this.#from, this.#end, this.#onBytes];
    let at = this.#start;
    let handle: FileHandle | undefined;
    return new ReadableStream({
      async pull(controller) {
        handle ??= await open(from.file).catch(() => {
          throw changed(from);
        });
        const { buffer, bytesRead } = await handle.read(new Uint8Array(Math.min(CHUNK, end - at)), 0, undefined, at);
        at += bytesRead;
        // Before the last bytes leave, so that a storage never has a whole file with the wrong content.
        if (bytesRead === 0 || at >= end) {
          const stats = await handle.stat();
          await handle.close();
          if (at < end || stateOf(stats) !== from.state) throw changed(from);
        }
        controller.enqueue(buffer.subarray(0, bytesRead));
        onBytes(bytesRead);
        if (at >= end) controller.close();
      },
      async cancel() {
        await handle?.close().catch(() => {});
      },
    });
  }
}

const CHUNK = 256 * 1024;
