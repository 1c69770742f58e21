/** Perplexity of a language model: the exponential of the mean loss per token, in nats, over all predicted tokens. */

export interface Perplexity {
  /** The summed loss of `tokens` tokens. */
  add(loss: number, tokens: number): void;
  /** The mean loss per token. */
  loss(): number;
  value(): number;
}

/** Weighted by tokens: a short block counts less than a full one. */
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
