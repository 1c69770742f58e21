/** The routes of a served bundle, and the responses to invalid requests. */
import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { cors } from 'hono/cors';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { StepError } from '../../engine/contract/step.ts';
import { type Access, isAllowed, refusal } from './access.ts';
import { keyIn } from './api-keys.ts';
import { checkContentType, discardBody, RequestRefusal, type Room, readBody } from './limits.ts';
import type { Measurements } from './measurements.ts';
import { openApi } from './openapi.ts';
import { page } from './page.ts';
import { PROBLEM, problemOf } from './problem.ts';
import type { Protocol, ProtocolRoute } from './protocol.ts';
import { infoOf } from './request-info.ts';
import type { ServedModel } from './served-model.ts';

export interface Served {
  model: ServedModel;
  protocols: readonly Protocol[];
  measurements: Measurements;
  room: Room;
  access: Access;
  /** Aborted when the shutdown begins: received requests are still answered. */
  draining: AbortSignal;
  /** Aborted soon after: requests that have not arrived completely are refused. */
  late: AbortSignal;
}

export function createApp(served: Served): Hono<Bound> {
  const app = new Hono<Bound>();
  const all = served.protocols.flatMap((protocol) => protocol.routes(served.model));
  // A platform that chooses a path gets it, even if the own protocol has the same.
  const routes = [...new Map(all.map((route) => [`${route.method} ${route.path}`, route])).values()];
  const methods = methodsByPath(routes);
  app.use((c, next) => {
    c.set('protocols', served.protocols);
    return next();
  });
  const pathOf = pathFinder([...methods.keys()]);
  measureRequests(app, served, pathOf);
  checkOrigins(app, served.access);
  checkClient(app, served, new Set(['/health', ...routes.flatMap(({ path, open }) => (open ? [path] : []))]), pathOf);
  for (const route of routes) addRoute(app, route, served);
  addPages(app, served, routes);
  for (const [path, allowed] of methods)
    app.all(path, (c) => {
      c.header('allow', allowed.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', '));
      return refuse(c, 405, `${path} supports ${allowed.join(' and ')}, not ${c.req.method}`);
    });
  app.notFound((c) => refuse(c, 404, `there is no ${c.req.path}; the paths are ${[...methods.keys()].join(', ')}`));
  app.onError((error, c) => refuseError(error, c, served.model));
  return app;
}

type Bound = { Bindings: HttpBindings; Variables: { protocols: readonly Protocol[] } };

function methodsByPath(routes: readonly ProtocolRoute[]): Map<string, string[]> {
  const methods = new Map<string, string[]>();
  for (const { path, method } of routes) methods.set(path, [...(methods.get(path) ?? []), method]);
  for (const path of ['/health', '/metrics', '/openapi.json', '/']) methods.set(path, [...new Set([...(methods.get(path) ?? []), 'GET'])]);
  return methods;
}

function measureRequests(app: Hono<Bound>, { measurements, draining }: Served, pathOf: (path: string) => string): void {
  app.use(async (c, next) => {
    const start = performance.now();
    const path = pathOf(c.req.path);
    infoOf(c.env.incoming).route = path;
    await next();
    measurements.request(path, methods.has(c.req.method) ? c.req.method : 'other', c.res.status, (performance.now() - start) / 1000);
    if (draining.aborted) c.header('connection', 'close');
  });
}

/** The path of a route for the path of a request: /models/:name for /models/spam. */
function pathFinder(paths: readonly string[]): (path: string) => string {
  const patterns = paths.map((path) => [path, new RegExp(`^${path.replaceAll(/:\w+/g, '[^/]+')}$`)] as const);
  return (path) => (paths.includes(path) ? path : (patterns.find(([, pattern]) => pattern.test(path))?.[0] ?? 'other'));
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

function checkOrigins(app: Hono<Bound>, access: Access): void {
  app.use(async (c, next) => {
    c.header('x-content-type-options', 'nosniff');
    const problem = refusal(c.req.header('host'), c.req.header('origin'), access);
    return problem === undefined ? next() : refuse(c, 403, problem);
  });
  // Access was checked above; these headers tell the browsers of other origins.
  app.use(
    cors({
      origin: (origin) => (isAllowed(origin, access) ? origin : null),
      allowMethods: ['GET', 'HEAD', 'POST'],
      allowHeaders: ['content-type', 'authorization', 'x-api-key', 'x-request-id'],
      exposeHeaders: ['retry-after', 'x-request-id'],
      maxAge: 600,
    }),
  );
}

/** Checks the API key and the rate. `open`: paths that anyone may request at any time. */
function checkClient(
  app: Hono<Bound>,
  { access, model: { limits }, late }: Served,
  open: ReadonlySet<string>,
  pathOf: (path: string) => string,
): void {
  app.use(async (c, next) => {
    const { keys, rate } = access;
    if ((!keys && !rate) || open.has(pathOf(c.req.path)) || isPage(c.req.path, c.req.method)) return next();
    const key = keyIn(c.req.header('authorization'), c.req.header('x-api-key'));
    const name = key === undefined ? undefined : keys?.nameOf(key);
    if (name !== undefined) infoOf(c.env.incoming).key = name;
    const wait = rate?.take(name ?? `address ${c.env.incoming.socket.remoteAddress}`);
    if (wait !== undefined || (keys && name === undefined)) await discardBody(c.env.incoming, limits.waiting, late);
    if (wait !== undefined) {
      c.header('retry-after', String(Math.ceil(wait)));
      return refuse(c, 429, 'too many requests; the header Retry-After says when to try again');
    }
    if (keys && name === undefined) {
      c.header('www-authenticate', `Bearer realm="tunesmith"${key === undefined ? '' : ', error="invalid_token"'}`);
      return refuse(c, 401, key === undefined ? 'an API key is needed: Authorization: Bearer KEY' : 'the API key is not valid');
    }
    return next();
  });
}

/** The page asks for a key itself. */
const isPage = (path: string, method: string): boolean => path === '/' && (method === 'GET' || method === 'HEAD');

function addRoute(app: Hono<Bound>, { path, method, accepts, answer }: ProtocolRoute, { room, model: { limits }, late }: Served): void {
  if (method === 'GET') {
    app.get(path, (c) => {
      const ticket = room.enter();
      c.env.outgoing.once('close', ticket.leave);
      return answer({ body: Buffer.alloc(0), c, ticket });
    });
    return;
  }
  app.post(path, async (c) => {
    const { incoming, outgoing } = c.env;
    const ticket = room.enter();
    outgoing.once('close', ticket.leave);
    // The memory of an answer is freed even if the client does not fetch it.
    outgoing.once('prefinish', () => {
      const late = setTimeout(() => outgoing.destroy(), fetchMilliseconds).unref();
      outgoing.once('close', () => clearTimeout(late));
    });
    try {
      checkContentType(c.req.header('content-type'), c.req.header('content-encoding'), accepts);
      return await answer({ body: await readBody(incoming, limits.body, ticket, late), c, ticket });
    } catch (error) {
      ticket.leave();
      await discardBody(incoming, limits.waiting, late);
      throw error;
    }
  });
}

/** The time in which a whole answer must be fetched. */
const fetchMilliseconds = 60_000;

function addPages(app: Hono<Bound>, { model, protocols, room, measurements, access }: Served, routes: readonly ProtocolRoute[]): void {
  const { bundle, limits } = model;
  app.get('/health', (c) => c.json({ status: 'ok', model: bundle.name, task: bundle.task, labels: bundle.labels }));
  app.get('/metrics', (c) => {
    const now = { queued: model.waiting, running: model.running, waitingBytes: room.taken, mostWaitingBytes: limits.waiting };
    return c.body(measurements.text(now), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  });
  app.get('/openapi.json', (c) => c.json(openApi(model, { protocols, routes, needsKey: access.keys !== undefined })));
  app.get('/', (c) => {
    const { html, policy } = page(bundle, { newTokens: limits.newTokens, needsKey: access.keys !== undefined });
    c.header('content-security-policy', policy);
    c.header('referrer-policy', 'no-referrer');
    return c.html(html);
  });
}

function refuseError(error: Error, c: Context<Bound>, model: ServedModel) {
  if (c.req.raw.signal.aborted) return refuse(c, 499 as ContentfulStatusCode, 'the client has disconnected');
  if (error instanceof RequestRefusal) {
    if (error.status === 503) c.header('retry-after', '1');
    // The rest of the body was not read, so this connection cannot be reused.
    if (!c.env.incoming.readableEnded) c.header('connection', 'close');
    return refuse(c, error.status, error.message);
  }
  // An input that the model cannot read, such as a question as long as a book.
  if (error instanceof StepError) return refuse(c, 400, error.message);
  model.report(error, infoOf(c.env.incoming).id);
  return refuse(c, 500, 'internal error; see the log of the server');
}

function refuse(c: Context<Bound>, status: ContentfulStatusCode, message: string) {
  const own = c.get('protocols').find(({ errors }) => errors?.paths.test(c.req.path))?.errors;
  const { id } = infoOf(c.env.incoming);
  // Messages show values of the request, which may be as long as the body.
  const short = message.length > longestMessage ? `${message.slice(0, longestMessage)} …` : message;
  return c.json(own ? own.body(status, short, id) : problemOf(status, short, id), status, {
    'content-type': own?.media ?? PROBLEM,
  });
}

/** Characters of a message in a response. */
const longestMessage = 2000;
