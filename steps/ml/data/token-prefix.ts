/**
 * Reads only the beginning of a text that will be truncated: most mails have many times the tokens that a model
 * reads, and a hostile text has more. A text is cut where nothing combines across the cut. Its last words could
 * differ if it continued, so their tokens do not count. All other tokens are exactly those of the whole text if each
 * word is tokenized by itself, which holds for the supported families.
 */

/**
 * How many words at the end of a beginning may differ in the whole text; undefined if the tokens of a word may depend
 * on later words, or if that is unknown. `json`: a tokenizer.json.
 */
export function unsureWords({ normalizer, pre_tokenizer, added_tokens = [] }: Record<string, any>): number | undefined {
  const normalizers = parts(normalizer, 'normalizers');
  const cutters = parts(pre_tokenizer, 'pretokenizers');
  const local =
    normalizers.every((part) => LOCAL_NORMALIZERS.has(part.type) || (part.type === 'Replace' && replacesLocally(part.pattern))) &&
    cutters.length > 0 &&
    cutters.every((cutter) => LOCAL_CUTTERS.has(cutter.type) && cutter.use_regex !== false && cutter.split !== false) &&
    // Normalization may change the number of spaces.
    added_tokens.every(({ content }: { content: string }) => !/\s/.test(content));
  if (!local) return undefined;
  // An added token across the cut replaces at most as many words as it has characters.
  const longest = added_tokens.map(({ content, normalized }: { content: string; normalized?: boolean }) =>
    normalized ? 2 * content.normalize('NFKD').length : content.length,
  );
  return LAST_WORDS + Math.max(0, ...longest);
}

/** The last word may continue. ByteLevel splits `'re` from a word, but not `'r`; an added token may take the space before it. */
const LAST_WORDS = 4;

/** The beginning of a text, or all of it. */
export interface Beginning {
  text: string;
  /** Whether the text continues. */
  more: boolean;
}

/** About the first `length` code units, up to a place where nothing combines; all of a text without such a place. */
export function beginning(text: string, length: number): Beginning {
  if (text.length <= length) return { text, more: false };
  SEAM.lastIndex = length;
  const seam = SEAM.exec(text);
  return seam ? { text: text.slice(0, seam.index + 1), more: true } : { text, more: false };
}

/** The longest prefix of a text that continues, up to a place where nothing combines with what follows; empty if there is none. */
export function withoutLoose(text: string): string {
  for (let end = text.length - 1; end > 0; end--) if (PLAIN.test(text[end]!) && PLAIN.test(text[end - 1]!)) return text.slice(0, end);
  return '';
}

/**
 * Letters and digits that combine with nothing: between two of them every Unicode normalization and every grapheme
 * segmentation has a boundary. Lower-casing does not skip them when it looks at neighbours, and each stays one
 * letter. The scripts are Latin, Cyrillic, Hebrew, Arabic, Devanagari, Thai, kana, Chinese and Korean; other texts
 * are cut at a space with such letters beside it, or not at all.
 */
const PLAIN_LETTERS =
  'A-Za-z0-9À-ÖØ-öø-ÿА-я\\u05d0-\\u05ea\\u0621-\\u063a\\u0641-\\u064a\\u0915-\\u0939ก-ฮぁ-ゖァ-ヺ\\u3400-\\u4dbf\\u4e00-\\u9fff가-힣';

export const PLAIN: RegExp = new RegExp(`^[${PLAIN_LETTERS}]$`);

const SEAM = new RegExp(`[${PLAIN_LETTERS}](?=[${PLAIN_LETTERS}])`, 'g');

const parts = (part: Record<string, any> | null | undefined, list: string): Record<string, any>[] =>
  part ? (part.type === 'Sequence' ? part[list] : [part]) : [];

/** Each maps a character, or a letter with its marks, independently of what follows, or changes only the ends of a text. */
const LOCAL_NORMALIZERS = new Set('BertNormalizer NFC NFD NFKC NFKD Lowercase StripAccents Nmt Precompiled Strip Prepend'.split(' '));

/** As in SentencePiece models: a pattern of marks or of several spaces, so never of a letter and the character after it. */
const replacesLocally = ({ String: text, Regex: pattern }: Record<string, string | undefined>): boolean =>
  text === undefined ? pattern === ' {2,}' : text.length === 1 || !/[\p{L}\p{N}\s]/u.test(text);

/** Each begins a new word after a space, and finds the end of a word after a few more characters. */
const LOCAL_CUTTERS = new Set(['BertPreTokenizer', 'ByteLevel', 'Metaspace', 'Whitespace', 'WhitespaceSplit']);
