/** A mistake in what the user gave us, with its place; and the error that ends a command with exit code 2. */

export interface Diagnostic {
  /** As shown: relative to the working folder where it lies below it. */
  file: string;
  /** 1-based; 0 where the mistake has no place in a file (a wrong flag). */
  line: number;
  column: number;
  /** How many characters the caret underlines. */
  length: number;
  message: string;
  /** What to do: valid names, did-you-mean. */
  hint?: string;
  /** The source line, for the caret. */
  source?: string;
}

/** Invalid pipeline or usage: exit code 2. Carries every mistake found, in the order of the file. */
export class InvalidError extends Error {
  override name = 'InvalidError';
  constructor(readonly diagnostics: Diagnostic[]) {
    super(diagnostics.map((d) => d.message).join('\n'));
  }
}
