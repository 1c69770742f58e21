/** Reads files as UTF-8: in chunks, whole, or by lines. */

import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { createGunzip, gunzip } from 'node:zlib';
import { StepError } from '../../../engine/step.ts';
import { asUtf8, byteOrderMark, type TextEncoding } from './encodings.ts';

export interface SourceFile {
  path: string;
  /**
   * The name in rows and messages: the path relative to the pipeline's folder, or the address that the file was
   * fetched from.
   */
  source: string;
  size: number;
}

/** The bytes of the file in chunks, decompressed if its name ends in .gz. */
export async function* bytesOf({ path, source }: Omit<SourceFile, 'size'>, encoding: TextEncoding = 'utf-8'): AsyncGenerator<Buffer> {
  const raw = createReadStream(path, { highWaterMark: 1 << 20 });
  try {
    const chunks = zipped(path) ? raw.pipe(createGunzip({ chunkSize: 1 << 18 })) : raw;
    raw.on('error', (error) => chunks.destroy(error));
    yield* asUtf8(chunks as AsyncIterable<Buffer>, encoding, source);
  } catch (error) {
    throw unreadable(source, error);
  } finally {
    raw.destroy();
  }
}

/** The bytes of each whole file. The next few small files are read ahead. */
export async function* wholeFiles(
  files: Iterable<SourceFile>,
  encoding: TextEncoding = 'utf-8',
): AsyncGenerator<{ file: SourceFile; bytes: Buffer }> {
  const reading: { file: SourceFile; bytes: Promise<Buffer> }[] = [];
  let size = 0;
  const next = async () => {
    const { file, bytes } = reading.shift()!;
    size -= file.size;
    return { file, bytes: await bytes };
  };
  for (const file of files) {
    const bytes = wholeFile(file, encoding);
    // Its error is thrown when its turn comes.
    bytes.catch(() => {});
    reading.push({ file, bytes });
    size += file.size;
    while (reading.length > 32 || size > 2 ** 24) yield await next();
  }
  while (reading.length > 0) yield await next();
}

async function wholeFile({ path, source }: SourceFile, encoding: TextEncoding): Promise<Buffer> {
  try {
    const bytes = await readFile(path);
    const whole = zipped(path) ? await promisify(gunzip)(bytes) : bytes;
    const parts: Buffer[] = [];
    for await (const part of asUtf8(inOne(whole), encoding, source)) parts.push(part);
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  } catch (error) {
    throw unreadable(source, error);
  }
}

export async function* inOne(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

const zipped = (path: string) => /\.gz$/i.test(path);

export interface Line {
  number: number;
  bytes: Buffer;
}

/** Lines with their numbers, without line breaks and byte order mark. */
export async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Line> {
  for await (const lines of linesInGroups(chunks)) yield* lines;
}

/** As many at once as are available. */
export async function* linesInGroups(chunks: AsyncIterable<Buffer>): AsyncGenerator<Line[]> {
  let number = 0;
  let rest: Buffer[] = [];
  const line = (bytes: Buffer) => {
    number++;
    if (number === 1 && bytes.subarray(0, 3).equals(byteOrderMark)) bytes = bytes.subarray(3);
    return { number, bytes: bytes.at(-1) === 13 ? bytes.subarray(0, -1) : bytes };
  };
  for await (const chunk of chunks) {
    const lines: Line[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      lines.push(line(rest.length > 0 ? Buffer.concat([...rest, chunk.subarray(start, end)]) : chunk.subarray(start, end)));
      rest = [];
      start = end + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
    if (lines.length > 0) yield lines;
  }
  if (rest.length > 0) yield [line(Buffer.concat(rest))];
}

export function unreadable(source: string, error: unknown): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ERR_FS_FILE_TOO_LARGE')
    return new StepError(`${source}: too large to be read at once`, 'Convert it to JSON lines (.jsonl), which are read line by line.');
  if (code === 'ENOENT') return new StepError(`${source} does not exist`);
  if (code === 'EISDIR') return new StepError(`${source} is a folder`, 'Give the path of a file.');
  if (code === 'EACCES' || code === 'EPERM')
    return new StepError(`${source}: permission to read denied`, `Allow reading it: chmod u+r ${source}`);
  if (code?.startsWith('Z_')) return new StepError(`${source}: not a valid gzip file (${message})`);
  return code ? new StepError(`${source}: cannot be read (${message})`) : (error as Error);
}
