/** The OpenAPI document of a server: the routes of its protocols, and its own pages. */
import { PROBLEM } from './problem.ts';
import type { Protocol, ProtocolRoute } from './protocol.ts';
import type { ServedModel } from './served-model.ts';

interface Documented {
  protocols: readonly Protocol[];
  routes: readonly ProtocolRoute[];
  /** Requests need an API key, but for `open` routes. */
  needsKey: boolean;
}

export function openApi(model: ServedModel, { protocols, routes, needsKey }: Documented) {
  const { name, task } = model.bundle;
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const written = route.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[written] = { ...paths[written], [route.method.toLowerCase()]: operationOf(route, protocols) };
  }
  return {
    openapi: '3.1.0',
    info: { title: name, version: '1', description: `A model for ${task}.` },
    paths: {
      ...paths,
      '/health': {
        get: {
          operationId: 'health',
          security: [],
          summary: 'Health check',
          responses: {
            200: { description: 'The server accepts requests.', content: json({ $ref: '#/components/schemas/Health' }) },
          },
        },
      },
      '/metrics': {
        get: {
          operationId: 'metrics',
          summary: "Metrics in Prometheus' text format",
          responses: {
            200: { description: 'The metrics.', content: { 'text/plain': { schema: { type: 'string' } } } },
            ...refusalsOfAll,
          },
        },
      },
    },
    ...(needsKey && { security: [{ bearer: [] }, { apiKey: [] }] }),
    components: {
      ...(needsKey && {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'Authorization: Bearer KEY' },
          apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        },
      }),
      schemas: {
        ...Object.assign({}, ...protocols.map((protocol) => protocol.schemas?.(model))),
        Health: {
          type: 'object',
          required: ['status', 'model', 'task', 'labels'],
          properties: {
            status: { type: 'string', enum: ['ok'] },
            model: { type: 'string' },
            task: { type: 'string', enum: [task] },
            labels: { type: 'array', items: { type: 'string' } },
          },
        },
        Error: {
          type: 'object',
          description: 'A problem document (RFC 9457).',
          required: ['type', 'title', 'status', 'detail', 'error'],
          properties: {
            type: { type: 'string', const: 'about:blank' },
            title: { type: 'string' },
            status: { type: 'integer' },
            detail: { type: 'string', description: 'What is wrong, and where.' },
            request_id: { type: 'string', description: 'As the header X-Request-Id.' },
            error: { type: 'object', required: ['message'], properties: { message: { type: 'string', description: 'As detail.' } } },
          },
        },
      },
    },
  };
}

/** The operation of a route with all refusals, in the form of its protocol. */
function operationOf({ path, method, open, operation }: ProtocolRoute, protocols: readonly Protocol[]): object {
  const { responses, ...others } = operation as { responses: Record<string, Response> };
  if (open) return { ...others, security: [], responses };
  const own = protocols.find(({ errors }) => errors?.paths.test(path))?.errors;
  const usual = method === 'POST' ? refusals('The body is invalid; the message names the field.', 'The body is too large.') : refusalsOfAll;
  const all = Object.entries<Response>({ ...usual, ...responses }).map(([status, response]) => [
    status,
    own && Number(status) >= 400 ? { ...response, content: { [own.media]: { schema: own.schema } } } : response,
  ]);
  return { ...others, responses: Object.fromEntries(all) };
}

interface Response {
  description: string;
  content?: object;
  headers?: object;
}

/** The responses to refused requests with any method. */
const refusalsOfAll = {
  401: error('The server needs an API key.'),
  403: error('The Host or Origin header is not allowed.'),
  429: {
    ...error('The client has sent too many requests in a second.'),
    headers: { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } },
  },
};

/** The responses to refused requests. */
export const refusals = (invalid: string, tooLarge: string) => ({
  400: error(invalid),
  413: error(tooLarge),
  ...refusalsOfAll,
  415: error('The body has another type, or is compressed.'),
  503: {
    ...error('The server is overloaded or is shutting down; try again later.'),
    headers: { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } },
  },
});
export const json = (schema: object, example?: object) => ({ 'application/json': { schema, ...(example && { example }) } });
function error(description: string): Response {
  return { description, content: { [PROBLEM]: { schema: { $ref: '#/components/schemas/Error' } } } };
}
