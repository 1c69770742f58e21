/** Writes what happens in a run into the records, a second's worth at a time: a thousand cells must not mean a thousand waits for the disk. */
import { CacheError } from '../../cache/error.ts';
import type { RunEvent } from '../events.ts';
import type { CellRecord, MetricRecord, Notice, Records, RunRecord } from './records.ts';

export class Transcript {
  #cells: (CellRecord & { fingerprint?: string })[] = [];
  #metrics: MetricRecord[] = [];
  readonly #notices: Notice[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly records: Records,
    private readonly run: number,
  ) {}

  hear(event: RunEvent): void {
    if (event.type === 'notice') this.#notices.push({ cell: event.cell, message: event.message });
    if (event.type !== 'metric') return;
    const { cell, name, value, step } = event;
    this.#metrics.push({ cell, name, value, step });
    this.#soon();
  }

  ended(cell: CellRecord & { fingerprint?: string }): void {
    this.#cells.push(cell);
    this.#soon();
  }

  end(seconds: number, { ran, fresh, restored, failed, skipped, canceled }: Required<RunRecord['counts']>): void {
    this.#write();
    this.records.finish(this.run, seconds, { ran, fresh, restored, failed, skipped, canceled }, this.#notices);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => this.#try(), 1000).unref();
  }

  /** A disk that is full for a while must not end steps that are at work: what could not be written waits for the next time. */
  #try(): void {
    try {
      this.#write();
    } catch (error) {
      if (!(error instanceof CacheError)) throw error;
    }
  }

  #write(): void {
    this.close();
    this.#timer = undefined;
    this.records.add(this.run, this.#cells, this.#metrics);
    this.#cells = [];
    this.#metrics = [];
  }
}
