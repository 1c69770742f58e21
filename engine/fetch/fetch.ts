/**
 * Remote models and data. An address is first *pinned*: its current revision (the commit of a branch) is resolved once per run
 * and enters the fingerprints. It is *fetched* when a cell that needs it runs.
 */

import type { FileHashCache } from '../../cache/file-hash-cache.ts';
import type { Address } from '../address.ts';
import { StepError } from '../step.ts';
import type { FetchProgress } from './fetched-store.ts';

export interface Pinned {
  address: Address;
  /** The identity without the revision and the host, so that a mirror changes no fingerprint. */
  name: string;
  /** A commit, a version or a SHA-256, which always means the same bytes. */
  revision: string;
}

export interface FetchSettings {
  /** The store for unpacked folders and views of the hub's cache. */
  folder: string;
  fileHashes: FileHashCache;
  /** Write nothing, not even the current commit of a branch. */
  readOnly: boolean;
  signal?: AbortSignal;
  /** Called if a host could not be reached and a cached revision is used. */
  notice(message: string): void;
}

export interface AddressProvider<A extends Address = Address> {
  pin(address: A): Promise<Omit<Pinned, 'address'>>;
  /** Downloads the missing files to a cache. */
  fetch(address: A, revision: string, progress: FetchProgress): Promise<Fetched[]>;
}

export class RemoteSources {
  readonly #pinned = new Map<string, Promise<Pinned>>();
  readonly #opened = new Map<Address['kind'], Promise<AddressProvider>>();

  constructor(private readonly settings: FetchSettings) {}

  /** Resolves each address once, for any number of cells. */
  pin(address: Address): Promise<Pinned> {
    let pinned = this.#pinned.get(address.text);
    if (!pinned) {
      pinned = this.#pin(address);
      // The cell that needs it reports the failure.
      pinned.catch(() => {});
      this.#pinned.set(address.text, pinned);
    }
    return pinned;
  }

  async fetch({ address, revision }: Pinned, progress: FetchProgress): Promise<Fetched[]> {
    return (await this.#provider(address)).fetch(address, revision, progress);
  }

  async #pin(address: Address): Promise<Pinned> {
    try {
      return { address, ...(await (await this.#provider(address)).pin(address)) };
    } catch (error) {
      throw this.settings.signal?.aborted ? new StepError('interrupted') : error;
    }
  }

  /** Loads a kind of address on demand, because most pipelines have none. */
  #provider({ kind }: Address): Promise<AddressProvider> {
    let opened = this.#opened.get(kind);
    if (!opened) {
      opened = open(kind, this.settings) as Promise<AddressProvider>;
      this.#opened.set(kind, opened);
    }
    return opened;
  }
}

async function open(kind: Address['kind'], settings: FetchSettings) {
  const { FetchedStore } = await import('./fetched-store.ts');
  const store = new FetchedStore(settings.folder, settings.fileHashes);
  if (kind === 'hub') return new (await import('./hub.ts')).Hub(store, settings);
  if (kind === 'kaggle') return new (await import('./kaggle.ts')).Kaggle(store, settings);
  if (kind === 'query') return new (await import('./query.ts')).Query(store, settings);
  return new (await import('./web.ts')).Web(store);
}

export interface Fetched {
  /** Absolute path. */
  path: string;
  /** Its address without a revision: `hf://datasets/owner/name/data/train.parquet`. */
  address: string;
  /** The dataset or model on a hub, with the commit or version. */
  repository?: string;
}

/** Runs a few tasks at a time. A failure cancels the others. */
export async function inParallel<T>(items: T[], signal: AbortSignal, work: (item: T, signal: AbortSignal) => Promise<void>): Promise<void> {
  const rest = items.values();
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  let first: { error: unknown } | undefined;
  const worker = async () => {
    for (const item of rest) {
      if (either.aborted) return;
      try {
        await work(item, either);
      } catch (error) {
        first ??= { error };
        failed.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker));
  if (first) throw first.error;
  signal.throwIfAborted();
}

const AT_ONCE = 4;
