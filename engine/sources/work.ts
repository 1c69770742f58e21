/** What fetching something is told, and hears. */
import type { Waiting } from './lock.ts';

export interface Work extends Waiting {
  signal: AbortSignal;
  /** A line for the cell's log. */
  say(message: string): void;
  /** So many bytes in so many files have to come. */
  expect(bytes: number, files: number): void;
  /** They came; below zero, they were thrown away. */
  onBytes(count: number): void;
}

/** A file or folder that was fetched. */
export interface Fetched {
  /** Absolute. */
  path: string;
  /** Where it came from, without a revision: `hf://datasets/owner/name/data/train.parquet`. */
  address: string;
  /** Of a hub: the data set or model, and the commit or version that was fetched. */
  repository?: string;
}

/** A few at a time; a failure breaks off the others. */
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
