/** Load on a server, made by autocannon, and what it measures. */
import { createRequire } from 'node:module';
import { join } from 'node:path';

export interface Measured {
  requestsPerSecond: number;
  /** Milliseconds of the percentiles 50, 95 and 99. */
  p50: number;
  p95: number;
  p99: number;
}

/** The part of autocannon that is used. */
type Autocannon = (options: object) => PromiseLike<object> & {
  on(event: 'response', listener: (client: unknown, status: number, bytes: number, milliseconds: number) => void): void;
};

/** @param tools the folder in which autocannon is installed */
export function openLoad(tools: string) {
  const autocannon = createRequire(join(tools, 'package.json'))('autocannon') as Autocannon;
  /** Each of the connections sends its next request when the one before is answered. */
  return async (url: string, bodies: string[], { connections, seconds }: { connections: number; seconds: number }): Promise<Measured> => {
    const send = async (duration: number) => {
      const times: number[] = [];
      const requests = bodies.map((body) => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body }));
      let clients = 0;
      const run = autocannon({
        url,
        connections,
        duration,
        timeout: 60,
        requests,
        // Otherwise all would send the same text at the same time.
        setupClient(client: { setRequests(requests: object[]): void }) {
          const first = (clients++ * 7) % requests.length;
          client.setRequests([...requests.slice(first), ...requests.slice(0, first)]);
        },
      });
      run.on('response', (_client, status, _bytes, milliseconds) => {
        if (status !== 200) throw new Error(`${url} answered ${status}`);
        times.push(milliseconds);
      });
      const start = performance.now();
      await run;
      return { times: times.sort((a, b) => a - b), seconds: (performance.now() - start) / 1000 };
    };
    await send(Math.min(1, seconds)); // warm-up
    const measured = await send(seconds);
    const at = (share: number) => percentile(measured.times, share);
    return { requestsPerSecond: measured.times.length / measured.seconds, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
  };
}

/** Of sorted numbers. */
export const percentile = (sorted: readonly number[], share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
