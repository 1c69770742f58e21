/** Reads fields of a config.json with transformers' defaults, and rejects values that are not supported. */
import { StepError } from '../../engine/step.ts';

/** A config.json as it is. */
export type ConfigFile = Record<string, unknown>;

export class ConfigReader {
  readonly #file: ConfigFile;

  constructor(file: ConfigFile) {
    this.#file = file;
  }

  /** A positive integer. */
  count(field: string, fallback: number): number {
    return this.#number(field, fallback, 'a whole number greater than 0', (n) => Number.isSafeInteger(n) && n > 0);
  }

  /** The number of layers, or of groups of layers; each is built weight by weight, hence the limit. */
  layers(field: string, fallback: number): number {
    return this.#number(field, fallback, 'a whole number from 1 to 1024', (n) => Number.isSafeInteger(n) && n > 0 && n <= 1024);
  }

  /** A non-negative integer. */
  index(field: string, fallback: number): number {
    return this.#number(field, fallback, 'a whole number', (n) => Number.isSafeInteger(n) && n >= 0);
  }

  positive(field: string, fallback: number): number {
    return this.#number(field, fallback, 'a number greater than 0', (n) => Number.isFinite(n) && n > 0);
  }

  /** A rate, such as that of dropout. */
  rate(field: string, fallback: number): number {
    return this.#number(field, fallback, 'a number of at least 0 and less than 1', (n) => n >= 0 && n < 1);
  }

  flag(field: string, fallback: boolean): boolean {
    const value = this.#file[field] ?? fallback;
    if (typeof value === 'boolean') return value;
    throw new StepError(`config.json: ${field} is ${JSON.stringify(value)}, but must be true or false`);
  }

  oneOf<T extends string>(field: string, known: readonly T[], fallback: T): T {
    const value = this.#file[field] ?? fallback;
    if (known.includes(value as T)) return value as T;
    throw new StepError(`config.json: ${field} ${JSON.stringify(value)} is not supported`, `Supported: ${known.join(', ')}.`);
  }

  /** A field of which only one value is supported, which is also its default. */
  only(field: string, value: unknown): void {
    const found = this.#file[field] ?? value;
    if (found !== value)
      throw new StepError(`config.json: ${field} ${JSON.stringify(found)} is not supported`, `Supported: ${JSON.stringify(value)}.`);
  }

  /** `field` must be a multiple of `unit`. */
  multiple<C>(field: keyof C & string, unit: keyof C & string, config: C): void {
    const [whole, part] = [config[field], config[unit]] as [number, number];
    if (whole % part !== 0) throw new StepError(`config.json: ${field} ${whole} is not a multiple of ${unit} ${part}`);
  }

  /** The padding token must be in the vocabulary. */
  paddingWithin({ pad_token_id, vocab_size }: { pad_token_id: number; vocab_size: number }): void {
    if (pad_token_id >= vocab_size)
      throw new StepError(
        `config.json: pad_token_id ${pad_token_id} is not in a vocabulary of ${vocab_size} tokens (vocab_size)`,
        'Use the id that tokenizer.json has for the padding token.',
      );
  }

  #number(field: string, fallback: number, what: string, valid: (n: number) => boolean): number {
    const value = this.#file[field] ?? fallback;
    if (typeof value === 'number' && valid(value)) return value;
    throw new StepError(`config.json: ${field} is ${JSON.stringify(value)}, but must be ${what}`);
  }
}
