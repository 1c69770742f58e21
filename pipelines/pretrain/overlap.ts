/**
 * Finds texts that share words with examples: 13 words in a row (Brown et al. 2020, https://arxiv.org/abs/2005.14165, appendix C),
 * or a whole text or sentence. Case, punctuation and white space do not count.
 */
import { createHash } from 'node:crypto';

export type Overlap = 'text' | '13 words' | 'sentence';

export class Examples {
  private readonly texts = new Set<string>();
  private readonly runs = new Set<number>();
  size = 0;

  add(text: string): void {
    const words = wordsOf(text);
    if (words.length === 0) return;
    this.size += 1;
    this.texts.add(hashOf(words));
    for (const run of runsOf(words)) this.runs.add(run);
  }

  /** How a text overlaps with an example; undefined if it does not. */
  overlap({ text, runs, sentences }: Prints): Overlap | undefined {
    if (this.texts.has(text)) return 'text';
    if (runs.some((run) => this.runs.has(run))) return '13 words';
    return sentences.some((sentence) => this.texts.has(sentence)) ? 'sentence' : undefined;
  }
}

/** What is compared of a text: hashes of it, of its runs of words, and of its short sentences. */
export interface Prints {
  text: string;
  runs: number[];
  sentences: string[];
}

export function printsOf(text: string): Prints {
  const words = wordsOf(text);
  const sentences = (text.match(/[^.!?]+/g) ?? []).map(wordsOf).filter(({ length }) => length >= SHORTEST && length < RUN);
  return { text: hashOf(words), runs: [...runsOf(words)], sentences: sentences.map(hashOf) };
}

const RUN = 13;

/** Shorter sentences, such as "Thank you.", occur everywhere. */
const SHORTEST = 5;

function wordsOf(text: string): string[] {
  return (
    text
      .normalize('NFKC')
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  );
}

const hashOf = (words: string[]): string => createHash('sha256').update(words.join(' ')).digest('base64');

/** A number of 52 bits for every run of words. Two runs with the same number are so rare that they may count as an overlap. */
function* runsOf(words: string[]): Generator<number> {
  const numbers = words.map(numberOf);
  for (let i = 0; i + RUN <= words.length; i++) {
    let [high, low] = [0, 0];
    for (let k = i; k < i + RUN; k++) {
      const number = numbers[k]!;
      high = Math.imul(high ^ number, 0x01000193) >>> 0;
      low = Math.imul(low + number, 0x85ebca6b) >>> 0;
      low ^= low >>> 13;
    }
    yield (high >>> 6) * 2 ** 26 + ((low >>> 0) & 0x3ffffff);
  }
}

/** FNV-1a. */
function numberOf(word: string): number {
  let number = 0x811c9dc5;
  for (let i = 0; i < word.length; i++) number = Math.imul(number ^ word.charCodeAt(i), 0x01000193);
  return number >>> 0;
}
