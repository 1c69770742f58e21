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
    // By a number of requests: after a given time, autocannon would leave requests that the servers still work on.
    const send = async (amount: number) => {
      const times: number[] = [];
      const requests = bodies.map((body) => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body }));
      let clients = 0;
      let end = 0;
      const start = performance.now();
      const run = autocannon({
        url,
        connections,
        amount,
        timeout: 600,
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
        end = performance.now();
      });
      await run;
      return { times: times.sort((a, b) => a - b), requestsPerSecond: (1000 * amount) / (end - start) };
    };
    const warmUp = await send(Math.max(8, 2 * connections));
    const { times, requestsPerSecond } = await send(Math.max(2 * connections, Math.round(warmUp.requestsPerSecond * seconds)));
    const at = (share: number) => percentile(times, share);
    return { requestsPerSecond, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
  };
}

/** Of sorted numbers. */
export const percentile = (sorted: readonly number[], share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
