/**
 * The download cache that the Hugging Face libraries of all languages share:
 *
 *   models--owner--name/refs/main               the last known commit of a branch
 *   models--owner--name/trees/<commit>.json     the files of a commit, with their sizes and hashes
 *   models--owner--name/blobs/<hash>            their bytes, by SHA-256, or by git hash for small files
 *   models--owner--name/snapshots/<commit>/…    the files of a commit by name, as links to blobs
 *   .locks/
 */

import { copyFile, mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { replaceFileIfPossible, temporaryIn } from '../../cache/atomic-move.ts';
import { contentOf } from '../../cache/content.ts';
import { diskError } from '../../cache/error.ts';
import type { FileHashCache } from '../../cache/file-hash-cache.ts';
import { type FileHash, hashOfFile } from './download.ts';

/** A file of a commit. */
export interface FileFacts {
  size: number;
  /** Hash of the file. If a mirror does not provide it, the server's ETag is the name of the blob. */
  hash?: FileHash;
}

export type RepositoryTree = Map<string, FileFacts>;

/** One file of a listing in `trees/`. */
export interface TreeEntry {
  size: number;
  blob_id: string;
  lfs_sha256?: string;
  lfs_size?: number;
  xet_hash?: string;
}

export class HubCache {
  readonly #root: string;
  readonly #folder: string;
  readonly #locks: string;

  /** `root`: the folder of all repositories; `folder`: the name of this repository's folder. */
  constructor(
    root: string,
    folder: string,
    private readonly fileHashes: FileHashCache,
  ) {
    this.#root = root.replace(/^~(?=\/|$)/, homedir());
    this.#folder = join(this.#root, folder);
    this.#locks = join(this.#root, '.locks', folder);
  }

  get root(): string {
    return this.#root;
  }

  async commitAt(revision: string): Promise<string | undefined> {
    const commit = (await readFile(join(this.#folder, 'refs', revision), 'utf8').catch(() => ''))?.trim();
    return /^\w+$/.test(commit) ? commit : undefined;
  }

  /** Ignores errors, because the cache may be read-only, and the entry only helps without a network. */
  async rememberCommit(revision: string, commit: string): Promise<void> {
    if ((await this.commitAt(revision)) === commit) return;
    replaceFileIfPossible(join(this.#folder, 'refs', revision), commit);
  }

  async tree(commit: string): Promise<RepositoryTree | undefined> {
    try {
      const { format_version, files } = JSON.parse(await readFile(join(this.#folder, 'trees', `${commit}.json`), 'utf8'));
      return format_version === 1 ? treeOf(files) : undefined;
    } catch {
      return undefined;
    }
  }

  rememberTree(commit: string, files: Record<string, TreeEntry>): void {
    const sorted = Object.fromEntries(Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1)));
    replaceFileIfPossible(join(this.#folder, 'trees', `${commit}.json`), JSON.stringify({ format_version: 1, files: sorted }, null, 1));
  }

  /** The files of a snapshot whose listing is unknown. */
  async names(commit: string): Promise<string[]> {
    const folder = this.pathOf(commit, '');
    const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
    const names = entries.filter((entry) => !entry.isDirectory()).map((entry) => relative(folder, join(entry.parentPath, entry.name)));
    return names.map((name) => name.replaceAll('\\', '/')).sort();
  }

  pathOf(commit: string, name: string): string {
    return join(this.#folder, 'snapshots', commit, name);
  }

  async sizeOf(commit: string, name: string): Promise<number> {
    return (await stat(this.pathOf(commit, name))).size;
  }

  blob(name: string): string {
    return join(this.#folder, 'blobs', name);
  }

  lock(blob: string): string {
    // Another name than Python's locks, because Python does not remove its lock files.
    return join(this.#locks, `${blob}.tunesmith`);
  }

  /** The state of a path in the cache: the right file, another file, or missing. */
  async stateOf(path: string, { size, hash }: FileFacts): Promise<'sound' | 'damaged' | 'missing'> {
    const found = await stat(path).catch(() => undefined);
    if (!found) return 'missing';
    if (found.size !== size) return 'damaged';
    if (!hash) return 'sound';
    const actual = hash.kind === 'sha256' ? (await contentOf(path, this.fileHashes))?.hash : await hashOfFile(path, hash.kind);
    return actual === hash.hex ? 'sound' : 'damaged';
  }

  async forget(blob: string): Promise<void> {
    await rm(this.blob(blob), { force: true });
  }

  /** Links a blob under its name in a snapshot. */
  async link(blob: string, commit: string, name: string): Promise<void> {
    const path = this.pathOf(commit, name);
    // In the folder of locks, where a leftover is not mistaken for a file of the repository.
    const made = temporaryIn(this.#locks);
    try {
      await mkdir(dirname(path), { recursive: true });
      await symlink(relative(dirname(path), this.blob(blob)), made).catch(() => copyFile(this.blob(blob), made));
      await rename(made, path);
    } catch (error) {
      await rm(made, { force: true });
      throw diskError(error, `linking ${name}`, this.#root);
    }
  }
}

export function treeOf(files: Record<string, TreeEntry>): RepositoryTree {
  return new Map(
    Object.entries(files).map(([name, { size, blob_id, lfs_sha256, lfs_size }]): [string, FileFacts] => [
      name,
      lfs_sha256 !== undefined
        ? { size: lfs_size ?? size, hash: { kind: 'sha256', hex: lfs_sha256 } }
        : { size, hash: /^[0-9a-f]{40}$/.test(blob_id) ? { kind: 'git', hex: blob_id } : undefined },
    ]),
  );
}
