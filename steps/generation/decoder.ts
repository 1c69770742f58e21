/** A language model as a search sees it: rows of token sequences that grow by one token a step. */
export interface Decoder {
  /** Scores that a token gets: of so many tokens. */
  readonly vocabulary: number;
  /** The most tokens that a sequence may have. */
  readonly context: number;
  /** Begins one row for each prompt. */
  start(prompts: readonly (readonly number[])[]): Promise<Rows>;
}

export interface Rows {
  /** What each row's sequence begins with: the prompt, or, where an encoder reads that, the token that the decoder starts with. */
  readonly begun: readonly (readonly number[])[];
  /** Scores of each row's next token, [rows, vocabulary]; they hold until the rows advance. */
  logits: Float32Array;
  /** Row i becomes what row `parents[i]` was, with `tokens[i]` behind it. A row that is no parent ends, one may be several's. */
  advance(parents: readonly number[], tokens: readonly number[]): Promise<void>;
}
