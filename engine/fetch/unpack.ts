/**
 * Unpacks archives safely. It refuses the whole archive if an entry or a link leaves the folder, if it contains a device, or
 * if it expands to an implausible size. It preserves only the executable bit of modes.
 */

import { createWriteStream } from 'node:fs';
import { chmod, mkdir, open, readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw } from 'node:zlib';
import type { Entry, ZipFile } from 'yauzl';
import { diskError, freeSpace } from '../../cache/error.ts';
import { isSafePath } from '../contract/address.ts';
import { StepError } from '../contract/step.ts';

type Form = 'tar' | 'zip';

/** The type of an archive by its name, otherwise by its first bytes; undefined if it is no archive. */
export async function archiveForm(file: string, name: string): Promise<Form | undefined> {
  if (/\.(tar|tgz|tar\.gz)$/i.test(name)) return 'tar';
  if (/\.zip$/i.test(name)) return 'zip';
  if (/\.[a-z]\w*$/i.test(name)) return undefined;
  const handle = await open(file);
  try {
    const { buffer } = await handle.read(Buffer.alloc(512), 0, 512, 0);
    if (buffer.subarray(0, 4).equals(Buffer.from('PK\x03\x04'))) return 'zip';
    return buffer.subarray(257, 262).equals(Buffer.from('ustar')) || buffer.readUInt16BE(0) === 0x1f8b ? 'tar' : undefined;
  } finally {
    await handle.close();
  }
}

/** `what`: the name of the archive in messages. */
export async function unpack(file: string, form: Form, folder: string, what: string, signal: AbortSignal): Promise<void> {
  const { size } = await stat(file);
  const guard = new Guard(what, Math.max(LEAST, size * MOST_TIMES), folder, signal);
  try {
    await mkdir(folder, { recursive: true });
    if (form === 'tar') await untar(file, folder, guard);
    else await unzip(file, folder, guard);
  } catch (error) {
    if (error instanceof StepError) throw error;
    if (['EEXIST', 'ENOTDIR', 'EISDIR', 'ERR_FS_EISDIR'].includes(String((error as NodeJS.ErrnoException).code)))
      throw new StepError(`${what} is not a valid ${form} archive: two entries have the same path`, 'Create the archive again.');
    const explained = diskError(error, `unpacking ${what}`, folder);
    if (explained !== error || !isAboutArchive(error)) throw explained;
    throw new StepError(
      `${what} is not a valid ${form} archive: ${(error as Error).message}`,
      'Check that it is complete and that its name has the right extension.',
    );
  }
}

/** Moves the content of a single top-level folder up, because only some archives have such a folder. */
export async function flattenTopFolder(folder: string): Promise<void> {
  const entries = (await readdir(folder, { withFileTypes: true })).filter(({ name }) => !JUNK.has(name));
  const [only, ...others] = entries;
  if (!only?.isDirectory() || others.length > 0) return;
  // Under a name that no entry has.
  const aside = `${folder}-top`;
  await rename(join(folder, only.name), aside);
  await rm(folder, { recursive: true });
  await rename(aside, folder);
}

const JUNK = new Set(['__MACOSX', '.DS_Store', 'pax_global_header']);

/** Maximum expansion factor. Text compresses by a factor of 10 to 20; a factor of 1,000 suggests a zip bomb. */
const MOST_TIMES = 200;
const LEAST = 1e9;
const LONGEST_NAME = 255;
const LONGEST_PATH = 4095;

class Guard {
  #bytes = 0;
  #entries = 0;
  readonly #links = new Set<string>();

  constructor(
    private readonly what: string,
    private readonly most: number,
    private readonly folder: string,
    private readonly signal: AbortSignal,
  ) {}

  /** Throws if an entry is unsafe. `link`: its target, relative to its folder, or to the top for a hard link. */
  check(path: string, size: number, link?: { to: string; hard: boolean }): void {
    this.signal.throwIfAborted();
    this.#bytes += size;
    this.#entries++;
    const name = path.replace(/^(\.\/)+/, '').replace(/\/+$/, '');
    if (name !== '' && name !== '.' && !isSafePath(name)) this.refusePath(path);
    const longest = Math.max(...name.split('/').map((part) => Buffer.byteLength(part)));
    if (longest > LONGEST_NAME)
      throw new StepError(
        `cannot unpack ${this.what}: its entry ${path} has a name of ${longest} bytes, but file systems allow ${LONGEST_NAME}`,
        'Create it again with shorter names, or unpack it in a separate step.',
      );
    const bytes = Buffer.byteLength(join(this.folder, name));
    if (bytes > LONGEST_PATH)
      throw new StepError(
        `cannot unpack ${this.what}: its entry ${path} would have a path of ${bytes} bytes, but the system allows ${LONGEST_PATH}`,
        'Create it again with shorter names, or unpack it in a separate step.',
      );
    // If a link is part of the path, the name does not show where the file ends up.
    for (let above = posix.dirname(name); above !== '.' && above !== '/'; above = posix.dirname(above))
      if (this.#links.has(above)) this.#refuse(`the path of its entry ${path} contains the link ${above}`);
    if (link) {
      const target = posix.join(link.hard ? '' : posix.dirname(name), link.to);
      const back = /[^/.][^/]*\/+\.\.(\/|$)/.test(link.to);
      if (posix.isAbsolute(link.to) || target === '..' || target.startsWith('../') || back || link.to.includes('\\'))
        this.#refuse(`its link ${path} points outside, to ${link.to}`);
      if (!link.hard) this.#links.add(name);
    }
    if (this.#bytes > this.most)
      this.#refuse(`it expands to more than ${Math.round(this.most / 1e9)} GB, which is implausible for its size`);
    if (this.#entries > 5e6) this.#refuse('it contains more than five million files');
    if (this.#bytes > freeSpace(this.folder)) throw diskError({ code: 'ENOSPC' }, `unpacking ${this.what}`, this.folder, this.#bytes);
  }

  refusePath(path: string): never {
    return this.#refuse(`its entry ${path} would be written outside of the target folder`);
  }

  refuseKind(path: string, kind: string): never {
    return this.#refuse(`its entry ${path} is a ${kind}`);
  }

  #refuse(why: string): never {
    throw new StepError(
      `refused to unpack ${this.what}: ${why}`,
      'The archive may be malicious. If you trust it, unpack it in a separate step.',
    );
  }
}

async function untar(file: string, folder: string, guard: Guard): Promise<void> {
  const { extract } = await import('tar');
  let wrong: unknown;
  await extract({
    file,
    cwd: folder,
    strict: true,
    noMtime: true,
    preserveOwner: false,
    filter(path, entry) {
      if (wrong !== undefined) return false;
      try {
        const { mode = 0, type: kind } = entry as { mode?: number; type: string };
        // No setuid, setgid or sticky bits, and always readable and removable by the owner.
        (entry as { mode?: number }).mode = mode & 0o111 || kind.endsWith('Directory') || kind === 'GNUDumpDir' ? 0o755 : 0o644;
        const { type, size = 0, linkpath } = entry as { type: string; size?: number; linkpath?: string };
        if (type === 'SymbolicLink' || type === 'Link') guard.check(path, 0, { to: linkpath ?? '', hard: type === 'Link' });
        else if (['File', 'OldFile', 'ContiguousFile', 'Directory', 'GNUDumpDir'].includes(type)) guard.check(path, size);
        else guard.refuseKind(path, type);
        return true;
      } catch (error) {
        wrong = error;
        return false;
      }
    },
  }).catch((error) => {
    wrong ??= error;
  });
  if (wrong !== undefined) throw wrong;
}

async function unzip(file: string, folder: string, guard: Guard): Promise<void> {
  const { default: yauzl } = await import('yauzl');
  const zip = await yauzl.openPromise(file, { lazyEntries: true, strictFileNames: true });
  try {
    for await (const entry of zip.eachEntry()) {
      const { fileName, uncompressedSize } = entry;
      const path = join(folder, fileName);
      const mode = entry.externalFileAttributes >>> 16;
      if (fileName.endsWith('/')) {
        guard.check(fileName, 0);
        await mkdir(path, { recursive: true });
        continue;
      }
      guard.check(fileName, uncompressedSize);
      if (entry.isEncrypted())
        throw new StepError(`${fileName} of the archive is encrypted`, 'Unpack it in a separate step, with the password in its `secrets`.');
      await mkdir(dirname(path), { recursive: true });
      if ((mode & 0o170000) === 0o120000) {
        const to = Buffer.concat(await (await contentOfEntry(zip, entry)).toArray()).toString();
        guard.check(fileName, 0, { to, hard: false });
        await symlink(to, path);
        continue;
      }
      // If two entries have the same name, the later one counts, as in a tar archive.
      await rm(path, { force: true });
      await pipeline(await contentOfEntry(zip, entry), createWriteStream(path, { flags: 'wx' }));
      if (mode & 0o111) await chmod(path, 0o755);
    }
  } catch (error) {
    // The library reports such names itself.
    const path = /^(?:invalid relative path|absolute path|invalid characters in fileName): (.*)$/s.exec((error as Error).message)?.[1];
    if (path !== undefined) guard.refusePath(path);
    throw error;
  } finally {
    zip.close();
  }
}

/**
 * The content of an entry, checked against the size and CRC-32 in the archive. The library's own check crashes the process if
 * an entry is larger than declared, so the bytes are unpacked and counted here.
 */
async function contentOfEntry(zip: ZipFile, entry: Entry): Promise<Readable> {
  const { fileName, compressionMethod, uncompressedSize } = entry;
  if (compressionMethod !== 0 && compressionMethod !== 8)
    throw new Error(`${fileName} uses an unsupported compression method (${compressionMethod})`);
  let size = 0;
  let sum = 0;
  const checked = new Transform({
    transform(chunk, _, done) {
      size += chunk.length;
      sum = crc32(chunk, sum);
      done(size > uncompressedSize ? new Error(`${fileName} is larger than its declared ${uncompressedSize} bytes`) : null, chunk);
    },
    flush(done) {
      if (size < uncompressedSize) done(new Error(`${fileName} has ${size} bytes instead of its declared ${uncompressedSize}`));
      else done(sum === entry.crc32 ? null : new Error(`${fileName} is damaged: its CRC-32 does not match`));
    },
  });
  // The reader of the stream receives the error, too.
  checked.on('error', () => {});
  const raw = await zip.openReadStreamPromise(entry, { decodeFileData: false });
  const all = compressionMethod === 8 ? pipeline(raw, createInflateRaw(), checked) : pipeline(raw, checked);
  all.catch((error) => checked.destroy(error));
  return checked;
}

/** Whether an error comes from the archive library and not from the operating system. */
function isAboutArchive(error: unknown): boolean {
  const code = String((error as NodeJS.ErrnoException).code ?? '');
  return code === '' || /^(TAR|Z_|ERR_)/.test(code);
}
