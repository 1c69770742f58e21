/** The thread that generates, with all cores. It handles one request after the other. */

import { memoryLimit, StepError } from '../../engine/contract/step.ts';
import { openRuntime } from '../ml/device/open.ts';
import { openGenerator } from '../ml/generation/generator.ts';
import type { GenerationOptions } from '../ml/generation/options.ts';
import { answerCalls } from './workers.ts';

export interface GenerationRequest {
  prompts: string[];
  options: GenerationOptions;
  /** The maximum number of new tokens, whatever the options and the model's own settings are. */
  limit: number;
  /** Calls back with pieces of the texts as they are generated. */
  stream: boolean;
}

/** The memory limit of one request, besides the weights. */
const mostBytes = Math.min(512 * 2 ** 20, Math.floor(memoryLimit() / 4));

export async function work(): Promise<void> {
  await answerCalls(async ({ folder }: { folder: string }) => {
    const generator = await openGenerator(folder, await openRuntime('onnx'), { packed: true });
    // Reports a model that cannot generate before the first request.
    await generator.encode('a', { max_new_tokens: 1 });
    let busy: Promise<unknown> = Promise.resolve();

    async function encode({ prompts, options, limit }: GenerationRequest): Promise<number[][]> {
      const encoded = await Promise.all(prompts.map((prompt) => generator.encode(prompt, options)));
      const bytes = generator.memory(encoded, options, limit);
      if (bytes > mostBytes)
        throw new StepError(
          `the texts would take up to ${Math.ceil(bytes / 2 ** 20)} MB of memory, but at most ${mostBytes / 2 ** 20} MB are allowed: request fewer or shorter texts`,
        );
      return encoded;
    }

    return {
      async answer(request: GenerationRequest, { signal, onPiece }) {
        const { options, stream, limit } = request;
        // Checked immediately, so that an invalid request does not wait for other texts.
        const encoded = encode(request);
        const texts = Promise.allSettled([busy, encoded]).then(async () => {
          const prompts = await encoded;
          signal.throwIfAborted();
          // Prompts and options were checked before, so a failure of the model is not the client's fault.
          return generator.generate(prompts, options, { signal, limit, ...(stream && { onText: onPiece }) }).catch((error: Error) => {
            throw new Error(error.message);
          });
        });
        busy = texts.catch(() => {});
        await encoded;
        return texts;
      },
      async end() {
        await busy;
        await generator.close();
      },
    };
  });
}
