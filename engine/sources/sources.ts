/**
 * Models and data that lie elsewhere. An address is first *pinned*: what it means now (the commit of a branch) is found
 * out once in a run, and enters the fingerprints; what is pinned is *fetched* when a cell that needs it executes.
 */
import { join } from 'node:path';
import type { Memo } from '../../cache/memo.ts';
import type { Address } from './address.ts';
import { repositoryOf } from './choose.ts';
import { Hub } from './hub.ts';
import { Kaggle } from './kaggle.ts';
import { Shelf } from './shelf.ts';
import { Web } from './web.ts';
import type { Fetched, Work } from './work.ts';

export interface Pinned {
  address: Address;
  /** What is meant but for its revision, and wherever it is fetched from: a mirror changes no fingerprint. */
  name: string;
  /** A commit, a version, a SHA-256: the same one never means other bytes. */
  revision: string;
}

export interface Surroundings {
  /** The cache of results. */
  cache: string;
  memo: Memo;
  readOnly: boolean;
  notice(message: string): void;
}

export class Sources {
  readonly #pinned = new Map<string, Promise<Pinned>>();
  readonly #hub: Hub;
  readonly #kaggle: Kaggle;
  readonly #web: Web;

  constructor({ cache, memo, readOnly, notice }: Surroundings) {
    const shelf = new Shelf(join(cache, 'sources'), memo);
    this.#hub = new Hub(memo, readOnly, notice);
    this.#kaggle = new Kaggle(shelf, readOnly, notice);
    this.#web = new Web(shelf);
  }

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

  fetch({ address, revision }: Pinned, work: Work): Promise<Fetched[]> {
    switch (address.kind) {
      case 'hub':
        return this.#hub.fetch(address, revision, work);
      case 'kaggle':
        return this.#kaggle.fetch(address, revision, work);
      case 'web':
        return this.#web.fetch(address, work);
    }
  }

  async #pin(address: Address): Promise<Pinned> {
    const below = address.path === '' ? '' : `/${address.path}`;
    switch (address.kind) {
      case 'hub': {
        const name = repositoryOf({ ...address, revision: undefined });
        return { address, name: name + below, revision: await this.#hub.resolve(address) };
      }
      case 'kaggle': {
        const name = `kaggle://${address.competition ? 'competitions/' : ''}${address.name}`;
        return { address, name: name + below, revision: await this.#kaggle.resolve(address) };
      }
      case 'web':
        return { address, name: this.#web.nameOf(address) + below, revision: address.sha256 };
    }
  }
}
