/** `tunesmith serve`: answers requests from a bundle until it is told to stop. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { createAdaptorServer } from '@hono/node-server';
import { StepError } from '../../engine/step.ts';
import { isGenerating } from '../models/family.ts';
import { createApp, type Limits, type Serving } from './app.ts';
import { openBundle } from './bundle.ts';
import { generateRoute } from './generate-route.ts';
import { openMeasurements } from './measurements.ts';
import { predictRoute } from './predict-route.ts';

export interface ServeOptions {
  /** 0 takes any free one. */
  port?: number;
  host?: string;
  limits?: Partial<Limits>;
  /** Prints a line, of which a terminal may be at the other end. */
  say?: (line: string, stream?: NodeJS.WriteStream) => void;
}

/** Serves until SIGTERM or SIGINT, then answers what is under way and returns. A second signal ends it at once. */
export async function serve(bundle: string, options: ServeOptions = {}): Promise<void> {
  const server = await startServer(bundle, options);
  (options.say ?? console.log)(`Serving ${server.name} at ${server.url} (Ctrl-C stops it)`);
  await new Promise<void>((resolve) => {
    function stop() {
      process.off('SIGTERM', stop).off('SIGINT', stop);
      resolve();
    }
    process.on('SIGTERM', stop).on('SIGINT', stop);
  });
  await server.close();
}

export interface RunningServer {
  name: string;
  url: string;
  /** Answers what is under way, then stops. */
  close(): Promise<void>;
}

const defaultLimits: Limits = { body: 10 * 1024 * 1024, inputs: 1000, queue: 2000, texts: 64, newTokens: 1024, seconds: 60 };

/** Platforms that host models give 30 seconds between SIGTERM and SIGKILL. */
const drainMilliseconds = 25_000;

export async function startServer(
  folder: string,
  { port = 8080, host = '127.0.0.1', limits: asked = {}, say }: ServeOptions = {},
): Promise<RunningServer> {
  const bundle = await openBundle(folder);
  const serving: Serving = {
    measurements: openMeasurements(),
    limits: { ...defaultLimits, ...asked },
    report: (error) => (say ? say(inspect(error), process.stderr) : console.error(error)),
  };
  const route = await (isGenerating(bundle.task) ? generateRoute : predictRoute)(bundle, serving);
  let draining = false;
  const app = createApp({
    ...serving,
    bundle,
    route,
    draining: () => draining,
  });
  const server = createAdaptorServer({ fetch: app.fetch }) as Server;
  try {
    await listen(server, port, host);
  } catch (error) {
    await route.close();
    throw error;
  }
  return {
    name: bundle.name,
    url: urlOf(server, host),
    async close() {
      draining = true;
      const late = setTimeout(() => server.closeAllConnections(), drainMilliseconds);
      await new Promise((resolve) => server.close(resolve));
      clearTimeout(late);
      await route.close();
    },
  };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const place = `port ${port} on ${host}`;
      const known: Record<string, StepError> = {
        EADDRINUSE: new StepError(`${place} is in use`, 'Choose another with --port, or --port 0 for any free one.'),
        EACCES: new StepError(`${place} may not be used by this user`, 'Choose a port from 1024 on.'),
        EADDRNOTAVAIL: new StepError(`${host} is no address of this machine`, 'Choose another with --host: 127.0.0.1, or 0.0.0.0 for all.'),
        ENOTFOUND: new StepError(`${host} is no known host`, 'Choose another with --host: 127.0.0.1, or 0.0.0.0 for all.'),
      };
      reject(known[error.code ?? ''] ?? error);
    });
    server.listen(port, host, resolve);
  });
}

function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  const reachable = host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `http://${reachable}:${port}`;
}
