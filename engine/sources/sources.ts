/**
 * Models and data that lie elsewhere. An address is first *pinned*: what it means now (the commit of a branch) is found
 * out once in a run, and enters the fingerprints; what is pinned is *fetched* when a cell that needs it executes.
 */
import type { Memo } from '../../cache/memo.ts';
import { StepError } from '../step.ts';
import type { Address } from './address.ts';
import type { Fetched, Work } from './work.ts';

export interface Pinned {
  address: Address;
  /** What is meant but for its revision, and wherever it is fetched from: a mirror changes no fingerprint. */
  name: string;
  /** A commit, a version, a SHA-256: the same one never means other bytes. */
  revision: string;
}

export interface Surroundings {
  /** For what is unpacked, and for views of the hub's cache. */
  folder: string;
  memo: Memo;
  /** Nothing is written, not even what a branch means now. */
  readOnly: boolean;
  /** Ctrl-C, where there is a run to end. */
  signal?: AbortSignal;
  /** Hears that somebody could not be asked, and what was taken instead. */
  notice(message: string): void;
}

/** One kind of address. */
export interface Provider<A extends Address = Address> {
  pin(address: A): Promise<Omit<Pinned, 'address'>>;
  /** Puts the files in a cache, as far as they are not there. */
  fetch(address: A, revision: string, work: Work): Promise<Fetched[]>;
}

export class Sources {
  readonly #pinned = new Map<string, Promise<Pinned>>();
  readonly #opened = new Map<Address['kind'], Promise<Provider>>();

  constructor(private readonly surroundings: Surroundings) {}

  /** Asks for each address once, however many cells have it. */
  pin(address: Address): Promise<Pinned> {
    let pinned = this.#pinned.get(address.text);
    if (!pinned) {
      pinned = this.#pin(address);
      // Whoever needs it meets the failure.
      pinned.catch(() => {});
      this.#pinned.set(address.text, pinned);
    }
    return pinned;
  }

  async fetch({ address, revision }: Pinned, work: Work): Promise<Fetched[]> {
    return (await this.#provider(address)).fetch(address, revision, work);
  }

  async #pin(address: Address): Promise<Pinned> {
    try {
      return { address, ...(await (await this.#provider(address)).pin(address)) };
    } catch (error) {
      throw this.surroundings.signal?.aborted ? new StepError('interrupted') : error;
    }
  }

  /** Loaded when there is such an address: most pipelines have none. */
  #provider({ kind }: Address): Promise<Provider> {
    let opened = this.#opened.get(kind);
    if (!opened) {
      opened = open(kind, this.surroundings) as Promise<Provider>;
      this.#opened.set(kind, opened);
    }
    return opened;
  }
}

async function open(kind: Address['kind'], surroundings: Surroundings) {
  const { Shelf } = await import('./shelf.ts');
  const shelf = new Shelf(surroundings.folder, surroundings.memo);
  if (kind === 'hub') return new (await import('./hub.ts')).Hub(shelf, surroundings);
  if (kind === 'kaggle') return new (await import('./kaggle.ts')).Kaggle(shelf, surroundings);
  if (kind === 'query') return new (await import('./query.ts')).Query(shelf, surroundings);
  return new (await import('./web.ts')).Web(shelf);
}
