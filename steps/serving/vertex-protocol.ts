/**
 * The endpoints of a custom container on Google Cloud's Vertex AI: {"instances": […], "parameters": {…}} → {"predictions": […]}. Vertex AI
 * chooses the paths and sets them as variables of the container.
 */
import { jsonOf } from './limits.ts';
import { json, refusals } from './openapi.ts';
import type { Protocol } from './protocol.ts';
import { answersTo, listOf, objectOf, refuseOthers } from './records.ts';

export const vertex: Protocol = {
  name: 'vertex',
  description:
    "The endpoints of Google Cloud's Vertex AI: the paths of AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE, with instances and predictions.",
  routes: (model) => [
    {
      path: process.env.AIP_HEALTH_ROUTE || '/vertex/health',
      method: 'GET',
      open: true,
      answer: ({ c }) => c.json({ status: 'ok' }),
      operation: { operationId: 'vertexHealth', summary: 'Health check', responses: { 200: { description: 'The model is ready.' } } },
    },
    {
      path: process.env.AIP_PREDICT_ROUTE || '/vertex/predict',
      method: 'POST',
      async answer(request) {
        const { instances, parameters = {}, ...others } = objectOf(jsonOf(request.body), '{"instances": ["…"]}');
        refuseOthers(others, ['instances', 'parameters']);
        const records = listOf(instances, 'instances');
        const nameOf = (i: number) => `"instances[${i}]"`;
        return request.c.json({ predictions: await answersTo(model, { records, parameters: parameters ?? {}, nameOf }, request) });
      },
      operation: {
        operationId: 'vertexPredict',
        summary: 'Predict for one instance or several',
        requestBody: {
          required: true,
          description: `At most ${model.limits.body} bytes; Vertex AI itself allows 1.5 MB.`,
          content: json({}, { instances: ['a first text', 'a second text'] }),
        },
        responses: {
          200: { description: 'One prediction for each instance, in their order.' },
          ...refusals(
            'The body is invalid; the message names the instance.',
            'The body or an instance is too large, or there are too many.',
          ),
        },
      },
    },
  ],
};
