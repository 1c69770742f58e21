/** `tunesmith serve`: serves a bundle over HTTP until it is stopped. */
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { inspect } from 'node:util';
import { createAdaptorServer } from '@hono/node-server';
import { StepError } from '../../engine/step.ts';
import { isGenerating } from '../ml/models/config.ts';
import { type Access, checkAccess, isLoopback } from './access.ts';
import { createApp, type Serving } from './app.ts';
import { openBundle, usable } from './bundle.ts';
import { defaultLimits, type Limits, Room } from './limits.ts';
import { openMeasurements } from './measurements.ts';
import { generateRoute, predictRoute } from './routes.ts';

export interface ServeOptions {
  /** 0 selects any free port. */
  port?: number;
  host?: string;
  /** Names besides localhost's that requests may be for. */
  allowHost?: string[];
  /** Origins whose pages may send requests. */
  allowOrigin?: string[];
  limits?: Partial<Limits>;
  /** Prints a line, possibly to a terminal. */
  say?: (line: string, stream?: NodeJS.WriteStream) => void;
}

/** Serves until SIGTERM, SIGINT or SIGHUP, then answers running requests and returns. A second signal ends it immediately. */
export async function serve(bundle: string, options: ServeOptions = {}): Promise<void> {
  const server = await startServer(bundle, options);
  (options.say ?? console.log)(`Serving ${server.name} at ${server.url} (Ctrl-C stops it)`);
  await new Promise<void>((resolve) => {
    function stop() {
      for (const signal of endings) process.off(signal, stop);
      resolve();
    }
    for (const signal of endings) process.on(signal, stop);
  });
  await server.close();
}

/** SIGHUP: the terminal was closed. */
const endings = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

export interface RunningServer {
  name: string;
  url: string;
  /** Answers running requests, then stops. */
  close(): Promise<void>;
}

/** How long a client may take to send its headers, and its whole request, in milliseconds. */
const patience = { headersTimeout: 20_000, requestTimeout: 60_000, connectionsCheckingInterval: 5_000 };

/** Hosting platforms wait 30 seconds between SIGTERM and SIGKILL. */
const drainMilliseconds = 25_000;

export async function startServer(
  folder: string,
  { port = 8080, host = '127.0.0.1', allowHost: hosts = [], allowOrigin: origins = [], limits = {}, say }: ServeOptions = {},
): Promise<RunningServer> {
  const bundle = await usable(async () => {
    checkAccess({ hosts, origins });
    return openBundle(folder);
  });
  const serving: Serving = {
    measurements: openMeasurements(),
    limits: { ...defaultLimits, ...limits },
    report: (error) => (say ? say(inspect(error), process.stderr) : console.error(error)),
  };
  const route = await usable(() => (isGenerating(bundle.task) ? generateRoute : predictRoute)(bundle, serving));
  let draining = false;
  const access: Access = { hosts, origins, loopback: true };
  const app = createApp({
    ...serving,
    bundle,
    route,
    room: new Room(serving.limits.waiting),
    access,
    draining: () => draining,
  });
  const server = createAdaptorServer({ fetch: app.fetch, serverOptions: patience }) as Server;
  keepHalfOpen(server);
  try {
    await listen(server, port, host);
    access.loopback = isLoopback((server.address() as AddressInfo).address);
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
        EACCES: new StepError(`${place} needs more privileges than this user has`, 'Choose a port of at least 1024.'),
        EADDRNOTAVAIL: new StepError(
          `${host} is not an address of this machine`,
          'Choose another with --host: 127.0.0.1, or 0.0.0.0 for all.',
        ),
        ENOTFOUND: new StepError(`${host} is not a known host`, 'Choose another with --host: 127.0.0.1, or 0.0.0.0 for all.'),
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

/**
 * Detects clients that are gone. A client may close its side of the connection after sending its request and still
 * wait for the response (`nc -N`, Go's and Python's CloseWrite). On the network that looks as if it had disconnected.
 * So the server sends such a client an interim response every second while it waits: HTTP allows them, and the
 * machine of a client that is gone replies with a reset.
 */
function keepHalfOpen(server: Server): void {
  // Undocumented; without it Node closes a connection as soon as the client has closed its side.
  (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
  const pending = new Map<Socket, ServerResponse>();
  server.on('request', ({ socket, httpVersion }, response) => {
    // HTTP/1.0 has no interim responses.
    if (!pending.has(socket) && httpVersion !== '1.0') socket.once('end', () => ask(socket));
    pending.set(socket, response);
  });
  server.on('connection', (socket) => socket.once('close', () => pending.delete(socket)));

  function ask(socket: Socket) {
    const timer = setInterval(() => {
      const response = pending.get(socket);
      // A stream detects it by itself.
      if (response && !response.headersSent && !response.writableEnded) response.writeProcessing();
    }, interval).unref();
    socket.once('close', () => clearInterval(timer));
  }
}

const interval = 1000;
