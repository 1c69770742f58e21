/**
 * Of a text that will be cut, only so much is tokenized as its first tokens need: most mails have many times the tokens that a
 * model reads. It gives the very same tokens where each word is tokenized by itself, which is so in the families that we have.
 */

/** Whether what stands behind a word cannot change its tokens; in doubt not. `json`: a tokenizer.json. */
export function readsWordByWord({ normalizer, pre_tokenizer, added_tokens = [] }: Record<string, any>): boolean {
  const normalizers = parts(normalizer, 'normalizers');
  const cutters = parts(pre_tokenizer, 'pretokenizers');
  return (
    normalizers.every((part) => LOCAL_NORMALIZERS.has(part.type) || (part.type === 'Replace' && replacesMarks(part.pattern))) &&
    cutters.length > 0 &&
    cutters.every((cutter) => LOCAL_CUTTERS.has(cutter.type) && cutter.use_regex !== false && cutter.split !== false) &&
    // A token of several words could begin before the place of a cut and end behind it.
    added_tokens.every(({ content }: { content: string }) => !/\s/.test(content))
  );
}

/** At least the first `length` code units, up to the end of a plain word; the whole text where there is no such place. */
export function beginning(text: string, length: number): string {
  if (text.length <= length) return text;
  END_OF_WORD.lastIndex = length;
  const found = END_OF_WORD.exec(text);
  return found ? text.slice(0, found.index + 1) : text;
}

/** Between plain letters and spaces nothing combines, and every tokenizer below ends a word there. */
const END_OF_WORD = /[A-Za-z0-9](?=[ \n][A-Za-z0-9])/g;

const parts = (part: Record<string, any> | null | undefined, list: string): Record<string, any>[] =>
  part ? (part.type === 'Sequence' ? part[list] : [part]) : [];

/** Each makes of a letter, or of letters and the marks upon them, something else, whatever follows. */
const LOCAL_NORMALIZERS = new Set(['BertNormalizer', 'NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents', 'Nmt', 'Precompiled']);

/** As SentencePiece models have it: of marks or of several spaces, and so never of a letter with the space behind it. */
const replacesMarks = ({ String: text, Regex: pattern }: Record<string, string | undefined>): boolean =>
  text === undefined ? pattern === ' {2,}' : !/[A-Za-z0-9 \n]/.test(text);

/** Each begins a new word behind a space. */
const LOCAL_CUTTERS = new Set(['BertPreTokenizer', 'ByteLevel', 'Metaspace', 'Whitespace', 'WhitespaceSplit']);
