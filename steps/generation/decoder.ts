/** A language model as a search sees it: rows of token sequences that grow by one token per step. */
export interface Decoder {
  /** The size of the vocabulary. */
  readonly vocabulary: number;
  /** The maximum number of tokens of a sequence. */
  readonly context: number;
  /** Begins one row for each prompt. */
  start(prompts: readonly (readonly number[])[]): Promise<Rows>;
}

export interface Rows {
  /**
   * What each row's sequence begins with: the prompt or, if an encoder reads the prompt, the decoder's start token.
   */
  readonly begun: readonly (readonly number[])[];
  /** Logits of each row's next token, [rows, vocabulary]; valid until the rows advance. */
  logits: Float32Array;
  /**
   * Row i becomes what row `parents[i]` was, followed by `tokens[i]`. A row without children ends; a row may have
   * several.
   */
  advance(parents: readonly number[], tokens: readonly number[]): Promise<void>;
}
