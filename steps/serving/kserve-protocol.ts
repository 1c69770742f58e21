/** KServe's Open Inference Protocol, version 2, over HTTP: tensors of texts in, tensors of answers out, as JSON or binary. */
import type { Json } from '../../engine/contract/step.ts';
import type { Bundle } from '../ml/answering/bundle.ts';
import { checkOptions, type GenerationOptions } from '../ml/generation/options.ts';
import { isGenerating } from '../ml/models/config.ts';
import type { Input } from '../ml/tasks/task.ts';
import { generationWithin } from './generation-limits.ts';
import {
  BINARY,
  binaryOf,
  type Datatype,
  type GivenTensor,
  JSON_LENGTH,
  objectOf,
  objectsOf,
  splitBody,
  tensorsIn,
  textsOf,
} from './kserve-tensors.ts';
import { jsonOf, kindOf, RequestRefusal } from './limits.ts';
import { json } from './openapi.ts';
import type { Protocol, ProtocolRequest, ProtocolRoute } from './protocol.ts';
import type { ServedModel } from './served-model.ts';

export const kserve: Protocol = {
  name: 'kserve',
  description: "KServe's Open Inference Protocol v2, which Triton, MLServer and Seldon speak too.",
  routes,
  errors: {
    paths: /^\/v2(\/|$)/,
    media: 'application/json',
    schema: { type: 'object', required: ['error'], properties: { error: { type: 'string' } } },
    body: (_, message) => ({ error: message }),
  },
};

function routes(model: ServedModel): ProtocolRoute[] {
  const { name } = model.bundle;
  const get = (path: string, summary: string, answer: () => Json, open = false): ProtocolRoute => ({
    path,
    method: 'GET',
    ...(open && { open }),
    answer({ c }) {
      checkName(model, c.req.param() as ModelPath);
      return c.json(answer());
    },
    operation: operation(path, summary),
  });
  const metadata = () => ({
    name,
    versions: [VERSION],
    platform: 'tunesmith',
    inputs: inputsOf(model.bundle) as unknown as Json,
    outputs: outputsOf(model.bundle),
  });
  return [
    get('/v2', 'The server', () => ({ name: 'tunesmith', version: '2', extensions: ['binary_tensor_data'] })),
    get('/v2/health/live', 'Liveness', () => ({ live: true }), true),
    get('/v2/health/ready', 'Readiness', () => ({ ready: true }), true),
    ...['/v2/models/:name', '/v2/models/:name/versions/:version'].flatMap((path): ProtocolRoute[] => [
      get(path, "The model's tensors", metadata),
      get(`${path}/ready`, "The model's readiness", () => ({ name, ready: true }), true),
      {
        path: `${path}/infer`,
        method: 'POST',
        // Triton's client sends no type. Browsers do so only with the header Origin, which is checked before.
        accepts: ['', BINARY],
        answer: (request) => infer(model, request),
        operation: operation(`${path}/infer`, 'Inference'),
      },
    ]),
  ];
}

/** A server has one version of its model. */
const VERSION = '1';

function operation(path: string, summary: string): object {
  const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
  const body = { requestBody: { required: true, content: json({ type: 'object', required: ['inputs'] }) } };
  return {
    operationId: `kserve${path.replaceAll(/\W+(\w)/g, (_, letter) => letter.toUpperCase())}`,
    summary,
    parameters: names,
    ...(path.endsWith('/infer') && body),
    responses: { 200: { description: 'As the protocol says.', content: json({ type: 'object' }) } },
  };
}

interface ModelPath {
  name?: string;
  version?: string;
}

function checkName({ bundle }: ServedModel, { name = bundle.name, version = VERSION }: ModelPath): void {
  if (name !== bundle.name) throw new RequestRefusal(404, `there is no model ${JSON.stringify(name)}; this server has ${bundle.name}`);
  if (version !== VERSION) throw new RequestRefusal(404, `there is no version ${JSON.stringify(version)} of ${name}; it has ${VERSION}`);
}

interface TensorMetadata {
  name: string;
  datatype: Datatype;
  /** -1: any number. */
  shape: number[];
}

/** A tensor for each field of an input. */
function inputsOf({ task, fields }: Bundle): (TensorMetadata & { optional?: boolean })[] {
  const named = isGenerating(task) ? [{ name: 'text' }] : fields;
  return named.map((field) => ({
    name: field.name,
    datatype: 'BYTES',
    shape: [-1],
    ...('optional' in field && field.optional && { optional: true }),
  }));
}

type OutputTensor = TensorMetadata & { of(answer: any): Json | Json[] };

/** A tensor for each part of an answer. Parts of any length are JSON. */
function tensorsOf({ task, problem, labels }: Bundle): OutputTensor[] {
  const text = (name: string, of: (answer: any) => Json): OutputTensor => ({ name, datatype: 'BYTES', shape: [-1], of });
  const scores: OutputTensor = {
    name: 'scores',
    datatype: 'FP64',
    shape: [-1, labels.length],
    of: ({ scores }) => labels.map((label) => scores[label]),
  };
  if (isGenerating(task)) return [text('text', ({ text }) => text), text('finish', ({ finish }) => finish)];
  if (task === 'token-classification') return [text('entities', ({ entities }) => JSON.stringify(entities))];
  if (task === 'masked-lm') return [text('fill', ({ fill }) => JSON.stringify(fill))];
  if (task === 'question-answering')
    return [
      text('answer', ({ answer }) => answer),
      { name: 'start', datatype: 'INT64', shape: [-1], of: ({ start }) => start },
      { name: 'end', datatype: 'INT64', shape: [-1], of: ({ end }) => end },
      { name: 'score', datatype: 'FP64', shape: [-1], of: ({ score }) => score },
    ];
  if (problem === 'regression')
    return labels.length === 1 ? [{ name: 'score', datatype: 'FP64', shape: [-1], of: ({ score }) => score }] : [scores];
  if (problem === 'multi_label_classification') {
    const predicted = ({ labels: given }: { labels: string[] }) => labels.map((label) => given.includes(label));
    return [scores, { name: 'predicted', datatype: 'BOOL', shape: [-1, labels.length], of: predicted }];
  }
  return [text('label', ({ label }) => label), scores];
}

const outputsOf = (bundle: Bundle): Json => tensorsOf(bundle).map(({ name, datatype, shape }) => ({ name, datatype, shape }));

async function infer(model: ServedModel, { body, c, ticket }: ProtocolRequest): Promise<Response> {
  const { bundle, limits } = model;
  checkName(model, c.req.param() as ModelPath);
  const { id, parameters, inputs, outputs, binary } = requestOf(body, c.req.header(JSON_LENGTH));
  const tensors = tensorsOf(bundle);
  const wanted = outputs
    ? outputs.map((output) => ({ tensor: named(tensors, output.name), binary: output.binary ?? binary }))
    : tensors.map((tensor) => ({ tensor, binary }));
  const rows = rowsOf(inputs, inputsOf(bundle));
  const nameOf = (i: number) => `row ${i} of the inputs`;
  let answers: Json[];
  if (isGenerating(bundle.task)) {
    checkOptions(parameters, (name) => `"parameters.${name}"`);
    const options = parameters as GenerationOptions;
    if ((options.num_return_sequences ?? 1) !== 1)
      throw new RequestRefusal(400, '"parameters.num_return_sequences" must be 1: a row has one text');
    const writing = generationWithin({ prompts: rows.map(({ text }) => text!), stream: false, options }, limits, nameOf);
    answers = rows.length === 0 ? [] : ((await model.generate(writing, { signal: c.req.raw.signal, ticket })) as unknown as Json[]);
  } else {
    const [unknown] = Object.keys(parameters);
    if (unknown !== undefined) throw new RequestRefusal(400, `"parameters.${unknown}" is not supported: this model has no parameters`);
    answers = await model.predict(rows, { signal: c.req.raw.signal, ticket, nameOf });
  }
  const written = wanted.map(({ tensor: { name, datatype, shape, of }, binary }) => {
    const head = { name, datatype, shape: [answers.length, ...shape.slice(1)] };
    const data = answers.flatMap((answer) => of(answer) as Json);
    if (!binary) return { head: { ...head, data } };
    const bytes = binaryOf(datatype, data);
    return { head: { ...head, parameters: { binary_data_size: bytes.length } }, bytes };
  });
  const answer = {
    model_name: bundle.name,
    model_version: VERSION,
    ...(id !== undefined && { id }),
    // Of the columns of scores, in their order. The protocol has no place for a list.
    ...(bundle.labels.length > 0 && { parameters: { labels: JSON.stringify(bundle.labels) } }),
    outputs: written.map(({ head }) => head),
  };
  if (!wanted.some(({ binary }) => binary)) return c.json(answer);
  const head = Buffer.from(JSON.stringify(answer));
  const whole = Buffer.concat([head, ...written.flatMap(({ bytes }) => bytes ?? [])]);
  return c.body(whole, 200, { 'content-type': BINARY, [JSON_LENGTH]: String(head.length) });
}

function named<T extends { name: string }>(tensors: readonly T[], name: string): T {
  const tensor = tensors.find((each) => each.name === name);
  if (!tensor)
    throw new RequestRefusal(
      400,
      `there is no output ${JSON.stringify(name)}; the outputs are ${tensors.map((each) => each.name).join(', ')}`,
    );
  return tensor;
}

interface InferenceRequest {
  id?: string;
  parameters: Record<string, unknown>;
  inputs: GivenTensor[];
  outputs?: RequestedOutput[];
  /** Whether outputs are binary that do not say it themselves. */
  binary: boolean;
}

/** @param jsonLength the header that says how many bytes of the body are JSON; tensors follow */
function requestOf(body: Buffer, jsonLength: string | undefined): InferenceRequest {
  const { json, binary } = splitBody(body, jsonLength);
  const value = jsonOf(json);
  if (kindOf(value) !== 'an object') throw new RequestRefusal(400, `the body must be an object with "inputs", not ${kindOf(value)}`);
  // Clients in Python write null for what is not set.
  const { id: given, parameters, inputs, outputs, ...others } = value as Record<string, unknown>;
  const id = given ?? undefined;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new RequestRefusal(400, `unknown field ${JSON.stringify(unknown)}; the fields are id, parameters, inputs and outputs`);
  if (id !== undefined && typeof id !== 'string') throw new RequestRefusal(400, `"id" must be a string, not ${kindOf(id)}`);
  const requested = (outputs ?? undefined) === undefined ? undefined : objectsOf('outputs', outputs).map(outputOf);
  const { binary_data_output = false, ...more } = objectOf('"parameters"', parameters);
  if (typeof binary_data_output !== 'boolean')
    throw new RequestRefusal(400, `"parameters.binary_data_output" must be true or false, not ${kindOf(binary_data_output)}`);
  return {
    ...(id !== undefined && { id }),
    parameters: more,
    inputs: tensorsIn(objectsOf('inputs', inputs), binary),
    ...(requested && { outputs: requested }),
    binary: binary_data_output,
  };
}

interface RequestedOutput {
  name: string;
  binary: boolean | undefined;
}

function outputOf({ name, parameters, ...others }: Record<string, unknown>, i: number): RequestedOutput {
  const place = `"outputs[${i}]"`;
  if (typeof name !== 'string') throw new RequestRefusal(400, `"name" of ${place} must be a string, not ${kindOf(name)}`);
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new RequestRefusal(400, `${place} has an unknown field ${JSON.stringify(unknown)}`);
  const { binary_data: binary, ...more } = objectOf(`"parameters" of ${place}`, parameters);
  const [odd] = Object.keys(more);
  if (odd !== undefined) throw new RequestRefusal(400, `the parameter "${odd}" of the output ${JSON.stringify(name)} is not supported`);
  if (binary !== undefined && typeof binary !== 'boolean')
    throw new RequestRefusal(400, `"binary_data" of the output ${JSON.stringify(name)} must be true or false, not ${kindOf(binary)}`);
  return { name, binary };
}

/** The rows of the tensors. */
function rowsOf(given: GivenTensor[], expected: (TensorMetadata & { optional?: boolean })[]): Input[] {
  const columns = new Map<string, string[]>();
  for (const [i, { tensor, binary }] of given.entries()) {
    const { name } = tensor;
    if (typeof name !== 'string' || !expected.some((each) => each.name === name))
      throw new RequestRefusal(
        400,
        `"inputs[${i}]" has the name ${JSON.stringify(name)}; the inputs are ${expected.map((each) => each.name).join(', ')}`,
      );
    if (columns.has(name)) throw new RequestRefusal(400, `the input "${name}" is given twice`);
    columns.set(name, textsOf(name, tensor, binary));
  }
  const missing = expected.find(({ name, optional }) => !optional && !columns.has(name));
  if (missing) throw new RequestRefusal(400, `the input "${missing.name}" is missing`);
  const [first] = columns.values();
  for (const [name, texts] of columns)
    if (texts.length !== first!.length)
      throw new RequestRefusal(
        400,
        `the input "${name}" has ${texts.length} elements, but "${[...columns.keys()][0]}" has ${first!.length}`,
      );
  return first!.map((_, row) => Object.fromEntries([...columns].map(([name, texts]) => [name, texts[row]!])));
}
