/** `tunesmith serve`: serves a bundle over HTTP until it is stopped. */
import { statSync } from 'node:fs';
import type { Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { getRequestListener, RequestError } from '@hono/node-server';
import { StepError } from '../../engine/contract/step.ts';
import { type Bundle, openBundle } from '../ml/answering/bundle.ts';
import { currentBundle } from '../ml/models/pointer.ts';
import { type Access, checkAccess, isLoopback } from './access.ts';
import { AccessLog } from './access-log.ts';
import { readApiKeys } from './api-keys.ts';
import { Connections } from './connections.ts';
import { defaultLimits, type Limits, Room } from './limits.ts';
import { listen, urlOf } from './listen.ts';
import { LiveBundle } from './live-bundle.ts';
import { type Measurements, openMeasurements } from './measurements.ts';
import { PROBLEM, problemOf } from './problem.ts';
import { protocolsOf } from './protocols.ts';
import { RateLimit } from './rate-limit.ts';
import { openRecorder, type RecordOptions, type RequestRecorder, recorded } from './recorder.ts';
import { infoOf } from './request-info.ts';
import { openServedModel, type ServedModel, type ServingParts } from './served-model.ts';
import { checkShadow, Shadow } from './shadow.ts';
import { readTls, tlsFilesOf } from './tls.ts';
import { Tracing } from './tracing.ts';
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
  /** A file with API keys (api-keys.ts). By default none is needed. */
  apiKeyFile?: string;
  /** Requests a second of each key, or of each address. */
  rateLimit?: number;
  /** A certificate and its key, in PEM. */
  tlsCert?: string;
  tlsKey?: string;
  /** A file for the access log; - for standard output. */
  accessLog?: string;
  /** The collector that takes OpenTelemetry traces. By default there are none. */
  traceEndpoint?: string;
  /** Reload the bundle whenever it changes. */
  watch?: boolean;
  /** A second bundle, whose answers are only compared. */
  shadow?: string;
  /** The share of the requests that it answers too. Default: 1. */
  shadowShare?: number;
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

/**
 * Serves until SIGTERM, SIGINT or SIGHUP, then answers running requests and returns. A second signal ends it immediately. SIGUSR2 reloads
 * the bundle, the API keys and the certificate.
 */
export async function serve(bundle: string, options: ServeOptions = {}): Promise<void> {
  let server: RunningServer | undefined;
  // Without a listener the signal ends the process, also during the start.
  const reload = () => void server?.reload();
  process.on('SIGUSR2', reload);
  server = await startServer(bundle, options);
  (options.say ?? console.log)(`Serving ${server.name} at ${server.url} (Ctrl-C stops it)`);
  await new Promise<void>((resolve) => {
    function stop() {
      for (const signal of endings) process.off(signal, stop);
      resolve();
    }
    for (const signal of endings) process.on(signal, stop);
  });
  await server.close();
  process.off('SIGUSR2', reload);
}

/** SIGHUP: the terminal was closed. */
const endings = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

export interface RunningServer {
  name: string;
  url: string;
  /** Opens the bundle, the API keys, the certificate and the access log again. What cannot be used stays as it was. */
  reload(): Promise<void>;
  /** Answers received requests, then stops. */
  close(): Promise<void>;
}

export async function startServer(given: string, options: ServeOptions = {}): Promise<RunningServer> {
  const { port = 8080, host = '127.0.0.1', shutdownSeconds = defaultShutdownSeconds, say } = options;
  const warn = (line: string) => (say ? say(line, process.stderr) : console.error(line));
  const report = (error: Error, request?: string) => warn(`${request === undefined ? '' : `request ${request}: `}${inspect(error)}`);
  const parts = { measurements: openMeasurements(), limits: { ...defaultLimits, ...options.limits }, report };
  const { access, tlsFiles, tls, protocols, log, tracing } = await usable(() => prepare(options, warn));
  const connections = new Connections(tls);
  const { server, draining, late } = connections;
  const served = { protocols, measurements: parts.measurements, room: new Room(parts.limits.waiting), access, draining, late };
  const { openModel, closeAll } = await modelOpener(options, parts, warn);
  const onReload = parts.measurements.reload;
  const live = await usable(() => LiveBundle.open({ given, openModel, served, tell: warn, onReload })).catch(async (error) => {
    await closeAll();
    throw error;
  });
  connections.answer((request, response) => {
    response.setHeader('x-request-id', infoOf(request).id);
    log?.follow(request, response);
    tracing?.follow(request, response);
  });
  connections.answer(getRequestListener((request, env) => live.fetch(request, env as never), { errorHandler: refuseUnaddressed }));
  const watching = new AbortController();
  const close = async () => {
    watching.abort();
    await live.close();
    await closeAll();
    await log?.close();
    await tracing?.close();
  };
  try {
    await listen(server, port, host);
    access.loopback = isLoopback((server.address() as AddressInfo).address);
  } catch (error) {
    await close();
    throw error;
  }
  if (options.watch) void live.watch(watching.signal);
  return {
    name: live.bundle.name,
    url: urlOf(server, host, tls ? 'https' : 'http'),
    async reload() {
      await reloadOr(warn, async () => {
        if (options.apiKeyFile !== undefined) access.keys = await readApiKeys(options.apiKeyFile);
      });
      await reloadOr(warn, async () => {
        if (tlsFiles) (server as TlsServer).setSecureContext(await readTls(tlsFiles));
      });
      await log?.reopen();
      await live.reload();
    },
    async close() {
      const dropped = await connections.close(1000 * shutdownSeconds);
      const requests = dropped === 1 ? '1 request was' : `${dropped} requests were`;
      if (dropped > 0) warn(`${requests} dropped without an answer after ${shutdownSeconds} s`);
      await close();
    },
  };
}

/** What the options mean, besides the bundle. @throws StepError for an option that cannot be used */
async function prepare(options: ServeOptions, warn: (line: string) => void) {
  const {
    allowHost: hosts = [],
    allowOrigin: origins = [],
    api = [],
    apiKeyFile,
    rateLimit,
    tlsCert,
    tlsKey,
    accessLog,
    traceEndpoint: endpoint,
    record,
  } = options;
  checkAccess({ hosts, origins });
  // No record could ever be written there, whereas a missing permission may be given later.
  if (record !== undefined && statSync(record, { throwIfNoEntry: false })?.isDirectory() === false)
    throw new StepError(`--record ${record}: it is not a folder`);
  const access: Access = {
    hosts,
    origins,
    loopback: true,
    keys: apiKeyFile === undefined ? undefined : await readApiKeys(apiKeyFile),
    rate: rateLimit === undefined ? undefined : new RateLimit(rateLimit),
  };
  const tlsFiles = tlsFilesOf(tlsCert, tlsKey);
  return {
    access,
    tlsFiles,
    tls: tlsFiles && (await readTls(tlsFiles)),
    protocols: protocolsOf(api),
    tracing: endpoint === undefined ? undefined : new Tracing({ endpoint, warn }),
    log: accessLog === undefined ? undefined : await AccessLog.open(accessLog, warn),
  };
}

/** Opens models with their shadow and the recorder, which several models use one after the other. */
async function modelOpener(
  { shadow: given, shadowShare = 1, record, recordShare = 1 }: ServeOptions,
  parts: ServingParts,
  warn: (line: string) => void,
) {
  const second = given === undefined ? undefined : await usable(async () => openBundle(await currentBundle(given)));
  let shadow: Shadow | undefined;
  let recorder: RequestRecorder | undefined;
  return {
    async openModel(bundle: Bundle): Promise<ServedModel> {
      if (second) checkShadow(bundle, second);
      const model = await openServedModel(bundle, parts);
      if (second && !shadow) {
        shadow = new Shadow(await openServedModel(second, { ...parts, measurements: openMeasurements() }), shadowShare, parts.measurements);
        parts.measurements.shadow('same', 0);
      }
      if (record !== undefined) recorder ??= await recorderOf({ folder: record, share: recordShare }, warn, parts.measurements);
      const shadowed = shadow ? shadow.behind(model) : model;
      return recorder ? recorded(shadowed, recorder) : shadowed;
    },
    async closeAll() {
      await shadow?.close();
      await recorder?.close();
    },
  };
}

async function reloadOr(warn: (line: string) => void, reload: () => Promise<void>): Promise<void> {
  try {
    await reload();
  } catch (error) {
    warn(`${error instanceof StepError ? error.message : inspect(error)}; what was read before stays in use`);
  }
}

async function recorderOf(
  { folder, share }: Pick<RecordOptions, 'folder' | 'share'>,
  warn: (line: string) => void,
  { record }: Measurements,
): Promise<RequestRecorder> {
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
