/** Hugging Face's inference payload, as @huggingface/inference and Inference Endpoints send it: {"inputs": …, "parameters": {…}}. */
import type { Bundle } from '../ml/answering/bundle.ts';
import { FUNCTIONS, PARAMETERS, type PipelineParameters, STRATEGIES, TOKENS_OF_MASK } from '../ml/answering/pipeline-answer.ts';
import { isGenerating } from '../ml/models/config.ts';
import { taskKind } from '../ml/tasks/registry.ts';
import type { Input } from '../ml/tasks/task.ts';
import { GENERATION_PARAMETERS, type HuggingFacePayload, writeTexts } from './huggingface-generation.ts';
import { jsonOf, kindOf, RequestRefusal } from './limits.ts';
import { json, refusals } from './openapi.ts';
import { PROBLEM, problemOf } from './problem.ts';
import type { Protocol, ProtocolRequest, ProtocolRoute } from './protocol.ts';
import type { ServedModel } from './served-model.ts';
import { inputOf } from './tunesmith-protocol.ts';

export const huggingface: Protocol = {
  name: 'huggingface',
  description: "Hugging Face's inference payload, for @huggingface/inference and code that was written for Inference Endpoints.",
  // A problem document whose `error` is a string, as its clients show it.
  errors: {
    paths: /^\/(models\/|pipeline\/|$)/,
    media: PROBLEM,
    schema: {
      type: 'object',
      required: ['status', 'detail', 'error'],
      properties: { status: { type: 'integer' }, detail: { type: 'string' }, error: { type: 'string', description: 'As detail.' } },
    },
    body: (status, message, request) => ({ ...problemOf(status, message, request), error: message }),
  },
  routes(model) {
    const paths = ['/', '/models/:name', '/pipeline/:task', '/models/:name/pipeline/:task'];
    return paths.map(
      (path): ProtocolRoute => ({ path, method: 'POST', answer: (request) => answer(model, request), operation: operation(model, path) }),
    );
  },
};

async function answer(model: ServedModel, request: ProtocolRequest): Promise<Response> {
  const { bundle } = model;
  const { name, task } = request.c.req.param() as { name?: string; task?: string };
  if (name !== undefined && name !== bundle.name)
    throw new RequestRefusal(404, `there is no model ${JSON.stringify(name)}; this server has ${bundle.name}`);
  const pipelines = pipelinesOf(model);
  if (task !== undefined && !Object.hasOwn(pipelines, task))
    throw new RequestRefusal(
      404,
      `there is no pipeline ${JSON.stringify(task)} of this model; it has ${Object.keys(pipelines).join(', ')}`,
    );
  const payload = payloadOf(model, request.body);
  return isGenerating(bundle.task)
    ? writeTexts(model, payload, request, pipelines[task ?? Object.keys(pipelines)[0]!]!)
    : predict(model, payload, request);
}

/** The pipelines of the model's task, and the field of a generated text in their answers. */
function pipelinesOf({ bundle: { task } }: ServedModel): Record<string, string> {
  if (task === 'seq2seq')
    return { 'text2text-generation': 'generated_text', summarization: 'summary_text', translation: 'translation_text' };
  return { [taskKind(task).card.hubTask]: 'generated_text' };
}

function payloadOf({ bundle: { task } }: ServedModel, body: Buffer): HuggingFacePayload {
  const value = jsonOf(body);
  if (kindOf(value) !== 'an object')
    throw new RequestRefusal(400, `the body must be an object such as {"inputs": "…"}, not ${kindOf(value)}`);
  const { inputs, parameters = {}, options = {}, stream = false, ...others } = value as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new RequestRefusal(
      400,
      `unknown field ${JSON.stringify(unknown)}; the fields are "inputs", "parameters", "options" and "stream"`,
    );
  if (typeof stream !== 'boolean') throw new RequestRefusal(400, `"stream" must be true or false, not ${kindOf(stream)}`);
  if (stream && !isGenerating(task)) throw new RequestRefusal(400, `"stream" must be false: a model for ${task} writes no text`);
  if (inputs === undefined) throw new RequestRefusal(400, 'the field "inputs" is missing');
  for (const [name, given] of Object.entries({ parameters, options }))
    if (kindOf(given) !== 'an object') throw new RequestRefusal(400, `"${name}" must be an object, not ${kindOf(given)}`);
  // Hugging Face's own cache and queue, which this server does not have.
  const foreign = Object.keys(options as object).find((option) => !['use_cache', 'wait_for_model', 'use_gpu'].includes(option));
  if (foreign !== undefined)
    throw new RequestRefusal(400, `"options.${foreign}" is not supported; use_cache, wait_for_model and use_gpu are ignored`);
  return {
    inputs,
    stream,
    parameters: Object.fromEntries(Object.entries(parameters as object).filter(([, given]) => given !== null && given !== undefined)),
  };
}

/* Models that predict. */

async function predict(model: ServedModel, { inputs, parameters }: HuggingFacePayload, { c, ticket }: ProtocolRequest): Promise<Response> {
  const { fields, task } = model.bundle;
  const pipeline = parametersOf(model, parameters);
  const list = Array.isArray(inputs);
  const given = list ? inputs : [inputs];
  const nameOf = (i: number) => (list ? `"inputs[${i}]"` : '"inputs"');
  const required = fields.filter(({ optional }) => !optional);
  const read = given.map((each, i): Input => {
    const input = typeof each === 'string' && required.length === 1 ? { [required[0]!.name]: each } : undefined;
    if (input) return input;
    if (kindOf(each) !== 'an object')
      throw new RequestRefusal(
        400,
        required.length === 1
          ? `${nameOf(i)} must be a string, not ${kindOf(each)}`
          : `${nameOf(i)} must be an object with ${required.map(({ name }) => name).join(' and ')}, not ${kindOf(each)}`,
      );
    const object = inputOf(each as Record<string, unknown>, fields, nameOf(i));
    if (typeof object === 'string') throw new RequestRefusal(400, object);
    return object;
  });
  if (task === 'masked-lm') ticket.take(read.reduce((sum, { text }) => sum + bytesOfFilled(text!, pipeline), 0));
  const answers = await model.predict(read, { signal: c.req.raw.signal, ticket, nameOf, pipeline });
  // The API has always answered a single text to classify with a list of one list.
  return c.json(list || task === 'text-classification' ? answers : answers[0]!);
}

/** Memory of an answer: a filled text for each token of a mask. Most tokenizers write their masks like this. */
function bytesOfFilled(text: string, { top_k = TOKENS_OF_MASK }: PipelineParameters): number {
  const masks = text.match(/\[MASK\]|<mask>/gi)?.length ?? 1;
  return top_k * masks * Math.min(4096, 2 * text.length);
}

function parametersOf({ bundle }: ServedModel, given: Record<string, unknown>): PipelineParameters {
  const { task } = bundle;
  const known: readonly string[] = PARAMETERS[task]!;
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new RequestRefusal(
      400,
      `"parameters.${unknown}" is not supported for ${task}; ${known.length === 0 ? 'it has no parameters' : `its parameters are ${known.join(', ')}`}`,
    );
  for (const [name, value] of Object.entries(given)) {
    const { fits, what } = RULES[name as keyof PipelineParameters](value, bundle);
    if (!fits) throw new RequestRefusal(400, `"parameters.${name}" is ${shown(value)}, but must be ${what}`);
  }
  const { doc_stride, max_seq_len } = given as PipelineParameters;
  if (doc_stride !== undefined && max_seq_len !== undefined && doc_stride >= max_seq_len)
    throw new RequestRefusal(400, `"parameters.doc_stride" is ${doc_stride}, but must be below "parameters.max_seq_len": ${max_seq_len}`);
  return given as PipelineParameters;
}

/** What a value must be, and whether it is. */
const RULES: Record<keyof PipelineParameters, (value: unknown, bundle: Bundle) => { fits: boolean; what: string }> = {
  top_k: (value, { task }) => within(value, 1, task === 'masked-lm' || task === 'question-answering' ? mostTokens : undefined),
  function_to_apply: (value) => oneOf(value, FUNCTIONS),
  aggregation_strategy: (value) => oneOf(value, STRATEGIES),
  ignore_labels: (value, { labels }) => ({
    fits: Array.isArray(value) && value.every((label) => typeof label === 'string'),
    what: `a list of labels, such as ${JSON.stringify(labels.slice(0, 1))}`,
  }),
  targets: (value) => {
    const list = [value].flat();
    return {
      fits: list.length > 0 && list.length <= mostTokens && list.every((target) => typeof target === 'string' && target !== ''),
      what: `a word, or a list of at most ${mostTokens} words`,
    };
  },
  max_seq_len: (value, { encoding }) => within(value, 4, encoding.max_length),
  doc_stride: (value) => within(value, 0),
  max_question_len: (value) => within(value, 1),
  max_answer_len: (value) => within(value, 1),
  handle_impossible_answer: trueOrFalse,
  align_to_words: trueOrFalse,
};

function within(value: unknown, least: number, most = Number.MAX_SAFE_INTEGER): { fits: boolean; what: string } {
  return {
    fits: Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most,
    what: `a whole number of at least ${least}${most === Number.MAX_SAFE_INTEGER ? '' : ` and at most ${most}`}`,
  };
}

const oneOf = (value: unknown, values: readonly string[]) => ({ fits: values.includes(value as string), what: values.join(', ') });

function trueOrFalse(value: unknown): { fits: boolean; what: string } {
  return { fits: typeof value === 'boolean', what: 'true or false' };
}

const mostTokens = 100;

const shown = (value: unknown): string => (JSON.stringify(value) ?? 'missing').slice(0, 80);

function operation(model: ServedModel, path: string): object {
  const { task, fields } = model.bundle;
  const known = isGenerating(task) ? GENERATION_PARAMETERS : PARAMETERS[task]!;
  const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
  return {
    operationId: `huggingface${path.replaceAll(/\W+(\w)/g, (_, letter) => letter.toUpperCase()).replaceAll('/', '')}`,
    summary: `The answer of transformers' pipeline ${Object.keys(pipelinesOf(model)).join(', ')}`,
    parameters: names,
    requestBody: {
      required: true,
      content: json({
        type: 'object',
        required: ['inputs'],
        properties: {
          inputs: { description: `A text, an object with ${fields.map(({ name }) => name).join(', ')}, or a list of these.` },
          parameters: { type: 'object', additionalProperties: false, properties: Object.fromEntries(known.map((name) => [name, {}])) },
          ...(isGenerating(task) && { stream: { type: 'boolean', description: 'Answer with server-sent events.' } }),
          options: { type: 'object', description: 'use_cache, wait_for_model and use_gpu are ignored.' },
        },
      }),
    },
    responses: {
      200: { description: "As Hugging Face's inference API answers.", content: json({}) },
      ...refusals('The body is invalid; the message names the field.', 'The body or an input is too large, or there are too many inputs.'),
    },
  };
}
