/**
 * Remote models and data. An address is first *pinned*: its current revision (the commit of a branch) is resolved once per run
 * and enters the fingerprints. It is *fetched* when a cell that needs it runs.
 */

import type { Address } from '../contract/address.ts';
import { StepError } from '../contract/step.ts';
import type { FetchProgress } from './fetched-store.ts';
import type { AddressProvider, Fetched, FetchSettings, Pinned } from './provider.ts';

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
