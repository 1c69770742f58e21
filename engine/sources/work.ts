/** The context of a download: callbacks for log lines and progress. */
import type { Waiting } from './lock.ts';

export interface Work extends Waiting {
  signal: AbortSignal;
  /** Writes a line to the cell's log. */
  say(message: string): void;
  /** Called with the number of bytes and files to download. */
  expect(bytes: number, files: number): void;
  /** Called with the number of received bytes; negative for discarded ones. */
  onBytes(count: number): void;
}

/** A downloaded file or folder. */
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
