/** The OpenAPI document of a server: the routes of its protocols, and its own pages. */
import { PROBLEM } from './problem.ts';
import type { Protocol, ProtocolRoute } from './protocol.ts';
import type { ServedModel } from './served-model.ts';

export function openApi(model: ServedModel, protocols: readonly Protocol[], routes: readonly ProtocolRoute[]) {
  const { name, task } = model.bundle;
  const paths: Record<string, Record<string, object>> = {};
  for (const { path, method, operation } of routes) {
    const written = path.replaceAll(/:(\w+)/g, '{$1}');
    paths[written] = { ...paths[written], [method.toLowerCase()]: operation };
  }
  return {
    openapi: '3.1.0',
    info: { title: name, version: '1', description: `A model for ${task}.` },
    paths: {
      ...paths,
      '/health': {
        get: {
          operationId: 'health',
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
          responses: { 200: { description: 'The metrics.', content: { 'text/plain': { schema: { type: 'string' } } } } },
        },
      },
    },
    components: {
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

/** The responses to refused requests. */
export const refusals = (invalid: string, tooLarge: string) => ({
  400: error(invalid),
  401: error('The server needs an API key.'),
  403: error('The Host or Origin header is not allowed.'),
  413: error(tooLarge),
  415: error('The body is not JSON.'),
  429: error('The client has sent too many requests in a second.'),
  503: {
    ...error('The server is overloaded or is shutting down; try again later.'),
    headers: { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } },
  },
});
export const json = (schema: object, example?: object) => ({ 'application/json': { schema, ...(example && { example }) } });
const error = (description: string) => ({ description, content: { [PROBLEM]: { schema: { $ref: '#/components/schemas/Error' } } } });
