/** The routes of our own protocol in the OpenAPI document. */

import type { Bundle } from '../ml/answering/bundle.ts';
import { generationOptions } from '../ml/generation/options.ts';
import { taskKind } from '../ml/tasks/registry.ts';
import type { Limits } from './limits.ts';
import { json, refusals } from './openapi.ts';

/** POST /predict, and its schemas. */
export function predicting({ task, problem, labels, fields, calibration }: Bundle, limits: Limits) {
  const required = fields.filter(({ optional }) => !optional).map((field) => field.name);
  const example = required.length === 1 ? 'a first text' : Object.fromEntries(required.map((field) => [field, '…']));
  const text = { type: 'string', maxLength: limits.characters };
  const words = { type: 'array', items: text, description: 'The words of the text, which are joined by spaces.' };
  const group = {
    type: ['string', 'number', 'boolean', 'null'],
    description: 'Decides which thresholds apply. Values without thresholds of their own, and missing ones (null), have those of all rows.',
    examples: Object.keys(calibration?.group_thresholds ?? {}).slice(0, 20),
  };
  const object = {
    type: 'object',
    required,
    additionalProperties: false,
    properties: Object.fromEntries(
      fields.map((field) => [field.name, field.group ? group : field.words ? { anyOf: [text, words] } : text]),
    ),
  };
  const input = required.length === 1 ? { anyOf: [text, object] } : object;
  return {
    operation: {
      operationId: 'predict',
      summary: 'Predict for one input or several',
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
        ...refusals(
          'The body is invalid; the message names the field.',
          'The body or an input is too large, or there are too many inputs.',
        ),
      },
    },
    schemas: {
      Request: {
        type: 'object',
        required: ['inputs'],
        additionalProperties: false,
        properties: {
          inputs: {
            description: 'Raw text, which is preprocessed as the training data were.',
            anyOf: [input, { type: 'array', items: input, maxItems: limits.inputs }],
          },
        },
      },
      Response: {
        type: 'object',
        required: ['predictions'],
        properties: { predictions: { type: 'array', items: { $ref: '#/components/schemas/Prediction' } } },
      },
      Prediction: taskKind(task).answerSchema!({ problem, labels, calibration }),
    },
  };
}

/** POST /generate, and its schemas. */
export function generating(limits: Limits) {
  const text = {
    type: 'object',
    required: ['text', 'tokens', 'finish'],
    properties: {
      text: { type: 'string', description: 'The generated text, without the prompt.' },
      tokens: { type: 'array', items: { type: 'integer' }, description: 'The generated token ids, including the end-of-text token.' },
      finish: { type: 'string', enum: ['eos_token', 'stop_string', 'length', 'time'], description: 'The reason why the text ended.' },
    },
  };
  const prompt = { type: 'string', maxLength: limits.characters };
  const { max_new_tokens, max_time } = generationOptions;
  return {
    operation: {
      operationId: 'generate',
      summary: 'Continue one prompt or several',
      requestBody: {
        required: true,
        description: `At most ${limits.body} bytes, and ${limits.texts} texts at once, including beams.`,
        content: json({ $ref: '#/components/schemas/Request' }, { prompt: 'Once upon a time', max_new_tokens: 20, stream: true }),
      },
      responses: {
        200: {
          description:
            'The texts in the order of the prompts. With `stream`, server-sent events: `piece` while texts are generated, then `end`, or `error`.',
          content: {
            ...json({ $ref: '#/components/schemas/Response' }),
            'text/event-stream': {
              schema: { type: 'string' },
              example: 'event: piece\ndata: {"text":0,"piece":"there"}\n\nevent: end\ndata: {"texts":[…]}\n\n',
            },
          },
        },
        ...refusals(
          'The body is invalid or the prompt is too long; the message says which.',
          'The body or a prompt is too large, or too many texts are requested.',
        ),
      },
    },
    schemas: {
      Request: {
        type: 'object',
        required: ['prompt'],
        additionalProperties: false,
        properties: {
          prompt: { anyOf: [prompt, { type: 'array', items: prompt, maxItems: limits.texts }] },
          stream: { type: 'boolean', default: false, description: 'Send server-sent events instead of a single response.' },
          ...generationOptions,
          max_new_tokens: { ...max_new_tokens, maximum: limits.newTokens },
          max_time: { ...max_time, default: limits.seconds },
        },
      },
      Response: { type: 'object', required: ['texts'], properties: { texts: { type: 'array', items: text } } },
    },
  };
}
