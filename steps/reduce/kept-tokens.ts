/**
 * Which tokens a reduced vocabulary keeps, so that every text whose tokens are all kept is still tokenized in the same
 * way, and other texts fall back to smaller tokens.
 */

import { StepError } from '../../engine/contract/step.ts';

/** The `model` of a tokenizer.json. */
export type VocabularyModel =
  | { type: 'WordPiece'; vocab: Record<string, number>; unk_token: string; continuing_subword_prefix?: string }
  | { type: 'WordLevel'; vocab: Record<string, number>; unk_token: string }
  | {
      type: 'BPE';
      vocab: Record<string, number>;
      merges: (string | [string, string])[];
      unk_token?: string | null;
      continuing_subword_prefix?: string | null;
      end_of_word_suffix?: string | null;
    }
  | { type: 'Unigram'; vocab: [piece: string, score: number][]; unk_id?: number | null; byte_fallback?: boolean };

export interface TokenUse {
  /** Tokens that occur often enough, or are to be kept for other reasons. */
  wanted: Set<string>;
  /** All tokens that occur. */
  seen: Set<string>;
  /** Keep all single characters, whether they occur or not. */
  allCharacters: boolean;
}

/** Adds what the vocabulary needs to `wanted`. */
export function keptTokens(model: VocabularyModel, usage: TokenUse): Set<string> {
  const kept = new Set(usage.wanted);
  const keep = (token: string | null | undefined) => token != null && kept.add(token);
  switch (model.type) {
    case 'WordLevel':
      keep(model.unk_token);
      return kept;
    case 'WordPiece': {
      // The longest token at each place is chosen, so the same ones are chosen as long as they are there.
      keep(model.unk_token);
      const prefix = model.continuing_subword_prefix ?? '##';
      const bare = (token: string) => (token.startsWith(prefix) && token !== prefix ? token.slice(prefix.length) : token);
      for (const token of charactersOf(Object.keys(model.vocab), bare, usage)) kept.add(token);
      return kept;
    }
    case 'BPE':
      keep(model.unk_token);
      for (const token of Object.keys(model.vocab)) if (isByte(token) || isCharacter(token, model)) kept.add(token);
      for (const part of partsOf(kept, model)) kept.add(part);
      return kept;
    case 'Unigram': {
      const pieces = model.vocab.map(([piece]) => piece);
      if (model.unk_id != null) keep(pieces[model.unk_id]);
      if (model.byte_fallback) for (const piece of pieces.filter(isByte)) kept.add(piece);
      for (const piece of charactersOf(pieces, (piece) => piece, usage)) kept.add(piece);
      // The score of an unknown character is computed from the lowest one.
      keep(model.vocab.reduce((lowest, one) => (one[1] < lowest[1] ? one : lowest), model.vocab[0] ?? ['', 0])[0] || undefined);
      return kept;
    }
    default:
      throw new StepError(
        `tokenizer.json has a vocabulary of the type ${JSON.stringify((model as { type?: unknown }).type)}, which reduce does not support`,
        'Supported: WordPiece, BPE, Unigram, WordLevel.',
      );
  }
}

/** The merges of which a reduced BPE keeps all three tokens. */
export function keptMerges<M extends string | [string, string]>(merges: readonly M[], kept: ReadonlySet<string>, prefix: string): M[] {
  return merges.filter((merge) => {
    const [left, right] = pairOf(merge);
    return kept.has(left) && kept.has(right) && kept.has(merged(left, right, prefix));
  });
}

/** The tokens of one character, `bare` of marks for the place in a word; those that occur in the data, or all. */
function charactersOf(tokens: string[], bare: (token: string) => string, { seen, allCharacters }: TokenUse): string[] {
  const used = new Set<string>();
  for (const token of seen) for (const character of bare(token)) used.add(character);
  return tokens.filter((token) => {
    const [first, ...others] = bare(token);
    return first !== undefined && others.length === 0 && (allCharacters || used.has(first));
  });
}

/** A byte of `byte_fallback`. */
const isByte = (token: string): boolean => /^<0x[0-9A-F]{2}>$/.test(token);

type Bpe = Extract<VocabularyModel, { type: 'BPE' }>;

/** A symbol from which merges start. */
function isCharacter(token: string, { continuing_subword_prefix, end_of_word_suffix }: Bpe): boolean {
  const [prefix, suffix] = [continuing_subword_prefix ?? '', end_of_word_suffix ?? ''];
  let rest = token;
  if (prefix && rest.startsWith(prefix)) rest = rest.slice(prefix.length);
  if (suffix && rest.endsWith(suffix)) rest = rest.slice(0, rest.length - suffix.length);
  return [...rest].length === 1;
}

/**
 * What merging makes on the way to each token. In a word the merges within a token are the same as for the token
 * alone, because a merge across its border would have made another token.
 */
function partsOf(tokens: ReadonlySet<string>, model: Bpe): Set<string> {
  const prefix = model.continuing_subword_prefix ?? '';
  const ranks = new Map(
    model.merges.map((merge, rank) => {
      const [left, right] = pairOf(merge);
      return [`${left} ${right}`, rank] as const;
    }),
  );
  const parts = new Set<string>();
  for (const token of tokens) {
    if (!Object.hasOwn(model.vocab, token)) continue;
    const symbols = symbolsOf(token, model);
    while (symbols.length > 1) {
      let best = -1;
      let lowest = Number.POSITIVE_INFINITY;
      for (let i = 0; i + 1 < symbols.length; i++) {
        const rank = ranks.get(`${symbols[i]} ${symbols[i + 1]}`);
        if (rank !== undefined && rank < lowest) [best, lowest] = [i, rank];
      }
      if (best < 0) break;
      const made = merged(symbols[best]!, symbols[best + 1]!, prefix);
      symbols.splice(best, 2, made);
      parts.add(made);
    }
  }
  return parts;
}

/** The characters of a token, with the marks that they have in a word. */
function symbolsOf(token: string, { continuing_subword_prefix, end_of_word_suffix }: Bpe): string[] {
  const [prefix, suffix] = [continuing_subword_prefix ?? '', end_of_word_suffix ?? ''];
  const continues = prefix !== '' && token.startsWith(prefix);
  const ends = suffix !== '' && token.endsWith(suffix);
  const characters = [...token.slice(continues ? prefix.length : 0, ends ? token.length - suffix.length : undefined)];
  return characters.map(
    (character, i) => `${i > 0 || continues ? prefix : ''}${character}${ends && i === characters.length - 1 ? suffix : ''}`,
  );
}

/** Older files write a pair as one string. */
const pairOf = (merge: string | [string, string]): [string, string] =>
  typeof merge === 'string' ? (merge.split(' ') as [string, string]) : merge;

const merged = (left: string, right: string, prefix: string): string =>
  left + (prefix !== '' && right.startsWith(prefix) ? right.slice(prefix.length) : right);
