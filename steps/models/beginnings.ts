/**
 * Tokenizes only the beginning of a text that will be truncated: most mails have many times the tokens that a model
 * reads. The tokens are exactly the same if each word is tokenized by itself, which holds for the supported families.
 */

/** Whether later text can never change the tokens of a word; false if unsure. `json`: a tokenizer.json. */
export function readsWordByWord({ normalizer, pre_tokenizer, added_tokens = [] }: Record<string, any>): boolean {
  const normalizers = parts(normalizer, 'normalizers');
  const cutters = parts(pre_tokenizer, 'pretokenizers');
  return (
    normalizers.every((part) => LOCAL_NORMALIZERS.has(part.type) || (part.type === 'Replace' && replacesMarks(part.pattern))) &&
    cutters.length > 0 &&
    cutters.every((cutter) => LOCAL_CUTTERS.has(cutter.type) && cutter.use_regex !== false && cutter.split !== false) &&
    // A token of several words could span the cut.
    added_tokens.every(({ content }: { content: string }) => !/\s/.test(content))
  );
}

/**
 * At least the first `length` code units, up to the end of a plain word; the whole text if there is no such place.
 */
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

/** Each maps a letter, or a letter with its marks, independently of what follows. */
const LOCAL_NORMALIZERS = new Set(['BertNormalizer', 'NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents', 'Nmt', 'Precompiled']);

/**
 * As in SentencePiece models: a pattern of marks or of several spaces, so never of a letter and the space after it.
 */
const replacesMarks = ({ String: text, Regex: pattern }: Record<string, string | undefined>): boolean =>
  text === undefined ? pattern === ' {2,}' : !/[A-Za-z0-9 \n]/.test(text);

/** Each begins a new word after a space. */
const LOCAL_CUTTERS = new Set(['BertPreTokenizer', 'ByteLevel', 'Metaspace', 'Whitespace', 'WhitespaceSplit']);
