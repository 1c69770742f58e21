/** The scoring route of an online endpoint of Azure Machine Learning: {"input_data": […]}, or "data" as in its examples, → a list of answers. */
import { jsonOf, kindOf, RequestRefusal } from './limits.ts';
import { json, refusals } from './openapi.ts';
import type { Protocol } from './protocol.ts';
import { answersTo, listOf, objectOf, refuseOthers } from './records.ts';

export const azureml: Protocol = {
  name: 'azureml',
  description:
    'The scoring route of Azure Machine Learning: POST /score with input_data. GET /live and GET /ready say whether the server runs.',
  routes: (model) => [
    ...['live', 'ready'].map((name) => ({
      path: `/${name}`,
      method: 'GET' as const,
      open: true as const,
      answer: ({ c }: Parameters<ReturnType<Protocol['routes']>[number]['answer']>[0]) => c.json({ status: 'ok' }),
      operation: { operationId: name, summary: 'Health check', responses: { 200: { description: 'The model is ready.' } } },
    })),
    {
      path: '/score',
      method: 'POST',
      async answer(request) {
        const value = objectOf(jsonOf(request.body), '{"input_data": ["…"]}');
        const name = Object.hasOwn(value, 'data') ? 'data' : 'input_data';
        const { [name]: given, params, parameters = params ?? {}, ...others } = value;
        refuseOthers(others, [name, 'params']);
        const records = recordsOf(given, name);
        return request.c.json(await answersTo(model, { records, parameters, nameOf: (i) => `"${name}[${i}]"` }, request));
      },
      operation: {
        operationId: 'score',
        summary: 'Predict for one record or several',
        requestBody: {
          required: true,
          description: `At most ${model.limits.body} bytes.`,
          content: json({}, { input_data: ['a first text', 'a second text'] }),
        },
        responses: {
          200: { description: 'A list with one prediction for each record, in their order.' },
          ...refusals('The body is invalid; the message names the record.', 'The body or a record is too large, or there are too many.'),
        },
      },
    },
  ],
};

/** A list of records, or a table as pandas writes it (`orient="split"`), which MLflow's clients send. */
function recordsOf(given: unknown, name: string): unknown[] {
  if (kindOf(given) !== 'an object') return listOf(given, name);
  const { columns, data, index: _, ...others } = given as Record<string, unknown>;
  refuseOthers(others, ['columns', 'index', 'data']);
  const names = listOf(columns, `${name}.columns`);
  const odd = names.findIndex((column) => typeof column !== 'string');
  if (odd >= 0) throw new RequestRefusal(400, `"${name}.columns[${odd}]" must be a string, not ${kindOf(names[odd])}`);
  return listOf(data, `${name}.data`).map((row, i) => {
    const cells = listOf(row, `${name}.data[${i}]`);
    if (cells.length !== names.length)
      throw new RequestRefusal(400, `"${name}.data[${i}]" has ${cells.length} values instead of ${names.length}`);
    return Object.fromEntries(names.map((column, k) => [column as string, cells[k]]));
  });
}
