/** The limits of one request and of all together, and the error for exceeding them. */

export interface Limits {
  /** Bytes of a request's body. */
  body: number;
  /** Inputs per request. */
  inputs: number;
  /** Characters of one input, all its texts together, in UTF-16 code units; also of a prompt. */
  characters: number;
  /** Bytes of all requests that are being read, waiting or answered. */
  waiting: number;
  /** Texts that one request generates, including beams. */
  texts: number;
  /** Generated tokens per text. */
  newTokens: number;
  /** Seconds per generation. */
  seconds: number;
}

export const defaultLimits: Limits = {
  body: 10 * 2 ** 20,
  inputs: 1000,
  characters: 100_000,
  waiting: 64 * 2 ** 20,
  texts: 64,
  newTokens: 1024,
  seconds: 60,
};

/** An error that rejects a request, with the reason. */
export class Refused extends Error {
  constructor(
    readonly status: 400 | 413 | 415 | 503,
    message: string,
  ) {
    super(message);
  }
}

/** @throws Refused if one of the inputs exceeds the limit */
export function checkCharacters(counts: readonly number[], { characters }: Limits, nameOf: (place: number) => string): void {
  const long = counts.findIndex((count) => count > characters);
  if (long >= 0)
    throw new Refused(
      413,
      `${nameOf(long)} has ${counts[long]} characters, but at most ${characters} are allowed (see the server option --max-characters)`,
    );
}
