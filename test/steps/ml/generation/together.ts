/** Requests for generated texts, alone and at the same time. */
import { expect } from 'vitest';
import { type Generator, generatorOf } from '../../../../steps/ml/generation/generator.ts';
import type { GenerationOptions } from '../../../../steps/ml/generation/options.ts';
import type { Model } from '../../../../steps/ml/models/model-folder.ts';
import { random } from '../../../../steps/ml/models/random.ts';
import type { Runtime } from '../../../../steps/ml/runtime/runtime.ts';

/** Requests that join at random times, and leave, have the tokens that they have alone. Returns what ended the texts. */
export async function sameTogether(model: Model, folder: string, runtime: Runtime, count: number): Promise<Set<string>> {
  const generator = await generatorOf(model, { own: folder, tokenizer: folder }, runtime, { packed: true });
  const all = requests(count);
  const alone = [];
  for (const request of all) alone.push(await answer(generator, request));
  const uniform = random('joining');
  const together = await Promise.all(
    all.map(async (request) => {
      await new Promise((resolve) => setTimeout(resolve, 200 * uniform()));
      return answer(generator, request);
    }),
  );
  expect(together).toEqual(alone);
  await generator.close();
  return new Set(alone.flat().map(({ finish }) => finish));
}

/** Random prompts of many lengths, and options of all kinds. */
function requests(count: number): { prompts: string[]; options: GenerationOptions }[] {
  const uniform = random('requests');
  const below = (limit: number) => Math.floor(uniform() * limit);
  const text = (length: number) => Array.from({ length }, () => 'abcdefghij one two'[below(18)]).join('');
  return Array.from({ length: count }, (_, i) => ({
    prompts: Array.from({ length: i % 5 === 0 ? 3 : 1 }, () => `a${text(i % 7 === 3 ? 150 + below(150) : below(40))}`),
    options: {
      max_new_tokens: 3 + below(40),
      ...[
        {},
        { do_sample: true, seed: i, temperature: 0.9, top_k: 20 },
        { do_sample: true, seed: i, num_return_sequences: 3, top_p: 0.9 },
        { stop_strings: ['a', 'on'] },
        { num_beams: 3 },
        { repetition_penalty: 1.3 },
      ][i % 6],
    },
  }));
}

async function answer(generator: Generator, { prompts, options }: { prompts: string[]; options: GenerationOptions }) {
  const pieces: string[][] = [];
  const texts = await generator.generate(await Promise.all(prompts.map((prompt) => generator.encode(prompt, options))), options, {
    onText(place, piece) {
      pieces[place] ??= [];
      pieces[place].push(piece);
    },
  });
  expect(texts.map((_, place) => pieces[place]?.join('') ?? '')).toEqual(texts.map(({ text }) => text));
  return texts;
}
