/** Which requests run at the same time: as many as fit together. The others wait for those that run. */

export class Admission<Need> {
  readonly #running = new Set<Need>();
  readonly #waiting: Waiting<Need>[] = [];

  /** `fits`: whether these fit together; a single one always runs. */
  constructor(private readonly fits: (needs: Need[]) => boolean) {}

  /** Waits until the request fits beside those that run. Returns what ends it. Rejects with the signal's reason once that is aborted. */
  async enter(need: Need, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const waiting = { need, passed: 0, resolve };
      this.#waiting.push(waiting);
      signal.addEventListener('abort', () => {
        const place = this.#waiting.indexOf(waiting);
        if (place < 0) return;
        this.#waiting.splice(place, 1);
        reject(signal.reason);
        this.#admit();
      });
      this.#admit();
    });
    return () => {
      this.#running.delete(need);
      this.#admit();
    };
  }

  /** In their order. One that needs much is passed by smaller ones, but only so often, so that its turn comes. */
  #admit(): void {
    for (let i = 0; i < this.#waiting.length; ) {
      const waiting = this.#waiting[i]!;
      if (this.#running.size === 0 || this.fits([...this.#running, waiting.need])) {
        this.#waiting.splice(i, 1);
        this.#running.add(waiting.need);
        for (const passed of this.#waiting.slice(0, i)) passed.passed++;
        waiting.resolve();
      } else if (waiting.passed >= mostPassed) return;
      else i++;
    }
  }
}

interface Waiting<Need> {
  need: Need;
  /** How many later ones ran before it. */
  passed: number;
  resolve(): void;
}

const mostPassed = 16;
