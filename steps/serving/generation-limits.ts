/** The limits of a request that generates texts, whatever protocol it comes in. */
import type { GenerationOptions } from '../ml/generation/options.ts';
import type { GenerationRequest } from './generation-thread.ts';
import { checkCharacters, type Limits, RequestRefusal } from './limits.ts';

/** @param nameOf the name of a prompt in messages. @throws RequestRefusal for a request that exceeds a limit */
export function generationWithin(
  request: Omit<GenerationRequest, 'limit'>,
  limits: Limits,
  nameOf: (place: number) => string,
  called: (option: string) => string = (option) => `"${option}"`,
): GenerationRequest {
  const lengths = request.prompts.map((prompt) => prompt.length);
  checkCharacters(lengths, limits, nameOf);
  return { ...request, options: limited(request.options, lengths.length, limits, called), limit: limits.newTokens };
}

function limited(
  options: GenerationOptions,
  prompts: number,
  { texts, newTokens, seconds }: Limits,
  called: (option: string) => string,
): GenerationOptions {
  const { max_new_tokens, max_time = seconds, num_beams = 1, num_return_sequences = 1 } = options;
  if (max_new_tokens !== undefined && max_new_tokens > newTokens)
    throw new RequestRefusal(400, `${called('max_new_tokens')} is ${max_new_tokens}, but must be at most ${newTokens} on this server`);
  const rows = prompts * Math.max(num_beams, num_return_sequences);
  if (rows > texts)
    throw new RequestRefusal(413, `prompts times beams or texts makes ${rows} texts at once, but at most ${texts} are allowed`);
  return { ...options, max_time: Math.min(max_time, seconds) };
}
