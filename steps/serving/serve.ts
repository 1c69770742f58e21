/** `tunesmith serve`: serves a bundle over HTTP until it is stopped. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { getRequestListener, RequestError } from '@hono/node-server';
import { StepError } from '../../engine/contract/step.ts';
import { openBundle } from '../ml/answering/bundle.ts';
import { currentBundle } from '../ml/models/pointer.ts';
import { type Access, checkAccess, isLoopback } from './access.ts';
import { createApp } from './app.ts';
import { Connections } from './connections.ts';
import { defaultLimits, type Limits, Room } from './limits.ts';
import { type Measurements, openMeasurements } from './measurements.ts';
import { PROBLEM, problemOf } from './problem.ts';
import { protocolsOf } from './protocols.ts';
import { openRecorder, type Recorder, type RecordOptions, recorded } from './recorder.ts';
import { openServedModel } from './served-model.ts';
import { usable } from './usable.ts';

export interface ServeOptions {
  /** 0 selects any free port. */
  port?: number;
  host?: string;
  /** Names besides localhost's that requests may be for. */
  allowHost?: string[];
  /** Origins whose pages may send requests. */
  allowOrigin?: string[];
  /** Protocols besides our own. */
  api?: string[];
  limits?: Partial<Limits>;
  /** How long received requests are answered after a signal; the others are then dropped. Default: 25. */
  shutdownSeconds?: number;
  /** A folder for records of requests and answers. By default nothing is recorded. */
  record?: string;
  /** The share of the requests that are recorded. Default: 1. */
  recordShare?: number;
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
  /** Answers received requests, then stops. */
  close(): Promise<void>;
}

export async function startServer(
  folder: string,
  {
    port = 8080,
    host = '127.0.0.1',
    allowHost: hosts = [],
    allowOrigin: origins = [],
    api = [],
    limits = {},
    shutdownSeconds = defaultShutdownSeconds,
    record: folderOfRecords,
    recordShare = 1,
    say,
  }: ServeOptions = {},
): Promise<RunningServer> {
  const { bundle, protocols } = await usable(async () => {
    checkAccess({ hosts, origins });
    const protocols = protocolsOf(api);
    return { bundle: await openBundle(await currentBundle(folder)), protocols };
  });
  const warn = (line: string) => (say ? say(line, process.stderr) : console.error(line));
  const measurements = openMeasurements();
  const parts = { measurements, limits: { ...defaultLimits, ...limits }, report: (error: Error) => warn(inspect(error)) };
  const opened = await usable(() => openServedModel(bundle, parts));
  const model =
    folderOfRecords === undefined
      ? opened
      : recorded(opened, await recorderOf({ folder: folderOfRecords, share: recordShare }, warn, measurements));
  const access: Access = { hosts, origins, loopback: true };
  const connections = new Connections();
  const { server, draining, late } = connections;
  const app = createApp({ model, protocols, measurements, room: new Room(model.limits.waiting), access, draining, late });
  connections.answer(getRequestListener(app.fetch, { errorHandler: refuseUnaddressed }));
  try {
    await listen(server, port, host);
    access.loopback = isLoopback((server.address() as AddressInfo).address);
  } catch (error) {
    await model.close();
    throw error;
  }
  return {
    name: bundle.name,
    url: urlOf(server, host),
    async close() {
      const dropped = await connections.close(1000 * shutdownSeconds);
      const requests = dropped === 1 ? '1 request was' : `${dropped} requests were`;
      if (dropped > 0) warn(`${requests} dropped without an answer after ${shutdownSeconds} s`);
      await model.close();
    },
  };
}

async function recorderOf(
  { folder, share }: Pick<RecordOptions, 'folder' | 'share'>,
  warn: (line: string) => void,
  { record }: Measurements,
): Promise<Recorder> {
  record('written', 0);
  const recorder = openRecorder({ folder, share, warn, onRecords: record });
  await recorder.check();
  return recorder;
}

/** Hosting platforms wait 30 seconds between SIGTERM and SIGKILL. */
export const defaultShutdownSeconds = 25;

/** Requests whose Host header or path makes no URL do not reach the app. Any other error is that of a client that is gone. */
function refuseUnaddressed(error: unknown): Response {
  if (!(error instanceof RequestError)) return new Response(null, { status: 499 });
  const message = error.message.replace(/^[A-Z]/, (first) => first.toLowerCase());
  return Response.json(problemOf(400, `the request has no valid URL: ${message}`), { status: 400, headers: { 'content-type': PROBLEM } });
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
