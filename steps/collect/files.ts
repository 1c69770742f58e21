/** Which files a collect step reads, what their format is, and their bytes. */
import { createReadStream, type Dirent } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, extname, join, relative, sep } from 'node:path';
import { promisify } from 'node:util';
import { createGunzip, gunzip } from 'node:zlib';
import { StepError } from '../../engine/step.ts';

export type Format = 'csv' | 'tsv' | 'json' | 'jsonl' | 'parquet' | 'text' | 'mail';

export interface SourceFile {
  path: string;
  /** As rows and messages say it: the path relative to the pipeline's folder, or the address that it was fetched from. */
  source: string;
  size: number;
}

/**
 * Folders stand for the files in them, at any depth; dotfiles and node_modules are passed over. `addresses`: of what was
 * fetched, by path.
 */
export async function listFiles(paths: string[], folder: string, addresses: Record<string, string>): Promise<SourceFile[]> {
  const files = new Map<string, SourceFile>();
  const add = async (path: string, source: string) => {
    let size = 0;
    try {
      const found = await stat(path);
      size = found.size;
      if (found.isDirectory()) {
        for (const entry of (await readdir(path, { withFileTypes: true })).filter(visible).sort(byBytes)) {
          await add(join(path, entry.name), source === '' ? entry.name : `${source}/${entry.name}`);
        }
        return;
      }
    } catch (error) {
      throw unreadable(source, error);
    }
    files.set(path, { path, source, size });
  };
  for (const path of paths) await add(path, addresses[path] ?? relative(folder, path).split(sep).join('/'));
  if (files.size === 0) throw new StepError('there are no files to read', 'The folders of `files` are empty.');
  return [...files.values()];
}

const visible = (entry: Dirent) => !entry.name.startsWith('.') && entry.name !== 'node_modules';

const byBytes = (a: Dirent, b: Dirent) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));

const extensions: Record<string, Format> = {
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.tab': 'tsv',
  '.json': 'json',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.parquet': 'parquet',
  '.pq': 'parquet',
  '.txt': 'text',
  '.text': 'text',
  '.md': 'text',
  '.eml': 'mail',
  '.mbox': 'mail',
};

/** All files of a step have one format. */
export function formatOf(files: SourceFile[]): Format {
  const formats = new Map<Format, string>();
  for (const { source } of files) {
    const extension = extname(source.replace(/\.gz$/i, '')).toLowerCase();
    const format = extensions[extension];
    if (!format)
      throw new StepError(
        `${source}: cannot tell the format from ${extension ? `the extension ${extension}` : 'a name without extension'}`,
        'Set `format`: csv, tsv, json, jsonl, parquet, text or mail.',
      );
    formats.set(format, formats.get(format) ?? source);
  }
  if (formats.size > 1)
    throw new StepError(
      `the files are of several formats: ${[...formats].map(([format, source]) => `${source} is ${format}`).join(', ')}`,
      'Read one format per collect step, or set `format` if all are the same.',
    );
  return [...formats.keys()][0]!;
}

/** The file's bytes in chunks, unzipped if its name ends in .gz. */
export async function* bytesOf({ path, source }: SourceFile): AsyncGenerator<Buffer> {
  const raw = createReadStream(path, { highWaterMark: 1 << 20 });
  try {
    const chunks = zipped(path) ? raw.pipe(createGunzip({ chunkSize: 1 << 18 })) : raw;
    raw.on('error', (error) => chunks.destroy(error));
    let first = true;
    for await (const chunk of chunks as AsyncIterable<Buffer>) {
      if (first) refuseUtf16(chunk, source);
      first = false;
      yield chunk;
    }
  } catch (error) {
    throw unreadable(source, error);
  } finally {
    raw.destroy();
  }
}

/** Each file's bytes at once. The next few small files are being read meanwhile. */
export async function* wholeFiles(files: Iterable<SourceFile>): AsyncGenerator<{ file: SourceFile; bytes: Buffer }> {
  const reading: { file: SourceFile; bytes: Promise<Buffer> }[] = [];
  let size = 0;
  const next = async () => {
    const { file, bytes } = reading.shift()!;
    size -= file.size;
    return { file, bytes: await bytes };
  };
  for (const file of files) {
    const bytes = wholeFile(file);
    // Its failure is met when its turn comes.
    bytes.catch(() => {});
    reading.push({ file, bytes });
    size += file.size;
    while (reading.length > 32 || size > 2 ** 24) yield await next();
  }
  while (reading.length > 0) yield await next();
}

async function wholeFile({ path, source }: SourceFile): Promise<Buffer> {
  try {
    const bytes = await readFile(path);
    const whole = zipped(path) ? await promisify(gunzip)(bytes) : bytes;
    refuseUtf16(whole, source);
    return whole;
  } catch (error) {
    throw unreadable(source, error);
  }
}

const zipped = (path: string) => /\.gz$/i.test(path);

function refuseUtf16(bytes: Buffer, source: string): void {
  const mark = bytes.length > 1 && bytes.readUInt16BE(0);
  if (mark === 0xfffe || mark === 0xfeff)
    throw new StepError(`${source}: is UTF-16, not UTF-8`, `Convert it: iconv -f UTF-16 -t UTF-8 ${basename(source)} > converted`);
}

/** Lines with their numbers, without line breaks and byte order mark. */
export async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<{ number: number; bytes: Buffer }> {
  let number = 0;
  let rest: Buffer[] = [];
  const line = (bytes: Buffer) => {
    number++;
    if (number === 1 && bytes.subarray(0, 3).equals(byteOrderMark)) bytes = bytes.subarray(3);
    return { number, bytes: bytes.at(-1) === 13 ? bytes.subarray(0, -1) : bytes };
  };
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      yield line(rest.length > 0 ? Buffer.concat([...rest, chunk.subarray(start, end)]) : chunk.subarray(start, end));
      rest = [];
      start = end + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
  }
  if (rest.length > 0) yield line(Buffer.concat(rest));
}

export const byteOrderMark = Buffer.from('\ufeff');

function unreadable(source: string, error: unknown): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ERR_FS_FILE_TOO_LARGE')
    return new StepError(`${source}: too large to be read at once`, 'Make it JSON lines (.jsonl), which are read line by line.');
  if (code === 'ENOENT') return new StepError(`${source}: there is no such file`);
  if (code === 'EACCES' || code === 'EPERM')
    return new StepError(`${source}: may not be read`, `Give yourself the right to: chmod u+r ${source}`);
  if (code?.startsWith('Z_')) return new StepError(`${source}: not a sound gzip file (${message})`);
  return code ? new StepError(`${source}: cannot be read (${message})`) : (error as Error);
}
