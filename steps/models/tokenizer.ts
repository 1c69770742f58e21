/** Text to ids with Hugging Face's own tokenizer library, from the tokenizer.json of a model folder. */
import { existsSync } from 'node:fs';
import { copyFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { Tokenizer as Library } from 'tokenizers';
import { StepError } from '../../engine/step.ts';

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
  const file = path.join(folder, 'tokenizer.json');
  if (!existsSync(file)) throw missing(folder);
  let library: Library;
  try {
    library = Library.fromString(await readFile(file, 'utf8'));
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

/** Copies the files that make a tokenizer from folder to folder. */
export async function copyTokenizer(from: string, to: string): Promise<void> {
  for (const name of TOKENIZER_FILES) {
    if (existsSync(path.join(from, name))) await copyFile(path.join(from, name), path.join(to, name));
  }
}

/** Whether two folders hold the same tokenizer; undefined where one of them has none. */
export async function sameTokenizer(a: string, b: string): Promise<boolean | undefined> {
  const files = [a, b].map((folder) => path.join(folder, 'tokenizer.json'));
  if (!files.every(existsSync)) return undefined;
  const [first, second] = await Promise.all(files.map((file) => readFile(file)));
  return first!.equals(second!);
}

const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'];

/** Files of tokenizers that only Python turns into a tokenizer.json. */
const FOREIGN_FILES = ['vocab.txt', 'vocab.json', 'spiece.model', 'sentencepiece.bpe.model', 'tokenizer.model'];

function missing(folder: string): StepError {
  const name = path.basename(folder);
  const foreign = FOREIGN_FILES.find((file) => existsSync(path.join(folder, file)));
  if (!foreign)
    return new StepError(`the model folder ${name} has no tokenizer.json`, 'Copy the one that belongs to the model into the folder.');
  return new StepError(
    `the model folder ${name} has ${foreign} and no tokenizer.json`,
    'Convert it once with Python: AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes tokenizer.json.',
  );
}
