/** The width of text on a terminal, in columns. Not the package string-width, which takes 30 ms to load in every command. */
import { stripVTControlCharacters } from 'node:util';

export function columnsOfText(text: string): number {
  let sum = 0;
  for (const { segment } of new Intl.Segmenter().segment(stripVTControlCharacters(text))) sum += columnsOf(segment);
  return sum;
}

/** `character`: a grapheme. */
export function columnsOf(character: string): number {
  if (/^[\p{Mark}\p{Cf}]+$/u.test(character)) return 0;
  if (character.length > 1 && character.startsWith('�')) return character.length;
  return character === '  ' || WIDE.test(character) ? 2 : 1;
}

const WIDE =
  /\p{Emoji_Presentation}|\ufe0f|[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u;
