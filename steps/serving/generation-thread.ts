/** The thread that generates, with all cores. Requests that run at the same time share the runs of the model. */

import { memoryLimit, StepError } from '../../engine/contract/step.ts';
import { openRuntime } from '../ml/device/open.ts';
import { type GenerationNeed, openGenerator } from '../ml/generation/generator.ts';
import type { GenerationOptions } from '../ml/generation/options.ts';
import { Admission } from './admission.ts';
import { answerCalls } from './workers.ts';

export interface GenerationRequest {
  /** Texts, or the tokens of texts. */
  prompts: (string | number[])[];
  options: GenerationOptions;
  /** The maximum number of new tokens, whatever the options and the model's own settings are. */
  limit: number;
  /** Calls back with pieces of the texts as they are generated. */
  stream: boolean;
  /** Asks for the details of each token, with so many likely tokens. */
  predictions?: number;
}

/** The memory limit of all requests that run at the same time, and so of one, besides the weights. */
const mostBytes = Math.min(512 * 2 ** 20, Math.floor(memoryLimit() / 4));

/** Texts and beams that are generated at the same time, so that no step takes long. */
const mostRows = 64;

export async function work(): Promise<void> {
  await answerCalls(async ({ folder, running: count }: { folder: string; running: Int32Array }) => {
    const generator = await openGenerator(folder, await openRuntime('onnx'), { packed: true });
    const running = new Set<Promise<unknown>>();
    const admission = new Admission<GenerationNeed>(
      (needs) => needs.reduce((sum, { rows }) => sum + rows, 0) <= mostRows && generator.memory(needs) <= mostBytes,
    );
    // Reports a model that cannot generate before the first request, which then finds it ready.
    await generator.generate([await generator.encode('a', { max_new_tokens: 2 })], { max_new_tokens: 2 });

    async function encode({
      prompts,
      options,
      limit,
      predictions,
    }: GenerationRequest): Promise<{ encoded: number[][]; given: (string | undefined)[]; need: GenerationNeed }> {
      if (predictions !== undefined && generator.config(options).num_beams > 1)
        throw new StepError('there are no probabilities of tokens with num_beams above 1, which the settings of the model ask for');
      const given: (string | undefined)[] = [];
      const encoded = await Promise.all(
        prompts.map(async (prompt, i) => {
          if (typeof prompt === 'string') return generator.encode(prompt, options);
          given[i] = await generator.take(prompt, options);
          return prompt;
        }),
      );
      const need = generator.need(encoded, options, limit);
      const bytes = generator.memory([need]);
      if (bytes > mostBytes)
        throw new StepError(
          `the texts would take up to ${Math.ceil(bytes / 2 ** 20)} MB of memory, but at most ${mostBytes / 2 ** 20} MB are allowed: request fewer or shorter texts`,
        );
      return { encoded, given, need };
    }

    return {
      async answer(request: GenerationRequest, { signal, onPiece }) {
        const { options, stream, limit, predictions } = request;
        // Checked immediately, so that an invalid request does not wait for other texts.
        const { encoded, given, need } = await encode(request);
        const end = await admission.enter(need, signal);
        Atomics.add(count, 0, 1);
        const leave = () => {
          Atomics.sub(count, 0, 1);
          end();
        };
        // Prompts and options were checked before, so a failure of the model is not the client's fault.
        const watching = { signal, limit, predictions, ...(stream && { onText: onPiece }) };
        const texts = generator.generate(encoded, options, watching).catch((error: Error) => {
          throw new Error(error.message);
        });
        const settled = texts.catch(() => {}).finally(leave);
        running.add(settled);
        await settled;
        running.delete(settled);
        const written = await texts;
        const each = written.length / encoded.length;
        return written.map((text, i) => {
          const place = Math.floor(i / each);
          return { ...text, promptTokens: encoded[place]!.length, ...(given[place] !== undefined && { prompt: given[place] }) };
        });
      },
      async end() {
        await Promise.all(running);
        await generator.close();
      },
    };
  });
}
