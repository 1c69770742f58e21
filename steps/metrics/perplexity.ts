/** Perplexity of a language model: the exponential of the mean loss of a token, in nats, over all tokens that were predicted. */

export interface Perplexity {
  /** The loss of `tokens` tokens together. */
  add(loss: number, tokens: number): void;
  /** The mean loss of a token. */
  loss(): number;
  value(): number;
}

/** Weighed by token: a short block counts for less than a full one. */
export function perplexity(): Perplexity {
  let [sum, count] = [0, 0];
  return {
    add(loss, tokens) {
      sum += loss;
      count += tokens;
    },
    loss: () => sum / count,
    value: () => Math.exp(sum / count),
  };
}
