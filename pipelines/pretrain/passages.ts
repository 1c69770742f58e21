/** Packs the sentences of documents into passages of at most a number of tokens, without sentences that occur before. */
import { createHash } from 'node:crypto';

export interface Passage {
  id: string;
  text: string;
  source: string;
  document: string;
}

export class Passages {
  private readonly seen = new Set<string>();
  private readonly sentences = new Intl.Segmenter('en', { granularity: 'sentence' });

  constructor(
    private readonly countTokens: (sentences: string[]) => Promise<number[]>,
    private readonly tokens: number,
  ) {}

  /** The passages of one document; a passage may span paragraphs. */
  async of(source: string, document: string, paragraphs: string[]): Promise<Passage[]> {
    const sentences = paragraphs.filter(isProse).flatMap((paragraph) => this.fresh(paragraph));
    const counts = await this.countTokens(sentences);
    const packs: string[][] = [];
    let room = 0;
    sentences.forEach((sentence, i) => {
      if (counts[i]! > this.tokens) return;
      if (counts[i]! > room) {
        packs.push([]);
        room = this.tokens;
      }
      packs.at(-1)!.push(sentence);
      room -= counts[i]!;
    });
    return packs
      .map((pack) => pack.join(' '))
      .filter((text) => text.length >= MIN_LENGTH)
      .map((text) => ({ id: createHash('sha256').update(text).digest('hex').slice(0, 16), text, source, document }));
  }

  private fresh(paragraph: string): string[] {
    return [...this.sentences.segment(paragraph)]
      .map(({ segment }) => segment.trim())
      .filter((sentence) => {
        const key = sentence
          .toLowerCase()
          .replace(/[^\p{L}\p{N}]+/gu, ' ')
          .trim();
        if (this.seen.has(key)) return false;
        this.seen.add(key);
        return key !== '';
      });
  }
}

/** In characters; shorter passages are left out. */
const MIN_LENGTH = 150;

/** English prose has sentences, it consists of letters for the most part, and a sixth of its words are these. */
function isProse(paragraph: string): boolean {
  if (!/[.!?]/.test(paragraph)) return false;
  const words = paragraph.toLowerCase().match(/\p{L}+/gu) ?? [];
  if (words.length < 6) return false;
  const letters = paragraph.replace(/[^\p{L}\s.,;:'"’“”?!()-]/gu, '').length;
  return letters / paragraph.length > 0.93 && words.filter((word) => COMMON.has(word)).length / words.length > 0.17;
}

const COMMON = new Set(
  'the of and to a in is it you that he was for on are with as i his they be at one have this from or had by but not what all were we when your can said there an which their if will do how then them would so no has more her like him see could my than been who its now did get may me she our us am about out up into also some any only should these those'.split(
    ' ',
  ),
);
