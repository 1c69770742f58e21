/**
 * The endpoints of Amazon SageMaker: GET /ping and POST /invocations. A body has one record or many: as JSON, as JSON Lines, or as CSV.
 * The answer has the type of the Accept header; without one, the type of the body.
 */
import type { Context } from 'hono';
import type { Json } from '../../engine/contract/step.ts';
import { openCsv } from '../ml/data/csv.ts';
import { inOne } from '../ml/data/encodings.ts';
import { isGenerating } from '../ml/models/config.ts';
import { jsonOf, kindOf, RequestRefusal } from './limits.ts';
import { json, refusals } from './openapi.ts';
import { answerLines } from './predict.ts';
import { PROBLEM, problemOf } from './problem.ts';
import type { Protocol, ProtocolRequest } from './protocol.ts';
import { answersTo, refuseOthers } from './records.ts';
import type { ServedModel } from './served-model.ts';

export const sagemaker: Protocol = {
  name: 'sagemaker',
  description: 'The endpoints of Amazon SageMaker: GET /ping and POST /invocations with JSON, JSON Lines or CSV.',
  routes: (model) => [
    {
      path: '/ping',
      method: 'GET',
      open: true,
      answer: ({ c }) => c.json({ status: 'ok' }),
      operation: { operationId: 'ping', summary: 'Health check', responses: { 200: { description: 'The model is ready.' } } },
    },
    {
      path: '/invocations',
      method: 'POST',
      accepts: Object.keys(TYPES),
      answer: (request) => answer(model, request),
      operation: operation(model),
    },
  ],
};

type RecordFormat = 'json' | 'jsonl' | 'csv';

/** The media types of a body and of an answer. */
const TYPES: Record<string, RecordFormat> = {
  'application/json': 'json',
  'application/jsonlines': 'jsonl',
  'application/x-jsonlines': 'jsonl',
  'application/x-ndjson': 'jsonl',
  'text/csv': 'csv',
};

async function answer(model: ServedModel, request: ProtocolRequest): Promise<Response> {
  const { c } = request;
  const given = c.req.header('content-type') ?? '';
  const format = TYPES[mediaOf(given)] ?? 'json';
  const wanted = acceptedOf(c.req.header('accept'), format);
  if (wanted === undefined) {
    const message = `the answer can be ${Object.keys(TYPES).join(', ')}, but the request accepts only ${JSON.stringify(c.req.header('accept'))}`;
    return c.json(problemOf(406, message), 406, { 'content-type': PROBLEM });
  }
  const { records, parameters, nameOf } = await READERS[format](withoutMark(request.body), model, given);
  const answers: Json[] = [];
  // A batch transform puts as many records into a request as fit into its bytes.
  const most = model.limits.inputs;
  for (let begin = 0; begin === 0 || begin < records.length; begin += most) {
    const part = { records: records.slice(begin, begin + most), parameters, nameOf: (i: number) => nameOf(begin + i) };
    answers.push(...(await answersTo(model, part, request)));
  }
  return written(answers, wanted, c);
}

/** Without the byte order mark with which some programs begin a file. */
const withoutMark = (body: Buffer): Buffer => (body.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf])) ? body.subarray(3) : body);

const mediaOf = (type: string): string => type.split(';', 1)[0]!.trim().toLowerCase();

/** The first type that can be written, the most wanted first; undefined if there is none. */
function acceptedOf(header: string | undefined, format: RecordFormat): RecordFormat | undefined {
  const wanted = (header ?? '*/*')
    .split(',')
    .map((each) => ({ media: mediaOf(each), quality: Number(/;\s*q=([\d.]+)/.exec(each)?.[1] ?? 1) }));
  for (const { media, quality } of wanted.sort((a, b) => b.quality - a.quality)) {
    if (quality === 0) continue;
    if (media === '*/*' || media === '') return format;
    const found = TYPES[media] ?? Object.entries(TYPES).find(([type]) => media === type.replace(/\/.*/, '/*'))?.[1];
    if (found) return found;
  }
  return undefined;
}

interface ReadBody {
  records: unknown[];
  parameters?: unknown;
  nameOf(place: number): string;
}

const READERS: Record<RecordFormat, (body: Buffer, model: ServedModel, type: string) => ReadBody | Promise<ReadBody>> = {
  json: (body) => fromJson(jsonOf(body)),
  jsonl: fromJsonLines,
  csv: fromCsv,
};

/** A list of records, one record, or an object with `instances` or `inputs`. */
function fromJson(value: unknown): ReadBody {
  if (Array.isArray(value)) return { records: value, nameOf: (i) => `record ${i + 1}` };
  const name = ['instances', 'inputs'].find((name) => kindOf(value) === 'an object' && Object.hasOwn(value as object, name));
  if (name === undefined) return { records: [value], nameOf: () => 'the record' };
  const { [name]: given, parameters, ...others } = value as Record<string, unknown>;
  refuseOthers(others, [name, 'parameters']);
  const list = Array.isArray(given);
  return { records: list ? given : [given], parameters, nameOf: (i) => (list ? `"${name}[${i}]"` : `"${name}"`) };
}

function fromJsonLines(body: Buffer): ReadBody {
  // No byte of a character in UTF-8 looks like a line break. A carriage return is white space in JSON.
  const lines = body.toString('latin1').split('\n');
  const read = lines.flatMap((line, i) => (line.trim() === '' ? [] : [{ line: i + 1, bytes: Buffer.from(line, 'latin1') }]));
  const nameOf = (i: number) => `line ${read[i]!.line}`;
  const records = read.map(({ bytes }, i) => {
    try {
      return jsonOf(bytes);
    } catch (error) {
      throw new RequestRefusal(400, `${nameOf(i)}: ${(error as Error).message.replace('the body', 'it')}`);
    }
  });
  return { records, nameOf };
}

/** As SageMaker's algorithms read CSV: without a header, with the fields in their order. `text/csv; header=present` has a header. */
async function fromCsv(body: Buffer, { bundle }: ServedModel, type: string): Promise<ReadBody> {
  const names = isGenerating(bundle.task) ? ['prompt'] : bundle.fields.filter(({ optional }) => !optional).map(({ name }) => name);
  const hasHeader = /;\s*header\s*=\s*"?present/i.test(type);
  const header = Buffer.from(`${names.map((name) => `"${name.replaceAll('"', '""')}"`).join(',')}\n`);
  const csv = await openCsv(inOne(hasHeader ? body : Buffer.concat([header, body])), { source: 'the body', delimiter: ',' });
  const lines: number[] = [];
  const records: unknown[] = [];
  let columns: (string | null)[] | undefined;
  for await (const rows of csv.records)
    for (const row of rows) {
      const line = row.line - (hasHeader ? 0 : 1);
      if (row.problem !== undefined) throw new RequestRefusal(400, `line ${line}: ${row.problem}`);
      if (columns === undefined) {
        columns = row.fields;
        continue;
      }
      if (row.fields.length !== columns.length)
        throw new RequestRefusal(400, `line ${line} has ${row.fields.length} columns instead of ${columns.length}: ${columns.join(', ')}`);
      lines.push(line);
      const groups = bundle.fields.flatMap(({ name, group }) => (group ? [name] : []));
      const value = (name: string, text: string | null) => text ?? (groups.includes(name) ? null : '');
      records.push(Object.fromEntries(columns.map((name, k) => [name ?? '', value(name ?? '', row.fields[k]!)])));
    }
  return { records, nameOf: (i) => `line ${lines[i]}` };
}

function written(answers: Json[], format: RecordFormat, c: Context): Response {
  if (format === 'json') return c.json({ predictions: answers });
  const line = answerLines(format, { header: false });
  const type = format === 'csv' ? 'text/csv; charset=utf-8; header=absent' : 'application/jsonlines; charset=utf-8';
  return c.body(answers.map((each) => line({}, each)).join(''), 200, { 'content-type': type });
}

const operation = ({ limits }: ServedModel) => ({
  operationId: 'invocations',
  summary: 'Predict for one record or several',
  requestBody: {
    required: true,
    description: `At most ${limits.body} bytes. CSV has no header, unless the type is text/csv; header=present.`,
    content: {
      ...json({}, { instances: ['a first text', 'a second text'] }),
      'application/jsonlines': { schema: { type: 'string' }, example: '"a first text"\n"a second text"\n' },
      'text/csv': { schema: { type: 'string' }, example: 'a first text\n"a second text, quoted"\n' },
    },
  },
  responses: {
    200: { description: 'One prediction for each record, in their order, in the type of the Accept header.' },
    406: { description: 'The Accept header allows no type that can be written.' },
    ...refusals('The body is invalid; the message names the record.', 'The body or a record is too large, or there are too many records.'),
  },
});
