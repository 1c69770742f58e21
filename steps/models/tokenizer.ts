/** Text to ids with Hugging Face's own tokenizer library. */
import { existsSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Tokenizer as Library } from 'tokenizers';
import { StepError } from '../../engine/step.ts';
import { findTokenizerJson, tokenizerJson } from './tokenizer-json.ts';

export interface Tokenized {
  ids: number[];
  /** The text had more tokens than there was room for. */
  truncated: boolean;
}

export interface Tokenizer {
  /** One more than the highest id: the rows that an embedding table must have. */
  readonly size: number;
  /** With the special tokens that the model expects around a text, in the order of the texts. */
  encode(texts: string[]): Promise<Tokenized[]>;
}

export async function openTokenizer(folder: string, maxLength: number): Promise<Tokenizer> {
  const json = await tokenizerJson(folder);
  let library: Library;
  try {
    library = Library.fromString(json);
  } catch (error) {
    throw new StepError(
      `tokenizer.json cannot be read: ${(error as Error).message}`,
      'Save it again with the tokenizers library, 0.23 or older.',
    );
  }
  // A tokenizer.json may switch both on; how long sequences are is decided here alone.
  library.disablePadding();
  library.setTruncation(maxLength);
  return {
    size: 1 + Object.values(library.getVocab(true)).reduce((highest, id) => Math.max(highest, id), -1),
    async encode(texts) {
      const encodings = await library.encodeBatch(texts, { addSpecialTokens: true });
      return encodings.map((encoding) => {
        const ids = encoding.getIds();
        return { ids, truncated: ids.length >= maxLength && encoding.getOverflowing().length > 0 };
      });
    },
  };
}

/** Copies a tokenizer from folder to folder, as a tokenizer.json whatever it was made of. */
export async function copyTokenizer(from: string, to: string): Promise<void> {
  await writeFile(path.join(to, 'tokenizer.json'), await tokenizerJson(from));
  for (const name of ['tokenizer_config.json', 'special_tokens_map.json']) {
    if (existsSync(path.join(from, name))) await copyFile(path.join(from, name), path.join(to, name));
  }
}

/** Whether two folders hold the same tokenizer; undefined where one of them has none. */
export async function sameTokenizer(a: string, b: string): Promise<boolean | undefined> {
  const [first, second] = await Promise.all([findTokenizerJson(a), findTokenizerJson(b)]);
  return first === undefined || second === undefined ? undefined : first === second;
}
