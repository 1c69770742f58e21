/** The OpenAPI document of a served bundle. */

import type { ProblemType, Task } from '../models/family.ts';
import { taskKind } from '../tasks/registry.ts';
import type { Limits } from './app.ts';
import type { Bundle } from './bundle.ts';

export function openApi({ name, task, problem, labels }: Bundle, limits: Limits) {
  const fields = taskKind(task).fields;
  const required = fields.filter(({ optional }) => !optional).map((field) => field.name);
  const example = required.length === 1 ? 'a first text' : Object.fromEntries(required.map((field) => [field, '…']));
  const object = {
    type: 'object',
    required,
    additionalProperties: false,
    properties: Object.fromEntries(fields.map((field) => [field.name, { type: 'string' }])),
  };
  const input = required.length === 1 ? { anyOf: [{ type: 'string' }, object] } : object;
  const json = (schema: object, example?: object) => ({ 'application/json': { schema, ...(example && { example }) } });
  const error = (description: string) => ({ description, content: json({ $ref: '#/components/schemas/Error' }) });
  return {
    openapi: '3.1.0',
    info: { title: name, version: '1', description: `A model for ${task}.` },
    paths: {
      '/predict': {
        post: {
          operationId: 'predict',
          summary: 'Answer one input or many',
          requestBody: {
            required: true,
            description: `At most ${limits.body} bytes.`,
            content: json({ $ref: '#/components/schemas/Request' }, { inputs: [example] }),
          },
          responses: {
            200: {
              description: 'One prediction for each input, in their order.',
              content: json({ $ref: '#/components/schemas/Response' }),
            },
            400: error('The body is not what it should be; the message names the field.'),
            413: error('The body is too large, or holds too many inputs.'),
            503: {
              ...error('Too many inputs are waiting.'),
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
              anyOf: [input, { type: 'array', items: input, maxItems: limits.inputs }],
            },
          },
        },
        Response: {
          type: 'object',
          required: ['predictions'],
          properties: { predictions: { type: 'array', items: { $ref: '#/components/schemas/Prediction' } } },
        },
        Prediction: predictionSchema(task, problem, labels),
        Health: {
          type: 'object',
          required: ['status', 'model', 'task', 'labels'],
          properties: {
            status: { type: 'string', enum: ['ok', 'draining'] },
            model: { type: 'string' },
            task: { type: 'string', enum: [task] },
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

/** What `answer` of the task gives. */
function predictionSchema(task: Task, problem: ProblemType, labels: string[]) {
  const share = { type: 'number', minimum: 0, maximum: 1 };
  const shape = (properties: Record<string, object>) => ({ type: 'object', required: Object.keys(properties), properties });
  const label = { type: 'string', enum: labels };
  const scores = shape(Object.fromEntries(labels.map((each) => [each, share])));
  const place = { type: 'integer', minimum: 0, description: 'In UTF-16 code units.' };
  switch (task) {
    case 'token-classification':
      return shape({
        entities: {
          type: 'array',
          items: shape({ entity: { type: 'string' }, start: place, end: place, score: share, text: { type: 'string' } }),
        },
      });
    case 'question-answering':
      return shape({
        answer: { type: 'string', description: 'A piece of the context; empty where it holds no answer.' },
        start: place,
        end: place,
        score: share,
      });
    case 'masked-lm':
      return shape({
        fill: { type: 'array', description: 'One entry for each mask.', items: shape({ token: { type: 'string' }, score: share }) },
      });
    case 'text-classification':
      if (problem === 'regression') return shape({ score: { type: 'number' } });
      if (problem === 'multi_label_classification')
        return shape({ labels: { type: 'array', items: label, description: 'Those with a score over one half.' }, scores });
      return shape({
        label: { ...label, description: 'The label with the highest probability.' },
        scores: { ...scores, description: 'The probability of every label; they add up to 1.' },
      });
  }
}
