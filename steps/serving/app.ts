/** The routes of a served bundle, and what they answer to a request that is wrong. */
import { isUtf8 } from 'node:buffer';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { StepError } from '../../engine/step.ts';
import { taskKind } from '../tasks/registry.ts';
import type { Input, TaskKind } from '../tasks/task.ts';
import type { Bundle } from './bundle.ts';
import type { Measurements } from './measurements.ts';
import { openApi } from './openapi.ts';
import { page } from './page.ts';
import type { Queue } from './queue.ts';

export interface Limits {
  /** Bytes of a request's body. */
  body: number;
  /** Inputs of one request. */
  inputs: number;
  /** Inputs that wait for a thread, of all requests together. */
  queue: number;
}

export interface Served {
  bundle: Bundle;
  queue: Queue;
  measurements: Measurements;
  limits: Limits;
  /** True once the server is shutting down: what is under way is still answered. */
  draining(): boolean;
  /** Something went wrong that is no mistake of who asked. */
  report(error: Error): void;
}

export function createApp({ bundle, queue, measurements, limits, draining, report }: Served): Hono {
  const app = new Hono();

  app.use(async (c, next) => {
    const start = performance.now();
    await next();
    const route = routes.has(c.req.path) ? c.req.path : 'other';
    measurements.request(route, methods.has(c.req.method) ? c.req.method : 'other', c.res.status, (performance.now() - start) / 1000);
    if (draining()) c.header('connection', 'close');
  });

  const tooLarge = (c: Context) => {
    // The rest of the body is not read, so that this connection is good for nothing more.
    c.header('connection', 'close');
    return refuse(c, 413, `the body is larger than ${limits.body} bytes; send fewer inputs at once`);
  };
  app.post('/predict', bodyLimit({ maxSize: limits.body, onError: tooLarge }), async (c) => {
    const inputs = inputsOf(Buffer.from(await c.req.arrayBuffer()), taskKind(bundle.task).fields);
    if (typeof inputs === 'string') return refuse(c, 400, inputs);
    if (inputs.length > limits.inputs) return refuse(c, 413, `"inputs" has ${inputs.length} entries; at most ${limits.inputs} at once`);
    if (queue.length + inputs.length > limits.queue) {
      c.header('retry-after', '1');
      return refuse(c, 503, 'too many inputs are waiting; try again in a second');
    }
    return c.json({ predictions: await queue.answer(inputs, c.req.raw.signal) });
  });

  app.get('/health', (c) =>
    c.json(
      { status: draining() ? 'draining' : 'ok', model: bundle.name, task: bundle.task, labels: bundle.labels },
      draining() ? 503 : 200,
    ),
  );
  app.get('/metrics', (c) => c.body(measurements.text(queue.length), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }));
  app.get('/openapi.json', (c) => c.json(openApi(bundle, limits)));
  app.get('/', (c) => {
    // The page needs nothing but itself, and may reach nothing else.
    const source = "'unsafe-inline'";
    c.header(
      'content-security-policy',
      `default-src 'none'; style-src ${source}; script-src ${source}; connect-src 'self'; img-src data:; base-uri 'none'`,
    );
    return c.html(page(bundle));
  });

  for (const [route, allowed] of routes)
    app.all(route, (c) => {
      c.header('allow', allowed);
      return refuse(c, 405, `${route} takes ${allowed.replace(', HEAD', '')}, not ${c.req.method}`);
    });
  app.notFound((c) => refuse(c, 404, `there is no ${c.req.path}; there are ${[...routes.keys()].join(', ')}`));
  app.onError((error, c) => {
    if (c.req.raw.signal.aborted) return refuse(c, 499 as ContentfulStatusCode, 'the client is gone');
    // An input that the model cannot take, such as a question as long as a book.
    if (error instanceof StepError) return refuse(c, 400, error.message);
    report(error);
    return refuse(c, 500, 'internal error; the log of the server says more');
  });
  return app;
}

const routes = new Map([
  ['/predict', 'POST'],
  ['/health', 'GET, HEAD'],
  ['/metrics', 'GET, HEAD'],
  ['/openapi.json', 'GET, HEAD'],
  ['/', 'GET, HEAD'],
]);

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

function refuse(c: Context, status: ContentfulStatusCode, message: string) {
  return c.json({ error: { message } }, status);
}

/** The inputs of a request's body, or what is wrong with it. */
function inputsOf(body: Buffer, fields: TaskKind['fields']): Input[] | string {
  if (!isUtf8(body)) return 'the body is not UTF-8';
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch (error) {
    return `the body is not JSON: ${body.length === 0 ? 'it is empty' : (error as Error).message}`;
  }
  const required = fields.filter(({ optional }) => !optional).map(({ name }) => name);
  const [one, many] = required.length === 1 ? ['a string', 'strings'] : [`an object with ${required.join(' and ')}`, 'such objects'];
  const example = required.length === 1 ? '"…"' : `{${required.map((name) => `"${name}": "…"`).join(', ')}}`;
  if (kindOf(value) !== 'an object') return `the body must be an object such as {"inputs": ${example}}, not ${kindOf(value)}`;
  const { inputs, ...others } = value as Record<string, unknown>;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) return `unknown field ${JSON.stringify(unknown)}; the only field is "inputs"`;
  if (inputs === undefined) return `the field "inputs" is missing; it is ${one} or a list of ${many}`;
  const list = Array.isArray(inputs) ? inputs : [inputs];
  const found: Input[] = [];
  for (const [i, given] of list.entries()) {
    const place = Array.isArray(inputs) ? `"inputs[${i}]"` : '"inputs"';
    if (typeof given === 'string' && required.length === 1) found.push({ [required[0]!]: given });
    else if (kindOf(given) !== 'an object')
      return `${place} must be ${one}${Array.isArray(inputs) ? '' : ` or a list of ${many}`}, not ${kindOf(given)}`;
    else {
      const input = inputOf(given as Record<string, unknown>, fields, place);
      if (typeof input === 'string') return input;
      found.push(input);
    }
  }
  return found;
}

function inputOf(given: Record<string, unknown>, fields: TaskKind['fields'], place: string): Input | string {
  const input: Input = {};
  for (const { name, optional } of fields) {
    const value = given[name];
    if (typeof value === 'string') input[name] = value;
    else if (value !== undefined && value !== null) return `"${name}" of ${place} must be a string, not ${kindOf(value)}`;
    else if (!optional) return `${place} has no "${name}"`;
  }
  const unknown = Object.keys(given).find((key) => !fields.some(({ name }) => name === key));
  if (unknown !== undefined)
    return `${place} has the unknown field ${JSON.stringify(unknown)}; known are ${fields.map(({ name }) => name).join(', ')}`;
  return input;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
