/**
 * Hugging Face's inference payload for models that write: the answers of transformers' pipelines, and the details and the stream of
 * text-generation-inference.
 */

import type { TokenDetails } from '../ml/generation/generator.ts';
import { checkOptions, type GenerationOptions, generationOptions } from '../ml/generation/options.ts';
import { eventStream } from './event-stream.ts';
import { generationWithin } from './generation-limits.ts';
import type { GenerationRequest } from './generation-thread.ts';
import { kindOf, RequestRefusal } from './limits.ts';
import type { ProtocolRequest } from './protocol.ts';
import type { ServedModel, WrittenText } from './served-model.ts';

export interface HuggingFacePayload {
  inputs: unknown;
  parameters: Record<string, unknown>;
  stream: boolean;
}

/** @param field the field of a text in the answer */
export async function writeTexts(
  model: ServedModel,
  payload: HuggingFacePayload,
  request: ProtocolRequest,
  field: string,
): Promise<Response> {
  const { inputs, stream } = payload;
  const list = Array.isArray(inputs);
  const prompts = list ? inputs : [inputs];
  const odd = prompts.findIndex((prompt) => typeof prompt !== 'string');
  if (odd >= 0) throw new RequestRefusal(400, `${list ? `"inputs[${odd}]"` : '"inputs"'} must be a string, not ${kindOf(prompts[odd])}`);
  if (stream && list) throw new RequestRefusal(400, '"inputs" must be one string if "stream" is true');
  if (prompts.length === 0) return request.c.json([]);
  const { fullText, details, options } = wishesOf(model, payload);
  const predictions = details === undefined ? {} : { predictions: details };
  const writing = generationWithin(
    { prompts, stream, options, ...predictions },
    model.limits,
    (i) => (list ? `"inputs[${i}]"` : '"inputs"'),
    (option) => `"parameters.${option}"`,
  );
  const begin = (p: number): string => (fullText ? prompts[p] : '');
  if (stream) return streamed(model, writing, request, begin(0));
  const { c, ticket } = request;
  const texts = await model.generate(writing, { signal: c.req.raw.signal, ticket });
  const each = texts.length / prompts.length;
  const answers = prompts.map((_, p) =>
    texts.slice(p * each, (p + 1) * each).map((text) => ({
      [field]: `${begin(p)}${text.text}`,
      ...(text.details && { details: { ...ending(text, options), prefill: [], ...tokensOf(text.details, details!) } }),
    })),
  );
  if (!list) return c.json(answers[0]!);
  return c.json(model.bundle.task === 'causal-lm' ? answers : answers.flat());
}

/* The parameters. */

/** Parameters of text-generation-inference that this server does not have, each with the values that ask for nothing. */
const WITHOUT_EFFECT: Record<string, readonly unknown[]> = {
  best_of: [1],
  decoder_input_details: [false],
  frequency_penalty: [0],
  typical_p: [1],
  watermark: [false],
};

export const GENERATION_PARAMETERS = ['return_full_text', 'stop', 'details', 'top_n_tokens', ...Object.keys(generationOptions)];

const mostTokens = 20;

interface Wishes {
  fullText: boolean;
  /** The number of likely tokens in the details of each token; undefined: no details. */
  details: number | undefined;
  options: GenerationOptions;
}

function wishesOf({ bundle: { task } }: ServedModel, { parameters, stream }: HuggingFacePayload): Wishes {
  const { stop, stop_sequences = stop, details = false, top_n_tokens = 0, ...more } = parameters;
  const { return_full_text: fullText = task === 'causal-lm' && !stream && !details, ...others } = more;
  const must = (name: string, what: string) =>
    new RequestRefusal(400, `"parameters.${name}" is ${JSON.stringify(parameters[name])}, but must be ${what}`);
  if (typeof fullText !== 'boolean') throw must('return_full_text', 'true or false');
  if (typeof details !== 'boolean') throw must('details', 'true or false');
  if (!Number.isInteger(top_n_tokens) || (top_n_tokens as number) < 0 || (top_n_tokens as number) > mostTokens)
    throw must('top_n_tokens', `a whole number from 0 to ${mostTokens}`);
  if (top_n_tokens !== 0 && !details && !stream) throw must('top_n_tokens', '0 unless "parameters.details" or "stream" is true');
  if (fullText && task === 'seq2seq')
    throw must('return_full_text', 'false: this model writes another text, and does not continue the prompt');
  for (const [name, harmless] of Object.entries(WITHOUT_EFFECT)) {
    if (others[name] === undefined) continue;
    if (!harmless.includes(others[name]))
      throw new RequestRefusal(400, `"parameters.${name}" is not supported by this server; leave it out`);
    delete others[name];
  }
  const options: Record<string, unknown> = { ...others, ...(stop_sequences !== undefined && { stop_strings: stop_sequences }) };
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(generationOptions, name));
  if (unknown !== undefined)
    throw new RequestRefusal(400, `"parameters.${unknown}" is not supported; the parameters are ${GENERATION_PARAMETERS.join(', ')}`);
  checkOptions(options, (name) => `"parameters.${name === 'stop_strings' ? 'stop' : name}"`);
  if (details || stream) {
    if (((options.num_beams as number) ?? 1) > 1) throw must('num_beams', '1 with "details" or "stream"');
    if (stream && ((options.num_return_sequences as number) ?? 1) > 1) throw must('num_return_sequences', '1 with "stream"');
  }
  // Whatever the model's own settings are.
  if (stream) options.num_return_sequences = 1;
  return { fullText, details: details || stream ? (top_n_tokens as number) : undefined, options: options as GenerationOptions };
}

/* The details and the stream, as of text-generation-inference. */

const FINISH_REASONS = { eos_token: 'eos_token', stop_string: 'stop_sequence', length: 'length', time: 'length' } as const;

const ending = ({ finish, tokens }: WrittenText, { do_sample, seed = 0 }: GenerationOptions) => ({
  finish_reason: FINISH_REASONS[finish],
  generated_tokens: tokens.length,
  seed: do_sample ? seed : null,
});

const tokenOf = ({ id, text, logprob, special }: TokenDetails) => ({ id, text, logprob, special });
const likely = ({ top }: TokenDetails) => top.map(({ id, text, logprob, special }) => ({ id, text, logprob, special }));

const tokensOf = (details: readonly TokenDetails[], count: number) => ({
  tokens: details.map(tokenOf),
  ...(count > 0 && { top_tokens: details.map(likely) }),
});

/** An event for each token; the last one has the whole text. */
function streamed(model: ServedModel, writing: GenerationRequest, { c, ticket }: ProtocolRequest, begin: string): Response {
  return eventStream(c, model, {
    async work(send, signal) {
      let index = 0;
      // A token is sent when the next one comes, because the last has the whole text.
      let held: TokenDetails | undefined;
      const give = (token: TokenDetails, end: { generated_text: string | null; details: object | null }) =>
        send(
          JSON.stringify({ index: ++index, token: tokenOf(token), ...(writing.predictions! > 0 && { top_tokens: likely(token) }), ...end }),
        );
      const onPiece = (_: number, piece: string, token?: TokenDetails) => {
        if (!token) held!.text += piece;
        else {
          if (held) give(held, { generated_text: null, details: null });
          held = token;
        }
      };
      const [text] = await model.generate(writing, { signal, ticket, onPiece });
      if (held)
        give(held, {
          generated_text: `${begin}${text!.text}`,
          details: { ...ending(text!, writing.options), input_length: text!.promptTokens },
        });
    },
    fail: (send, message) => send(JSON.stringify({ error: message, error_type: 'generation' })),
  });
}
