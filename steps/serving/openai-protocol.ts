/** OpenAI's completions, for models that write. */
import { randomInt, randomUUID } from 'node:crypto';
import { StepError } from '../../engine/contract/step.ts';
import type { TokenDetails } from '../ml/generation/generator.ts';
import { checkOptions, type GenerationOptions, generationOptions } from '../ml/generation/options.ts';
import { isGenerating } from '../ml/models/config.ts';
import { eventStream } from './event-stream.ts';
import { generationWithin } from './generation-limits.ts';
import type { GenerationRequest } from './generation-thread.ts';
import { jsonOf, kindOf, RequestRefusal } from './limits.ts';
import { json, refusals } from './openapi.ts';
import type { Protocol, ProtocolRequest, ProtocolRoute } from './protocol.ts';
import type { ServedModel, WrittenText } from './served-model.ts';

export const openai: Protocol = {
  name: 'openai',
  description: "OpenAI's POST /v1/completions and GET /v1/models, for models that write text.",
  routes(model) {
    if (!isGenerating(model.bundle.task))
      throw new StepError(
        `--api openai: a model for ${model.bundle.task} writes no text`,
        'Completions need a model for causal-lm or seq2seq. Leave openai out.',
      );
    return routes(model);
  },
  errors: {
    paths: /^\/v1(\/|$)/,
    media: 'application/json',
    schema: {
      type: 'object',
      required: ['error'],
      properties: {
        error: {
          type: 'object',
          required: ['message', 'type', 'param', 'code'],
          properties: {
            message: { type: 'string' },
            type: { type: 'string' },
            param: { type: ['string', 'null'], description: 'The field that is invalid.' },
            code: { type: ['string', 'null'] },
          },
        },
      },
    },
    body: (status, message) => ({
      error: {
        message,
        type:
          status === 401
            ? 'authentication_error'
            : status === 429
              ? 'rate_limit_error'
              : status >= 500
                ? 'server_error'
                : 'invalid_request_error',
        param: parameterIn(message),
        code: status === 401 ? 'invalid_api_key' : status === 404 && message.startsWith('there is no model') ? 'model_not_found' : null,
      },
    }),
  },
};

/** The field that a message is about: it is in the first quotes, before anything that the client sent. */
function parameterIn(message: string): string | null {
  if (message.startsWith('there is no model')) return 'model';
  return /^(?:unknown field |the field )?"([\w.]+)/.exec(message)?.[1] ?? null;
}

function routes(model: ServedModel): ProtocolRoute[] {
  const created = Math.floor(Date.now() / 1000);
  const own = { id: model.bundle.name, object: 'model', created, owned_by: 'tunesmith' };
  const described = { description: "As OpenAI's API answers.", content: json({ type: 'object' }) };
  return [
    {
      path: '/v1/models',
      method: 'GET',
      answer: ({ c }) => c.json({ object: 'list', data: [own] }),
      operation: { operationId: 'openaiModels', summary: 'The model of this server', responses: { 200: described } },
    },
    {
      path: '/v1/models/:name',
      method: 'GET',
      answer({ c }) {
        checkModel(model, c.req.param('name'));
        return c.json(own);
      },
      operation: {
        operationId: 'openaiModel',
        summary: 'The model of this server',
        parameters: [{ name: 'name', in: 'path', required: true, schema: { type: 'string' } }],
        responses: { 200: described },
      },
    },
    {
      path: '/v1/completions',
      method: 'POST',
      answer: (request) => complete(model, request),
      operation: {
        operationId: 'openaiCompletions',
        summary: 'Continue one prompt or several',
        requestBody: {
          required: true,
          content: json({ type: 'object', required: ['prompt'] }, { model: own.id, prompt: 'Once', max_tokens: 20 }),
        },
        responses: {
          200: described,
          ...refusals(
            'The body is invalid; the message names the field.',
            'The body or a prompt is too large, or too many texts are requested.',
          ),
        },
      },
    },
  ];
}

/** Clients for a single endpoint send its URL as the name of the model. */
function checkModel({ bundle }: ServedModel, name: unknown): void {
  if (name === undefined || name === bundle.name || (typeof name === 'string' && /^https?:\/\//.test(name))) return;
  throw new RequestRefusal(404, `there is no model ${JSON.stringify(name)}; this server has ${bundle.name}`);
}

/** What a request asks for. */
interface Completion {
  prompts: (string | number[])[];
  stop: string[];
  echo: boolean;
  stream: boolean;
  usage: boolean;
  /** Texts of each prompt in the answer: the best ones, if more are generated. */
  n: number;
  /** The number of likely tokens; undefined: no log probabilities. */
  logprobs: number | undefined;
  options: GenerationOptions;
}

async function complete(model: ServedModel, request: ProtocolRequest): Promise<Response> {
  const completion = completionOf(model, request.body);
  const { prompts, n, logprobs, stream, options } = completion;
  const each = options.num_return_sequences ?? 1;
  const predictions = logprobs ?? (each > n ? 0 : undefined);
  const writing = generationWithin(
    { prompts, stream, options, ...(predictions !== undefined && { predictions }) },
    model.limits,
    (i) => (prompts.length === 1 ? '"prompt"' : `"prompt[${i}]"`),
    (option) => `"${OPENAI_NAMES[option] ?? option}"`,
  );
  const head = { id: `cmpl-${randomUUID()}`, object: 'text_completion', created: Math.floor(Date.now() / 1000), model: model.bundle.name };
  if (stream) return streamed(model, completion, writing, request, head);
  const { c, ticket } = request;
  const texts = await model.generate(writing, { signal: c.req.raw.signal, ticket });
  const chosen = prompts.flatMap((_, p) => bestOf(texts.slice(p * each, (p + 1) * each), n));
  const choices = chosen.map((text, index) => {
    const begin = beginOf(completion, index, text);
    const written = untilStop(text.text, completion.stop);
    const log = new TokenLog(begin.length);
    const tokens = logprobs === undefined ? [] : log.add(text.details!).filter(({ offset }) => offset < begin.length + written.length);
    return {
      text: begin + written,
      index,
      logprobs: logprobs === undefined ? null : shownLogprobs(tokens),
      finish_reason: reasonOf(text.finish),
    };
  });
  return c.json({ ...head, choices, usage: usageOf(texts, each) });
}

/** What comes before a generated text in an answer. */
function beginOf({ prompts, echo, n }: Completion, index: number, { prompt }: Pick<WrittenText, 'prompt'>): string {
  if (!echo) return '';
  const given = prompts[Math.floor(index / n)]!;
  return typeof given === 'string' ? given : prompt!;
}

/** The texts with the highest log probability per token. */
function bestOf(texts: WrittenText[], n: number): WrittenText[] {
  if (texts.length === n) return texts;
  const mean = ({ details }: WrittenText) => details!.reduce((sum, { logprob }) => sum + logprob, 0) / details!.length;
  return texts.toSorted((a, b) => mean(b) - mean(a)).slice(0, n);
}

function streamed(
  model: ServedModel,
  completion: Completion,
  writing: GenerationRequest,
  { c, ticket }: ProtocolRequest,
  head: object,
): Response {
  const { prompts, n, stop, echo, usage, logprobs } = completion;
  return eventStream(c, model, {
    async work(send, signal) {
      const logs = Array.from({ length: prompts.length * n }, () => new TokenLog(0));
      const held = logs.map(() => new HeldBack(stop));
      const chunk = (index: number, text: string, finish_reason: string | null = null) => {
        const shown = logprobs === undefined ? null : shownLogprobs(logs[index]!.until(held[index]!.sent, finish_reason !== null));
        send(JSON.stringify({ ...head, choices: [{ text, index, logprobs: shown, finish_reason }], ...(usage && { usage: null }) }));
      };
      if (echo) for (const index of held.keys()) chunk(index, beginOf(completion, index, {}));
      const onPiece = (index: number, piece: string, token?: TokenDetails) => {
        if (token) logs[index]!.add([token]);
        const text = held[index]!.push(piece);
        if (text !== '') chunk(index, text);
      };
      const texts = await model.generate(writing, { signal, ticket, onPiece });
      for (const [index, { finish }] of texts.entries()) chunk(index, held[index]!.end(), reasonOf(finish));
      if (usage) send(JSON.stringify({ ...head, choices: [], usage: usageOf(texts, n) }));
      send('[DONE]');
    },
    fail: (send, message) => send(JSON.stringify(openai.errors!.body(message.startsWith('internal') ? 500 : 400, message))),
  });
}

/** The tokens of a text with their places in it. */
class TokenLog {
  #tokens: (TokenDetails & { offset: number })[] = [];
  #length: number;

  constructor(begin: number) {
    this.#length = begin;
  }

  add(tokens: readonly TokenDetails[]): (TokenDetails & { offset: number })[] {
    for (const token of tokens) {
      this.#tokens.push({ ...token, offset: this.#length });
      if (!token.special) this.#length += token.text.length;
    }
    return this.#tokens;
  }

  /** Takes the tokens that begin before this place of the text: `ended` says that no text follows, so that the others are not in it. */
  until(place: number, ended: boolean): (TokenDetails & { offset: number })[] {
    const taken = this.#tokens.filter(({ offset }) => offset < place);
    this.#tokens = ended ? [] : this.#tokens.slice(taken.length);
    return taken;
  }
}

/** Each token also counts among the likely ones. */
const shownLogprobs = (tokens: readonly (TokenDetails & { offset: number })[]) => ({
  tokens: tokens.map(({ text }) => text),
  token_logprobs: tokens.map(({ logprob }) => logprob),
  top_logprobs: tokens.map(({ text, logprob, top }) => ({
    [text]: logprob,
    ...Object.fromEntries(top.map((other) => [other.text, other.logprob])),
  })),
  text_offset: tokens.map(({ offset }) => offset),
});

const reasonOf = (finish: WrittenText['finish']): string => (finish === 'eos_token' || finish === 'stop_string' ? 'stop' : 'length');

/** The tokens of a prompt count once, however many texts continue it. */
function usageOf(texts: WrittenText[], each: number) {
  const prompt_tokens = texts.filter((_, i) => i % each === 0).reduce((sum, { promptTokens }) => sum + promptTokens, 0);
  const completion_tokens = texts.reduce((sum, { tokens }) => sum + tokens.length, 0);
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

/** The text before the first stop string: OpenAI leaves it out, transformers does not. */
function untilStop(text: string, stop: readonly string[]): string {
  const places = stop.map((one) => text.indexOf(one)).filter((place) => place >= 0);
  return places.length === 0 ? text : text.slice(0, Math.min(...places));
}

/** Holds back the end of a streamed text, which may be the beginning of a stop string. */
class HeldBack {
  #text = '';
  /** Characters that were sent. */
  sent = 0;

  constructor(private readonly stop: readonly string[]) {}

  push(piece: string): string {
    this.#text += piece;
    return this.#upTo(this.#text.length - Math.max(0, ...this.stop.map((one) => one.length - 1)));
  }

  end(): string {
    return this.#upTo(this.#text.length);
  }

  #upTo(place: number): string {
    const whole = untilStop(this.#text, this.stop);
    const text = whole.slice(this.sent, Math.max(this.sent, Math.min(place, whole.length)));
    this.sent += text.length;
    return text;
  }
}

/* The fields of a request. */

/** Fields without an effect here, each with the values that ask for nothing. */
const WITHOUT_EFFECT: Record<string, (value: any) => boolean> = {
  suffix: (value) => value === '',
  frequency_penalty: (value) => value === 0,
  presence_penalty: (value) => value === 0,
  logit_bias: (value) => kindOf(value) === 'an object' && Object.keys(value).length === 0,
  user: (value) => typeof value === 'string',
};

function completionOf(model: ServedModel, body: Buffer): Completion {
  const value = jsonOf(body);
  if (kindOf(value) !== 'an object')
    throw new RequestRefusal(400, `the body must be an object such as {"prompt": "…"}, not ${kindOf(value)}`);
  const given = Object.fromEntries(Object.entries(value as object).filter(([, each]) => each !== null));
  const { model: name, prompt, max_tokens = 16, temperature = 1, top_p = 1, n = 1, stop = [], seed, ...more } = given;
  const { stream = false, stream_options = {}, return_full_text = false, echo = return_full_text, logprobs, best_of = n, ...others } = more;
  checkModel(model, name);
  for (const [field, empty] of Object.entries(WITHOUT_EFFECT)) {
    if (others[field] === undefined) continue;
    if (!empty(others[field])) throw new RequestRefusal(400, `"${field}" is not supported by this server; leave it out`);
    delete others[field];
  }
  if (kindOf(stream_options) !== 'an object')
    throw new RequestRefusal(400, `"stream_options" must be an object, not ${kindOf(stream_options)}`);
  const { include_usage: usage = false, ...odd } = stream_options as Record<string, unknown>;
  for (const field of Object.keys(odd)) throw new RequestRefusal(400, `"stream_options.${field}" is not supported; leave it out`);
  for (const [field, each] of Object.entries({ stream, echo, 'stream_options.include_usage': usage }))
    if (typeof each !== 'boolean') throw new RequestRefusal(400, `"${field}" must be true or false, not ${kindOf(each)}`);
  if (typeof temperature !== 'number' || temperature < 0 || temperature > 2)
    throw new RequestRefusal(400, `"temperature" is ${JSON.stringify(temperature)}, but must be a number from 0 to 2`);
  const stops = typeof stop === 'string' ? [stop] : stop;
  if (!Array.isArray(stops) || stops.length > 4 || stops.some((one) => typeof one !== 'string' || one === ''))
    throw new RequestRefusal(400, '"stop" must be a string that is not empty, or a list of at most 4 of them');
  for (const [field, count] of Object.entries({ n, best_of }))
    if (temperature === 0 && count !== 1)
      throw new RequestRefusal(
        400,
        `"${field}" is ${JSON.stringify(count)}, but must be 1 with "temperature" 0, where all texts would be the same`,
      );
  const refuse = (field: string, what: string) =>
    new RequestRefusal(400, `"${field}" is ${JSON.stringify(given[field])}, but must be ${what}`);
  if (!Number.isSafeInteger(n) || (n as number) < 1) throw refuse('n', 'a whole number of at least 1');
  if (!Number.isSafeInteger(best_of) || (best_of as number) < (n as number)) throw refuse('best_of', 'a whole number of at least "n"');
  if (stream && best_of !== n) throw refuse('best_of', 'the same as "n" with "stream"');
  if (logprobs !== undefined && !(Number.isInteger(logprobs) && (logprobs as number) >= 0 && (logprobs as number) <= mostLikely))
    throw refuse('logprobs', `a whole number from 0 to ${mostLikely}`);
  if (logprobs !== undefined && echo)
    throw refuse('logprobs', 'left out with "echo": the tokens of prompts have no log probabilities here');
  if ((logprobs !== undefined || best_of !== n) && others.num_beams !== undefined && others.num_beams !== 1)
    throw refuse('num_beams', '1 with "logprobs" or "best_of"');
  refuseOtherNames(others, { max_tokens: given.max_tokens });
  if (Object.keys(stream_options as object).length > 0 && !stream) throw new RequestRefusal(400, '"stream_options" needs "stream": true');
  if (others.do_sample === true && temperature === 0) throw refuse('do_sample', 'false with "temperature" 0');
  const options = {
    ...others,
    max_new_tokens: others.max_new_tokens ?? max_tokens,
    num_return_sequences: best_of,
    ...(temperature === 0
      ? { do_sample: false }
      : { do_sample: true, temperature, top_p, top_k: others.top_k ?? 0, seed: seed ?? randomInt(2 ** 32) }),
    ...(stops.length > 0 && { stop_strings: stops }),
    ...(others.do_sample === false && { do_sample: false }),
  };
  checkFields(options);
  const prompts = promptsOf(prompt);
  if (stream && echo && prompts.some((one) => typeof one !== 'string'))
    throw new RequestRefusal(400, '"echo" must be false with "stream" and a prompt of tokens');
  return {
    prompts,
    n: n as number,
    logprobs: logprobs as number | undefined,
    stop: stops,
    echo,
    stream,
    usage: usage as boolean,
    options: options as GenerationOptions,
  };
}

/** Likely tokens at most, as in OpenAI's API. */
const mostLikely = 5;

const OPENAI_NAMES: Record<string, string> = { max_new_tokens: 'max_tokens', num_return_sequences: 'n', stop_strings: 'stop' };

/** Options of generation that have another name in this protocol: one of them would win silently. */
function refuseOtherNames(others: Record<string, unknown>, { max_tokens }: { max_tokens: unknown }): void {
  const name = (field: string, instead: string) => new RequestRefusal(400, `"${field}" is not supported here; write "${instead}"`);
  if (others.max_new_tokens !== undefined && max_tokens !== undefined && max_tokens !== others.max_new_tokens)
    throw name('max_new_tokens', 'max_tokens');
  for (const [option, field] of Object.entries({ max_length: 'max_tokens', num_return_sequences: 'n', stop_strings: 'stop' }))
    if (others[option] !== undefined) throw name(option, field);
}

/** The generation options of tunesmith are accepted too, as other servers accept their own. */
function checkFields(options: Record<string, unknown>): void {
  const unknown = Object.keys(options).find((field) => !Object.hasOwn(generationOptions, field));
  if (unknown !== undefined) throw new RequestRefusal(400, `unknown field "${unknown}"`);
  checkOptions(options, (field) => `"${OPENAI_NAMES[field] ?? field}"`);
}

/** One prompt or a list of prompts; a prompt is a string or a list of tokens. */
function promptsOf(prompt: unknown): (string | number[])[] {
  if (prompt === undefined) throw new RequestRefusal(400, 'the field "prompt" is missing; it is a string or a list of strings');
  const isTokens = (value: unknown) => Array.isArray(value) && value.length > 0 && value.every((each) => Number.isSafeInteger(each));
  const prompts = Array.isArray(prompt) && !isTokens(prompt) ? prompt : [prompt];
  if (prompts.length === 0) throw new RequestRefusal(400, '"prompt" is an empty list');
  const odd = prompts.findIndex((each) => typeof each !== 'string' && !isTokens(each));
  if (odd >= 0)
    throw new RequestRefusal(
      400,
      `"prompt" must be a string, a list of token ids, or a list of these, but ${Array.isArray(prompt) ? `item ${odd + 1}` : 'it'} is ${kindOf(prompts[odd])}`,
    );
  return prompts;
}
