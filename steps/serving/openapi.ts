/** The OpenAPI document of a served bundle. */
import type { Limits } from './app.ts';
import type { Bundle } from './bundle.ts';

export function openApi({ name, labels }: Bundle, limits: Limits) {
  const json = (schema: object, example?: object) => ({ 'application/json': { schema, ...(example && { example }) } });
  const error = (description: string) => ({ description, content: json({ $ref: '#/components/schemas/Error' }) });
  return {
    openapi: '3.1.0',
    info: { title: name, version: '1', description: `Tells ${labels.join(', ')} apart.` },
    paths: {
      '/predict': {
        post: {
          operationId: 'predict',
          summary: 'Classify one text or many',
          requestBody: {
            required: true,
            description: `At most ${limits.body} bytes.`,
            content: json({ $ref: '#/components/schemas/Request' }, { inputs: ['a first text', 'a second one'] }),
          },
          responses: {
            200: { description: 'One prediction for each text, in their order.', content: json({ $ref: '#/components/schemas/Response' }) },
            400: error('The body is not what it should be; the message names the field.'),
            413: error('The body is too large, or holds too many texts.'),
            503: {
              ...error('Too many texts are waiting.'),
              headers: { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } },
            },
          },
        },
      },
      '/health': {
        get: {
          operationId: 'health',
          summary: 'Whether it can answer',
          responses: {
            200: { description: 'It can.', content: json({ $ref: '#/components/schemas/Health' }) },
            503: { description: 'It is shutting down.', content: json({ $ref: '#/components/schemas/Health' }) },
          },
        },
      },
      '/metrics': {
        get: {
          operationId: 'metrics',
          summary: "Counts and times, in Prometheus' text format",
          responses: { 200: { description: 'The measurements.', content: { 'text/plain': { schema: { type: 'string' } } } } },
        },
      },
    },
    components: {
      schemas: {
        Request: {
          type: 'object',
          required: ['inputs'],
          additionalProperties: false,
          properties: {
            inputs: {
              description: 'Raw text: it is cleaned here as the training data were.',
              anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, maxItems: limits.inputs }],
            },
          },
        },
        Response: {
          type: 'object',
          required: ['predictions'],
          properties: { predictions: { type: 'array', items: { $ref: '#/components/schemas/Prediction' } } },
        },
        Prediction: {
          type: 'object',
          required: ['label', 'scores'],
          properties: {
            label: { type: 'string', enum: labels, description: 'The label with the highest probability.' },
            scores: {
              type: 'object',
              description: 'The probability of every label; they add up to 1.',
              required: labels,
              properties: Object.fromEntries(labels.map((label) => [label, { type: 'number', minimum: 0, maximum: 1 }])),
            },
          },
        },
        Health: {
          type: 'object',
          required: ['status', 'model', 'labels'],
          properties: {
            status: { type: 'string', enum: ['ok', 'draining'] },
            model: { type: 'string' },
            labels: { type: 'array', items: { type: 'string' } },
          },
        },
        Error: {
          type: 'object',
          required: ['error'],
          properties: { error: { type: 'object', required: ['message'], properties: { message: { type: 'string' } } } },
        },
      },
    },
  };
}
