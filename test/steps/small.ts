/** A small classification problem and a model small enough to learn it in a second. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import tokenize from '../../steps/tokenize/step.ts';
import { ranStep, table, temporary } from './rig.ts';

const boxed = join(import.meta.dirname, '../../pipelines/models/bert-tiny');

/** bert-tiny with a vocabulary of the words below and a matching size. */
export function smallModel(change: object = {}): string {
  const size = { hidden_size: 16, num_hidden_layers: 1, intermediate_size: 32, max_position_embeddings: 32, initializer_range: 0.05 };
  return modelOf([...FILLERS, ...Object.values(WORDS).flat()], { ...size, ...change });
}

/**
 * bert-tiny with a vocabulary of these words, in their order: most of its training is that of 30,522 embeddings that a test
 * never reads. Its special tokens are 0 to 4: PAD UNK CLS SEP MASK.
 */
export function modelOf(words: Iterable<string>, change: object = {}, folder = temporary()): string {
  const read = (name: string) => JSON.parse(readFileSync(join(boxed, name), 'utf8'));
  const tokenizer = read('tokenizer.json');
  const special: string[] = tokenizer.added_tokens.map(({ content }: { content: string }) => content);
  const vocabulary = [...special, ...new Set(words)];
  const idOf = (token: string) => vocabulary.indexOf(token);
  tokenizer.model.vocab = Object.fromEntries(vocabulary.map((token, id) => [token, id]));
  for (const token of tokenizer.added_tokens) token.id = idOf(token.content);
  for (const token of Object.values<any>(tokenizer.post_processor.special_tokens)) token.ids = [idOf(token.id)];
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...read('config.json'), vocab_size: vocabulary.length, ...change }));
  return folder;
}

/** The words of a text, and letters and digits, from which all others are made. */
export function wordsOf(text: string): string[] {
  const characters = [...'abcdefghijklmnopqrstuvwxyz0123456789.'];
  return [...text.toLowerCase().match(/[a-z]+/g)!, ...characters, ...characters.map((character) => `##${character}`)];
}

const FILLERS = ['the', 'day', 'was', 'and', 'a'];

const WORDS: Record<string, string[]> = {
  bad: ['awful', 'poor', 'broken', 'sad', 'wrong'],
  good: ['lovely', 'fine', 'great', 'happy', 'right'],
  odd: ['purple', 'sideways', 'moon', 'spoon', 'seven'],
};

/** Texts with words that determine the label, among others that do not; the same each time. */
export function rows(counts: Record<string, number>, labels = ['bad', 'good']): Record<string, string>[] {
  const made: Record<string, string>[] = [];
  for (const [split, count] of Object.entries(counts)) {
    for (let i = 0; i < count; i++) {
      const label = labels[i % labels.length]!;
      const words = WORDS[label]!;
      const filler = FILLERS.slice(0, 1 + (i % 5)).join(' ');
      const text = `${filler} ${words[i % 5]} ${words[(i * 3 + 1) % 5]} ${i % 7 === 0 ? `${filler} ${filler}` : ''}`;
      made.push({ id: `${split}-${String(i).padStart(4, '0')}`, text, label, split });
    }
  }
  return made;
}

export const splits = { train: 70, validation: 20, test: 20 };

export async function smallTokens(model: string, labels?: string[], counts: Record<string, number> = splits): Promise<string> {
  const { outputs } = await ranStep(tokenize, { max_length: 24 }, { data: await table(rows(counts, labels)), model });
  return outputs.tokens!;
}
