/**
 * Reads files in any character encoding as UTF-8: in chunks, whole, or by lines. Bytes that an encoding does not define
 * become a byte that is invalid in UTF-8, so that the row is rejected.
 */

import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { StringDecoder } from 'node:string_decoder';
import { promisify } from 'node:util';
import { createGunzip, gunzip } from 'node:zlib';
import { StepError } from '../../../engine/contract/step.ts';

/** The names of the WHATWG Encoding Standard; but `latin1` is ISO 8859-1 itself, not windows-1252. */
export const ENCODINGS = [
  'utf-8',
  'utf-16',
  'utf-16le',
  'utf-16be',
  'latin1',
  'windows-1250',
  'windows-1251',
  'windows-1252',
  'windows-1253',
  'windows-1254',
  'windows-1255',
  'windows-1256',
  'windows-1257',
  'windows-1258',
  'iso-8859-2',
  'iso-8859-5',
  'iso-8859-7',
  'iso-8859-15',
  'koi8-r',
  'macintosh',
  'shift_jis',
  'euc-jp',
  'gb18030',
  'big5',
  'euc-kr',
] as const;

export type TextEncoding = (typeof ENCODINGS)[number];

/** The likely encoding of a text with NUL characters: in UTF-16, every second byte of plain English is NUL. */
export const likelyUtf16 = (text: string): TextEncoding => (text.startsWith('\0') ? 'utf-16be' : 'utf-16le');

/**
 * Rejects UTF-16 without a byte order mark, which can be valid UTF-8 by chance: every second byte is NUL, or one of
 * the few high bytes of its alphabet. A NUL character in other encodings has different neighbours, and is kept.
 */
export function refuseUtf16(bytes: Buffer, source: string, hint: (encoding: TextEncoding) => string): void {
  const start = bytes.subarray(0, SAMPLE);
  if (start.length < 6 || !start.includes(0)) return;
  const seen = [new Set<number>(), new Set<number>()] as const;
  let nuls = 0;
  for (const [at, byte] of start.entries()) {
    seen[at % 2]!.add(byte);
    if (byte === 0) nuls++;
  }
  for (const [high, low, encoding] of [
    [seen[1], seen[0], 'utf-16le'],
    [seen[0], seen[1], 'utf-16be'],
  ] as const)
    if (high.has(0) && !low.has(0) && high.size <= (start.length < 16 ? 1 : MOST_BLOCKS))
      throw new StepError(
        `${source}: is UTF-16 without a byte order mark: ${nuls} of its first ${start.length} bytes are NUL`,
        hint(encoding),
      );
}

const SAMPLE = 512;
/** Blocks of 256 characters each: Latin, another alphabet, punctuation. */
const MOST_BLOCKS = 3;

/** Rejects a column name that SQL cannot express. */
export function refuseNul(names: readonly string[], place: string, hint: (encoding: TextEncoding) => string): void {
  const name = names.find((one) => one.includes('\0'));
  if (name !== undefined)
    throw new StepError(`${place}: the column name ${JSON.stringify(name)} contains a NUL character`, hint(likelyUtf16(names[0]!)));
}

/** Converts chunks of a file in `encoding` to chunks of UTF-8. `source` is the name of the file in messages. */
export async function* asUtf8(chunks: AsyncIterable<Buffer>, encoding: TextEncoding, source: string): AsyncGenerator<Buffer> {
  let decoder: Decoder | undefined;
  for await (const chunk of whenLongEnough(chunks)) {
    decoder ??= decoderOf(encoding, chunk, source);
    const bytes = decoder(chunk);
    if (bytes.length > 0) yield bytes;
  }
  const rest = decoder?.(undefined);
  if (rest && rest.length > 0) yield rest;
}

/** The first chunk is long enough for a byte order mark. */
async function* whenLongEnough(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let first: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (first === undefined) yield chunk;
    else {
      first = Buffer.concat([first, chunk]);
      if (first.length < 3) continue;
      yield first;
      first = undefined;
    }
  }
  if (first && first.length > 0) yield first;
}

/** Takes chunks and, at the end, nothing; returns UTF-8. */
type Decoder = (chunk: Buffer | undefined) => Buffer;

function decoderOf(encoding: TextEncoding, start: Buffer, source: string): Decoder {
  const mark = markOf(start);
  if (encoding === 'utf-8') {
    if (mark?.startsWith('utf-16'))
      throw new StepError(`${source}: is UTF-16, not UTF-8`, 'Set `encoding: utf-16` (for predict: `--encoding utf-16`).');
    return (chunk) => chunk ?? Buffer.alloc(0);
  }
  if (encoding.startsWith('utf-16')) return utf16Decoder(encoding, mark, source);
  if (mark)
    throw new StepError(`${source}: its byte order mark is that of ${mark.toUpperCase()}, not ${encoding}`, `Set \`encoding: ${mark}\`.`);
  if (encoding === 'latin1') return (chunk) => Buffer.from(chunk?.toString('latin1') ?? '');
  const decoder = new TextDecoder(encoding, { ignoreBOM: true });
  const undefinedIn = encoding.startsWith('windows-') ? /[\ufffd\x80-\x9f]/ : /\ufffd/;
  return (chunk) => marked(chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode(), undefinedIn);
}

function markOf(start: Buffer): 'utf-8' | 'utf-16' | undefined {
  if (start.subarray(0, 3).equals(byteOrderMark)) return 'utf-8';
  const first = start.length > 1 ? start.readUInt16BE(0) : 0;
  return first === 0xfffe || first === 0xfeff ? 'utf-16' : undefined;
}

export const byteOrderMark = Buffer.from('\ufeff');

/** Strings may contain unpaired surrogates, which are not characters. */
function utf16Decoder(encoding: TextEncoding, mark: 'utf-8' | 'utf-16' | undefined, source: string): Decoder {
  if (mark === 'utf-8') throw new StepError(`${source}: its byte order mark is that of UTF-8, not UTF-16`, 'Remove `encoding`.');
  if (encoding === 'utf-16' && mark === undefined)
    throw new StepError(`${source}: has no byte order mark, so the byte order is unknown`, 'Set `encoding: utf-16le` or `utf-16be`.');
  const decoder = new StringDecoder('utf16le');
  let bigEndian = encoding === 'utf-16be';
  let first = true;
  let odd: Buffer = Buffer.alloc(0);
  return (chunk) => {
    if (!chunk) return marked(decoder.end() + (odd.length > 0 ? '\ud800' : ''), /\p{Surrogate}/u);
    if (first && encoding === 'utf-16') bigEndian = chunk[0] === 0xfe;
    const whole = Buffer.concat([odd, chunk]);
    const even = whole.length - (whole.length % 2);
    odd = whole.subarray(even);
    const pairs = whole.subarray(0, even);
    const text = decoder.write(bigEndian ? Buffer.from(pairs).swap16() : pairs);
    const start = first && text.startsWith('\ufeff') ? 1 : 0;
    if (text.length > 0) first = false;
    return marked(text.slice(start), /\p{Surrogate}/u);
  };
}

/** UTF-8 with an invalid byte in place of each character that `faulty` matches. */
function marked(text: string, faulty: RegExp): Buffer {
  if (!faulty.test(text)) return Buffer.from(text);
  const parts = text.split(new RegExp(faulty, `g${faulty.flags}`)).map((part) => Buffer.from(part));
  return Buffer.concat(parts.flatMap((part, i) => (i === 0 ? [part] : [notUtf8, part])));
}

const notUtf8 = Buffer.from([0xff]);

/* Reading files. */

export interface SourceFile {
  path: string;
  /** The name in rows and messages: the path relative to the pipeline's folder, or the address that the file was fetched from. */
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
