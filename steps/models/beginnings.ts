/**
 * Of a text that will be cut, only so much is read as its first tokens need: most mails have many times the tokens that a model reads,
 * and a hostile text has more. A text is cut where nothing combines across the cut; what its last words would be if it went on is
 * not known, so their tokens do not count. All others are the very tokens of the whole text where each word is tokenized by itself,
 * which is so in the families that we have.
 */

/**
 * How many words at the end of a beginning may be other words in the whole text; undefined where a word's tokens may depend on words
 * behind it, in doubt also. `json`: a tokenizer.json.
 */
export function unsureWords({ normalizer, pre_tokenizer, added_tokens = [] }: Record<string, any>): number | undefined {
  const normalizers = parts(normalizer, 'normalizers');
  const cutters = parts(pre_tokenizer, 'pretokenizers');
  const local =
    normalizers.every((part) => LOCAL_NORMALIZERS.has(part.type) || (part.type === 'Replace' && replacesLocally(part.pattern))) &&
    cutters.length > 0 &&
    cutters.every((cutter) => LOCAL_CUTTERS.has(cutter.type) && cutter.use_regex !== false && cutter.split !== false) &&
    // Spaces may be normalised, and become more or fewer.
    added_tokens.every(({ content }: { content: string }) => !/\s/.test(content));
  if (!local) return undefined;
  // An added token that begins before the cut and ends behind it stands in place of at most as many words as it has characters.
  const longest = added_tokens.map(({ content, normalized }: { content: string; normalized?: boolean }) =>
    normalized ? 2 * content.normalize('NFKD').length : content.length,
  );
  return LAST_WORDS + Math.max(0, ...longest);
}

/** The last word may go on. ByteLevel parts `'re` from a word, but not `'r`; an added token may take the space before it. */
const LAST_WORDS = 4;

/** The beginning of a text, or all of it. */
export interface Beginning {
  text: string;
  /** The text goes on. */
  more: boolean;
}

/** About the first `length` code units, up to a place where nothing combines; all of a text that has no such place. */
export function beginning(text: string, length: number): Beginning {
  if (text.length <= length) return { text, more: false };
  SEAM.lastIndex = length;
  const found = SEAM.exec(text);
  return found ? { text: text.slice(0, found.index + 1), more: true } : { text, more: false };
}

/** The most of a text that goes on, up to a place where nothing combines with what follows; empty if there is none. */
export function withoutLoose(text: string): string {
  for (let end = text.length - 1; end > 0; end--) if (PLAIN.test(text[end]!) && PLAIN.test(text[end - 1]!)) return text.slice(0, end);
  return '';
}

/**
 * Letters and digits that stand by themselves: between two of them every Unicode normalization has a boundary, and so have characters
 * as a reader sees them. None of them is passed over where the case of a neighbour is looked for, and each stays one in lower case.
 * Latin, Cyrillic, Hebrew, Arabic, Devanagari, Thai, kana, Chinese, Korean: the rest is cut at a space with such letters beside it, or not.
 */
const PLAIN_LETTERS =
  'A-Za-z0-9À-ÖØ-öø-ÿА-я\\u05d0-\\u05ea\\u0621-\\u063a\\u0641-\\u064a\\u0915-\\u0939ก-ฮぁ-ゖァ-ヺ\\u3400-\\u4dbf\\u4e00-\\u9fff가-힣';

export const PLAIN: RegExp = new RegExp(`^[${PLAIN_LETTERS}]$`);

const SEAM = new RegExp(`[${PLAIN_LETTERS}](?=[${PLAIN_LETTERS}])`, 'g');

const parts = (part: Record<string, any> | null | undefined, list: string): Record<string, any>[] =>
  part ? (part.type === 'Sequence' ? part[list] : [part]) : [];

/** Each makes of a character, or of letters and the marks upon them, something else, whatever follows; or it changes a text's ends alone. */
const LOCAL_NORMALIZERS = new Set('BertNormalizer NFC NFD NFKC NFKD Lowercase StripAccents Nmt Precompiled Strip Prepend'.split(' '));

/** As SentencePiece models have it: of marks or of several spaces, and so never of a letter with the one behind it. */
const replacesLocally = ({ String: text, Regex: pattern }: Record<string, string | undefined>): boolean =>
  text === undefined ? pattern === ' {2,}' : text.length === 1 || !/[\p{L}\p{N}\s]/u.test(text);

/** Each begins a new word behind a space, and knows where a word ends once it has seen a few characters more. */
const LOCAL_CUTTERS = new Set(['BertPreTokenizer', 'ByteLevel', 'Metaspace', 'Whitespace', 'WhitespaceSplit']);
