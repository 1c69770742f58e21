/**
 * The rows of a database query. Pinning runs the query, writes the rows to a file of JSON lines and hashes them independently
 * of their order. Fetching returns the same file, so that a step reads exactly the rows of its fingerprint. Rows are read
 * with a cursor, so that memory use stays constant.
 */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, existsSync, type WriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { temporaryIn } from '../../cache/atomic-move.ts';
import { sha256 } from '../../cache/digest.ts';
import type { QueryAddress } from '../address.ts';
import { StepError } from '../step.ts';
import type { AddressProvider, Fetched, FetchSettings } from './fetch.ts';
import type { FetchedStore, FetchProgress } from './fetched-store.ts';

/** A row as one line of JSON. */
export type QueryRows = AsyncGenerator<string[]>;

export class Query implements AddressProvider<QueryAddress> {
  constructor(
    private readonly store: FetchedStore,
    private readonly settings: Pick<FetchSettings, 'readOnly' | 'signal'>,
  ) {}

  /** The hash depends only on the rows, not on the database or the query. */
  async pin(address: QueryAddress): Promise<{ name: string; revision: string }> {
    const { readOnly, signal } = this.settings;
    return { name: 'query', revision: await this.#read(address, signal, !readOnly) };
  }

  async fetch(address: QueryAddress, revision: string, progress: FetchProgress): Promise<Fetched[]> {
    const place = join(this.#folderOf(address), `${revision}.jsonl`);
    if (!existsSync(place) && (await this.#read(address, progress.signal, true)) !== revision)
      throw new StepError(`the rows of ${address.text} changed during the run`, 'Run the pipeline again.');
    return [{ path: place, address: address.url }];
  }

  #folderOf({ text }: QueryAddress): string {
    return join(this.store.folder, 'queries', sha256(text).slice(0, 16));
  }

  async #read(address: QueryAddress, signal: AbortSignal | undefined, keep: boolean): Promise<string> {
    const folder = this.#folderOf(address);
    const made = temporaryIn(folder);
    let out: WriteStream | undefined;
    try {
      if (keep) {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        await removeOld(folder);
        out = createWriteStream(made, { mode: 0o600 });
      }
      let sum = 0n;
      let count = 0;
      for await (const lines of await open(address)) {
        signal?.throwIfAborted();
        for (const line of lines) {
          sum += BigInt(`0x${sha256(line)}`);
          count++;
        }
        if (out && !out.write(lines.map((line) => `${line}\n`).join(''))) await once(out, 'drain');
      }
      const revision = createHash('sha256')
        .update(`${count} ${BigInt.asUintN(256, sum)}`)
        .digest('hex');
      if (out) {
        out.end();
        await finished(out);
        await rename(made, join(folder, `${revision}.jsonl`));
      }
      return revision;
    } finally {
      out?.destroy();
      await rm(made, { force: true });
    }
  }
}

async function open(address: QueryAddress): Promise<QueryRows> {
  return address.file === undefined
    ? (await import('./databases.ts')).postgresRows(address)
    : (await import('./databases.ts')).sqliteRows({ ...address, file: address.file });
}

/** Age in milliseconds after which no run uses a file of rows any more. */
async function removeOld(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = join(folder, name);
    const found = await stat(file).catch(() => undefined); // Another run may have removed it.
    if (found && Date.now() - found.mtimeMs > 86_400_000) await rm(file, { force: true });
  }
}

/** `values`: already in JSON. */
export function rowLine(names: string[], values: string[]): string {
  return `{${names.map((name, i) => `${JSON.stringify(name)}:${values[i]!}`).join(',')}}`;
}

export function refuseSameColumns(names: string[], { text }: QueryAddress): void {
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new StepError(`${text}: two columns have the name ${twice}`, 'Rename one of them with `AS other`.');
}

/** Bytes as text, because JSON has no type for bytes. */
export function textOfBytes(bytes: Buffer, column: string, { text }: QueryAddress): string {
  const decoded = bytes.toString();
  if (!Buffer.from(decoded).equals(bytes))
    throw new StepError(
      `${text}: the column ${column} contains bytes that are not UTF-8`,
      'Leave the column out of the query, or encode it in the query.',
    );
  return JSON.stringify(decoded);
}

/** A double stays a fraction in JSON, even if it is a whole number: 1.0. */
export function fraction(value: number): string {
  if (Number.isNaN(value)) return 'null';
  if (!Number.isFinite(value)) return JSON.stringify(String(value));
  const text = Object.is(value, -0) ? '-0' : String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}
