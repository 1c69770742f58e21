/**
 * Decodes tokens to text as they come. Emitted text is never taken back: a character of several tokens waits until it
 * is complete, so that all pieces together equal the decoding of all tokens at once.
 */
import type { Tokenizer } from './tokenizer.ts';

export interface TextStream {
  /** The text that has become final; often empty. */
  push(ids: readonly number[]): Promise<string>;
  /** The text that was waiting for more tokens; nothing may be pushed afterwards. */
  end(): Promise<string>;
}

export function textStream(tokenizer: Pick<Tokenizer, 'decode' | 'idOf' | 'specialIds'>): TextStream {
  const special = new Set(tokenizer.specialIds);
  const bytes = byteTokens(tokenizer);
  /** Tokens that may still affect later text: some whose text was emitted, and those that wait. */
  let window: number[] = [];
  /** The part of the window's text that was emitted. */
  let given = '';

  const giveOut = (text: string): string => {
    // If a decoder changes earlier text, wait: nothing is taken back.
    if (!text.startsWith(given)) return '';
    const fresh = text.slice(given.length);
    given = text;
    return fresh;
  };

  return {
    async push(ids) {
      window.push(...ids.filter((id) => !special.has(id)));
      // A run of byte tokens is decoded as a whole, and one invalid byte changes all of it, so it is final only at
      // its end.
      let certain = window.length;
      while (certain > 0 && bytes.has(window[certain - 1]!)) certain--;
      const text = await tokenizer.decode(window.slice(0, certain));
      // At the end it mostly stands for the first bytes of a character.
      const whole = text.endsWith(REPLACEMENT) ? text.slice(0, -1) : text;
      const fresh = giveOut(whole);
      if (window.length > LONGEST && certain === window.length && whole === text && given === text) {
        window = window.slice(-CONTEXT);
        given = await tokenizer.decode(window);
      }
      return fresh;
    },
    async end() {
      return giveOut(await tokenizer.decode(window));
    },
  };
}

const REPLACEMENT = '\ufffd';

/**
 * A window that became this long is cut to its last tokens, which show the decoder that later text is not the
 * beginning.
 */
const LONGEST = 64;
const CONTEXT = 16;

/** SentencePiece's tokens for single bytes, <0x00> to <0xFF>: none in most vocabularies. */
function byteTokens({ idOf }: Pick<Tokenizer, 'idOf'>): Set<number> {
  const ids = Array.from({ length: 256 }, (_, byte) => idOf(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`));
  return new Set(ids.filter((id) => id !== undefined));
}
