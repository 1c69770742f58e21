/** Limits requests per second for each client, by token buckets: after a pause, a client may send one second's requests at once. */
export class RateLimit {
  readonly #buckets = new Map<string, { tokens: number; time: number }>();
  readonly #capacity: number;

  constructor(
    private readonly perSecond: number,
    /** Milliseconds. */
    private readonly now: () => number = () => performance.now(),
  ) {
    this.#capacity = Math.max(1, perSecond);
  }

  /** Takes a request of this client. Returns undefined if it is allowed, otherwise the seconds after which the next one will be. */
  take(client: string): number | undefined {
    const time = this.now();
    const bucket = this.#buckets.get(client) ?? { tokens: this.#capacity, time };
    const tokens = this.#filled(bucket, time);
    // The oldest clients are first.
    this.#buckets.delete(client);
    this.#buckets.set(client, { tokens: tokens >= 1 ? tokens - 1 : tokens, time });
    if (this.#buckets.size > mostClients) this.#forget(time);
    return tokens >= 1 ? undefined : (1 - tokens) / this.perSecond;
  }

  #filled({ tokens, time }: { tokens: number; time: number }, now: number): number {
    return Math.min(this.#capacity, tokens + ((now - time) / 1000) * this.perSecond);
  }

  /** A full bucket is the same as none. If all clients are active, the one that was so longest ago is forgotten. */
  #forget(now: number): void {
    for (const [client, bucket] of this.#buckets) {
      if (this.#filled(bucket, now) < this.#capacity) break;
      this.#buckets.delete(client);
    }
    if (this.#buckets.size > mostClients) this.#buckets.delete(this.#buckets.keys().next().value!);
  }
}

const mostClients = 10_000;
