/**
 * The Hugging Face hub: resolves revisions to commits and puts files into the cache that the Hugging Face libraries share.
 * `@huggingface/hub` sends the requests and locates the cache. This file and download.ts add what it lacks: resuming
 * downloads, verifying hashes, locking, working offline, and completing downloads of other libraries.
 */

import { copyFile, link, mkdir, readdir, readFile, realpath, rename, rm, stat, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { replaceFileIfPossible, temporaryIn } from '../../cache/atomic-move.ts';
import { contentOf } from '../../cache/content.ts';
import { sha256 } from '../../cache/digest.ts';
import { diskError } from '../../cache/error.ts';
import type { FileHashCache } from '../../cache/file-hash-cache.ts';
import { type HubAddress, isSafePath } from '../contract/address.ts';
import { isOffline } from '../contract/hub-account.ts';
import { StepError, Unreachable } from '../contract/step.ts';
import { chooseFiles, dataFiles, repositoryOf } from './choose-files.ts';
import { download, hashOfFile } from './download.ts';
import { type FetchedStore, type FetchProgress, withDownloadLock } from './fetched-store.ts';
import { type FileFacts, HubApi, HubRefusal, type TreeEntry } from './hub-api.ts';
import { type AddressProvider, type Fetched, type FetchSettings, inParallel } from './provider.ts';

type RepositoryTree = Map<string, FileFacts>;

export class Hub implements AddressProvider<HubAddress> {
  readonly #api = new HubApi();

  constructor(
    private readonly store: FetchedStore,
    private readonly settings: FetchSettings,
  ) {}

  /** The current commit of the address; the last known one if the hub cannot be reached. */
  async pin(address: HubAddress): Promise<{ name: string; revision: string }> {
    const { type, path, revision } = address;
    const name = repositoryOf({ ...address, revision: undefined }) + (path === '' ? '' : `/${path}`);
    if (revision !== undefined || type === 'model' || path !== '')
      return { name, revision: await this.#commitOf(address, revision ?? 'main') };
    return { name, revision: await this.#commitOfData(address) };
  }

  async fetch(address: HubAddress, commit: string, progress: FetchProgress): Promise<Fetched[]> {
    const cache = await this.#cache(address);
    const tree = await this.#tree(address, commit, progress.signal);
    const { files, given } = chooseFiles(tree.keys(), address);
    const odd = files.find((name) => !isSafePath(name));
    if (odd !== undefined)
      throw new StepError(`${repositoryOf(address)} has a file with a path outside of its folder: ${odd}`, 'Do not use this repository.');
    const missing: string[] = [];
    for (const name of files) {
      const state = await cache.stateOf(cache.pathOf(commit, name), tree.get(name)!);
      if (state === 'damaged') progress.log(`${name} of ${repositoryOf(address)} is damaged in the cache and will be downloaded again`);
      if (state !== 'sound') missing.push(name);
    }
    let there = files;
    if (isOffline()) {
      throwIfMissing(missing, address, commit, cache);
      there = files.filter((name) => !missing.includes(name));
    } else if (missing.length > 0) {
      const bytes = missing.reduce((sum, name) => sum + tree.get(name)!.size, 0);
      progress.expect(bytes, missing.length);
      await inParallel(missing, progress.signal, (name, signal) =>
        this.#fetchFile(address, commit, name, tree.get(name)!, cache, { ...progress, signal }),
      );
    }
    const place = await this.#linkedFolder(there, address, commit, cache, progress);
    const root = repositoryOf({ ...address, revision: undefined });
    const repository = repositoryOf({ ...address, revision: commit });
    return given.map((name) => ({ path: join(place, name), address: name === '' ? root : `${root}/${name}`, repository }));
  }

  /** For a whole dataset: the commit of its own Parquet files, otherwise of those that the hub has converted. */
  async #commitOfData(address: HubAddress): Promise<string> {
    const own = await this.#commitOf(address, 'main');
    if (dataFiles([...(await this.#tree(address, own, this.settings.signal)).keys()])[0]?.endsWith('.parquet')) return own;
    try {
      return await this.#commitOf(address, 'refs/convert/parquet');
    } catch (error) {
      const none = (error instanceof HubRefusal && error.status < 429) || error instanceof NotCached;
      // Offline, use the same files as before.
      const before = error instanceof Unreachable && (await (await this.#cache(address)).names(own)).length > 0;
      if (none || before) return own;
      throw error;
    }
  }

  async #commitOf(address: HubAddress, revision: string): Promise<string> {
    if (/^[0-9a-f]{40}$/.test(revision)) return revision;
    const cache = await this.#cache(address);
    const known = await cache.commitAt(revision);
    if (isOffline()) {
      if (known !== undefined) return known;
      throw new NotCached(`${repositoryOf(address)} is not in the cache ${cache.root}, and HF_HUB_OFFLINE is set`, OFFLINE_HINT);
    }
    const { signal, readOnly, notice } = this.settings;
    try {
      const commit = await this.#api.commitOf(address, revision, { signal, failFast: known !== undefined });
      if (!readOnly) await cache.rememberCommit(revision, commit);
      return commit;
    } catch (error) {
      // As in Python's library: without access, the cached files can still be used.
      const gone = error instanceof HubRefusal && error.code === 'RevisionNotFound';
      if (known === undefined || gone || !(error instanceof StepError)) throw error;
      notice(`${error.message}; using the last known commit of ${repositoryOf(address)}, ${known.slice(0, 7)}`);
      return known;
    }
  }

  /** All files of a commit. They never change, so the list is cached. */
  async #tree(address: HubAddress, commit: string, signal?: AbortSignal): Promise<RepositoryTree> {
    const cache = await this.#cache(address);
    const kept = await cache.tree(commit);
    if (kept) return kept;
    if (isOffline()) return snapshotTree(address, commit, cache);
    try {
      const files = await this.#api.filesOf(address, commit, { signal });
      const complete = Object.values(files).every(({ blob_id, lfs_sha256 }) => /^[0-9a-f]{40}$/.test(blob_id) || lfs_sha256 !== undefined);
      if (!this.settings.readOnly && complete) cache.rememberTree(commit, files);
      return treeOf(files);
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      return snapshotTree(address, commit, cache).catch(() => {
        throw error;
      });
    }
  }

  async #fetchFile(
    address: HubAddress,
    commit: string,
    name: string,
    listed: FileFacts,
    cache: HubCache,
    progress: FetchProgress,
  ): Promise<void> {
    const { signal, log } = progress;
    const facts = listed.hash
      ? { ...listed, blob: listed.hash.hex }
      : await this.#api.factsOf(address, commit, name, listed, { signal, log });
    const { blob } = facts;
    await withDownloadLock(cache.lock(blob), progress, async () => {
      const state = await cache.stateOf(cache.blob(blob), facts);
      if (state === 'damaged') await cache.forget(blob);
      if (state === 'sound') progress.onBytes(facts.size);
      else {
        await download({
          url: this.#api.fileUrl(address, commit, name),
          to: cache.blob(blob),
          what: `${repositoryOf(address)}/${name}`,
          size: facts.size,
          hash: facts.hash,
          authorization: this.#api.authorization(),
          refused: (response) => this.#api.refused(response, address, commit, name),
          signal,
          log,
          onBytes: progress.onBytes,
        });
      }
      await cache.link(blob, commit, name);
    });
  }

  /** A folder with exactly these files. Its links are hard, because symbolic links into the cache would break in a copy of the folder. */
  async #linkedFolder(files: string[], address: HubAddress, commit: string, cache: HubCache, progress: FetchProgress): Promise<string> {
    const key = sha256(files.join('\n')).slice(0, 16);
    const name = `${address.type}s--${address.name.replace('/', '--')}@${commit.slice(0, 12)}`;
    return this.store.getOrMake(join('hub', name, key), progress, async (folder) => {
      const inside = `${address.name}@${commit.slice(0, 7)}`;
      for (const file of files) {
        const [from, to] = [await realpath(cache.pathOf(commit, file)), join(folder, inside, file)];
        await mkdir(dirname(to), { recursive: true });
        // Hard links do not work across disks.
        await link(from, to).catch(() => symlink(from, to));
      }
      return inside;
    });
  }

  async #cache({ type, name }: HubAddress): Promise<HubCache> {
    const { getHFHubCachePath, getRepoFolderName } = await import('@huggingface/hub');
    return new HubCache(getHFHubCachePath(), getRepoFolderName({ type, name }), this.settings.fileHashes);
  }
}

/** The error for files that are not in the cache while offline. */
class NotCached extends StepError {}

const OFFLINE_HINT = 'Run once with a network and without HF_HUB_OFFLINE.';

/** Throws if files are missing that steps need. */
function throwIfMissing(missing: string[], address: HubAddress, commit: string, cache: HubCache): void {
  const needed = missing.filter((name) => !/(^|\/)(README|LICENSE|NOTICE|MODEL_CARD)(\.\w+)?$/i.test(name));
  if (needed.length === 0) return;
  const list = needed.length > 5 ? [...needed.slice(0, 5), `and ${needed.length - 5} more`] : needed;
  const where = `${repositoryOf(address)} at commit ${commit.slice(0, 7)}`;
  throw new NotCached(`the cache ${cache.root} lacks files of ${where}, and HF_HUB_OFFLINE is set: ${list.join(', ')}`, OFFLINE_HINT);
}

/** The files of a snapshot without a listing, from another library. Only a model with weights, or a named file, counts as complete. */
async function snapshotTree(address: HubAddress, commit: string, cache: HubCache): Promise<RepositoryTree> {
  const names = await cache.names(commit);
  const where = `${repositoryOf(address)} at commit ${commit.slice(0, 7)}`;
  if (names.length === 0) throw new NotCached(`${where} is not in the cache ${cache.root}, and HF_HUB_OFFLINE is set`, OFFLINE_HINT);
  if (!names.includes(address.path) && (address.type === 'dataset' || !(await hasAllWeights(names, commit, cache))))
    throw new NotCached(`the cache ${cache.root} may not have all files of ${where}, which cannot be checked offline`, OFFLINE_HINT);
  const sizes = names.map(async (name): Promise<[string, FileFacts]> => [name, { size: await cache.sizeOf(commit, name) }]);
  return new Map(await Promise.all(sizes));
}

async function hasAllWeights(names: string[], commit: string, cache: HubCache): Promise<boolean> {
  if (!names.includes('config.json')) return false;
  if (names.includes('model.safetensors')) return true;
  try {
    const { weight_map } = JSON.parse(await readFile(cache.pathOf(commit, 'model.safetensors.index.json'), 'utf8'));
    return Object.values(weight_map as Record<string, string>).every((shard) => names.includes(shard));
  } catch {
    return false;
  }
}

/**
 * The download cache that the Hugging Face libraries of all languages share:
 *
 *   models--owner--name/refs/main               the last known commit of a branch
 *   models--owner--name/trees/<commit>.json     the files of a commit, with their sizes and hashes
 *   models--owner--name/blobs/<hash>            their bytes, by SHA-256, or by git hash for small files
 *   models--owner--name/snapshots/<commit>/…    the files of a commit by name, as links to blobs
 *   .locks/
 */
class HubCache {
  readonly #root: string;
  readonly #folder: string;
  readonly #locks: string;

  /** `root`: the folder of all repositories; `folder`: the name of this repository's folder. */
  constructor(
    root: string,
    folder: string,
    private readonly fileHashes: FileHashCache,
  ) {
    this.#root = root.replace(/^~(?=\/|$)/, () => homedir());
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

function treeOf(files: Record<string, TreeEntry>): RepositoryTree {
  return new Map(
    Object.entries(files).map(([name, { size, blob_id, lfs_sha256, lfs_size }]): [string, FileFacts] => [
      name,
      lfs_sha256 !== undefined
        ? { size: lfs_size ?? size, hash: { kind: 'sha256', hex: lfs_sha256 } }
        : { size, hash: /^[0-9a-f]{40}$/.test(blob_id) ? { kind: 'git', hex: blob_id } : undefined },
    ]),
  );
}
