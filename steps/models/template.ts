/**
 * What a tokenizer puts around texts, such as BERT's [CLS] first [SEP] second [SEP]. The library computes it, because
 * there are many post-processors (BERT's, RoBERTa's, templates, sequences), each with its own place for special
 * tokens in tokenizer.json.
 */
import { Tokenizer as Library } from 'tokenizers';

export type Template = Piece[];

/** The slot of a text, 0 for the first and 1 for the second; or a special token. */
export type Piece = { text: 0 | 1; typeId: number } | { text: null; id: number; typeId: number };

/** For one text, and for a pair, from a parsed tokenizer.json. */
export async function templatesOf({ version, post_processor }: Record<string, unknown>): Promise<[single: Template, pair: Template]> {
  const word = 'a';
  const library = Library.fromString(
    // A vocabulary of one word, which makes one token: all other tokens are the template's.
    JSON.stringify({ version, added_tokens: [], post_processor, model: { type: 'WordLevel', vocab: { [word]: 0 }, unk_token: word } }),
  );
  const encodings = await Promise.all([null, word].map((pair) => library.encode(word, pair, { addSpecialTokens: true })));
  const [single, pair] = encodings.map((encoding) => {
    const [ids, typeIds, texts] = [encoding.getIds(), encoding.getTypeIds(), encoding.getSequenceIds()];
    return ids.map((id, i) => ({ text: texts[i] as 0 | 1 | null, id, typeId: typeIds[i]! }) as Piece);
  });
  return [single!, pair!];
}
