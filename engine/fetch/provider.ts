/** The contract of a provider: what pins and fetches the addresses of one kind (hub.ts, kaggle.ts, query.ts, web.ts). */

import type { FileHashCache } from '../../cache/file-hash-cache.ts';
import type { Address } from '../contract/address.ts';
import type { FetchProgress } from './fetched-store.ts';

export interface AddressProvider<A extends Address = Address> {
  pin(address: A): Promise<Omit<Pinned, 'address'>>;
  /** Downloads the missing files to a cache. */
  fetch(address: A, revision: string, progress: FetchProgress): Promise<Fetched[]>;
}

export interface Pinned {
  address: Address;
  /** The identity without the revision and the host, so that a mirror changes no fingerprint. */
  name: string;
  /** A commit, a version or a SHA-256, which always means the same bytes. */
  revision: string;
}

export interface Fetched {
  /** Absolute path. */
  path: string;
  /** Its address without a revision: `hf://datasets/owner/name/data/train.parquet`. */
  address: string;
  /** The dataset or model on a hub, with the commit or version. */
  repository?: string;
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
