/** POST /generate: prompts to texts, whole or streamed (server-sent events). */
import type { Context } from 'hono';
import { StepError } from '../../engine/step.ts';
import { checkOptions, type GenerationOptions } from '../generation/options.ts';
import type { Route, Serving } from './app.ts';
import { jsonOf, kindOf } from './body.ts';
import type { Bundle } from './bundle.ts';
import { checkCharacters, type Limits, Refused } from './limits.ts';
import { startWriter, type Writer, type Writing } from './writer.ts';

export async function generateRoute({ folder }: Bundle, { limits, report }: Serving): Promise<Route> {
  const writer = await startWriter(folder);
  return {
    path: '/generate',
    async answer(body, c, ticket) {
      const writing = writingOf(body, limits);
      ticket.take(bytesOfRequest);
      if (writing.stream) return streamed(writing, writer, c, report);
      return c.json({ texts: await writer.write(writing, c.req.raw.signal, () => {}) });
    },
    get waiting() {
      return writer.length;
    },
    close: () => writer.close(),
  };
}

/** Fields of a request besides its prompts. */
const bytesOfRequest = 1 << 14;

/**
 * Sends events `piece` as texts are generated, then `end` with all texts, or `error`. The work stops when the client
 * stops reading.
 */
function streamed(writing: Writing, writer: Writer, c: Context, report: Serving['report']): Response {
  const gone = new AbortController();
  const hangUp = () => gone.abort(new Error('the client has disconnected'));
  c.req.raw.signal.addEventListener('abort', hangUp, { once: true });
  const stream = new ReadableStream<Uint8Array>({
    async start(controller) {
      const send = (event: string, data: object) => {
        if (!gone.signal.aborted) controller.enqueue(Buffer.from(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`));
      };
      try {
        const texts = await writer.write(writing, gone.signal, (text, piece) => send('piece', { text, piece }));
        send('end', { texts });
      } catch (error) {
        const mistake = error instanceof StepError;
        if (!mistake && !gone.signal.aborted) report(error as Error);
        send('error', { error: { message: mistake ? error.message : 'internal error; see the log of the server' } });
      }
      if (!gone.signal.aborted) controller.close();
    },
    cancel: hangUp,
  });
  return c.body(stream, 200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' });
}

/** Validates a body against the limits. */
function writingOf(body: Buffer, limits: Limits): Writing {
  const value = jsonOf(body);
  if (kindOf(value) !== 'an object') throw new Refused(400, `the body must be an object such as {"prompt": "…"}, not ${kindOf(value)}`);
  const { prompt, stream = false, ...options } = value as Record<string, unknown>;
  if (prompt === undefined) throw new Refused(400, 'the field "prompt" is missing; it is a string or a list of strings');
  const prompts = Array.isArray(prompt) ? prompt : [prompt];
  const odd = prompts.findIndex((each) => typeof each !== 'string');
  if (odd >= 0)
    throw new Refused(
      400,
      Array.isArray(prompt)
        ? `"prompt[${odd}]" must be a string, not ${kindOf(prompts[odd])}`
        : `"prompt" must be a string or a list of strings, not ${kindOf(prompt)}`,
    );
  checkCharacters(
    prompts.map((each) => each.length),
    limits,
    (i) => (Array.isArray(prompt) ? `"prompt[${i}]"` : '"prompt"'),
  );
  if (typeof stream !== 'boolean') throw new Refused(400, `"stream" must be true or false, not ${kindOf(stream)}`);
  checkOptions(options, (name) => `"${name}"`);
  return { prompts, stream, options: limited(options, prompts.length, limits), limit: limits.newTokens };
}

function limited(options: GenerationOptions, prompts: number, { texts, newTokens, seconds }: Limits): GenerationOptions {
  const { max_new_tokens, max_time = seconds, num_beams = 1, num_return_sequences = 1 } = options;
  if (max_new_tokens !== undefined && max_new_tokens > newTokens)
    throw new Refused(400, `"max_new_tokens" is ${max_new_tokens}, but must be at most ${newTokens} on this server`);
  const rows = prompts * Math.max(num_beams, num_return_sequences);
  if (rows > texts) throw new Refused(413, `prompts times beams or texts makes ${rows} texts at once, but at most ${texts} are allowed`);
  return { ...options, max_time: Math.min(max_time, seconds) };
}
