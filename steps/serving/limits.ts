/** What the server takes of one request and of all together, and how it refuses what is more. */

export interface Limits {
  /** Bytes of a request's body. */
  body: number;
  /** Inputs of one request. */
  inputs: number;
  /** Characters of one input, all its texts together, in UTF-16 code units; also of a prompt. */
  characters: number;
  /** Bytes of all requests that are read, wait or are answered. */
  waiting: number;
  /** Texts that one request generates, beams included. */
  texts: number;
  /** Tokens that are generated of one text. */
  newTokens: number;
  /** Seconds that one generation takes. */
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

/** A request that is not answered, and why. */
export class Refused extends Error {
  constructor(
    readonly status: 400 | 413 | 415 | 503,
    message: string,
  ) {
    super(message);
  }
}

/** @throws Refused where one of the inputs is longer than the limit */
export function checkCharacters(counts: readonly number[], { characters }: Limits, nameOf: (place: number) => string): void {
  const long = counts.findIndex((count) => count > characters);
  if (long >= 0)
    throw new Refused(
      413,
      `${nameOf(long)} has ${counts[long]} characters; at most ${characters} (the option --max-characters of the server)`,
    );
}
