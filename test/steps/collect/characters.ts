/** Texts with all classes of characters. */
import { expect } from 'vitest';
import { Database } from '../../../steps/ml/data/database.ts';
import { tableOf } from '../../../steps/ml/data/table.ts';
import { type Collected, values } from './files.ts';

/** Characters of every class that software is known to drop, trim, normalize or escape. */
export const CLASSES = [
  ['a', 'Z', '0', ' ', '  '],
  ['\u0000', '\u0001', '\u0007', '\u001b', '\u001c', '\u001f', '\u007f'],
  ['\t', '\n', '\r', '\r\n', '\v', '\f'],
  ['"', '""', "'", ',', ';', '|', '\\', '\\n', '\\u0041', '{', '[', ':', '#', '%'],
  ['\ufeff', '\ufffe', '\uffff', '\ufffd', '\u{10ffff}', '\u{1fffe}'],
  ['\u0085', '\u00a0', '\u1680', '\u2003', '\u2028', '\u2029', '\u202f', '\u3000'],
  ['\u00ad', '\u200b', '\u200d', '\u200e', '\u202e', '\u2060', '\u{e0001}', '\ufe0f'],
  ['é', 'e\u0301', '\u0301', 'ß', 'İ', 'ﬁ', 'Å', '\u212b'],
  ['ü', '漢', 'か\u3099', 'ا', 'א', 'ก', '한', '\u1112\u1161\u11ab'],
  ['😀', '👩‍👩‍👧', '𝒳', '\u{20000}', '\ue000', '\u{f0000}', '🇩🇪'],
  ['null', 'NA', 'NaN', 'nan', 'None', 'true', '1.10', '1e5', '-0', '0x1F', '=1+1', '00501', 'inf'],
];

/** Texts that begin with, end with and consist of each character, and mixtures; the same ones in each run. */
export function manyTexts(): string[] {
  let state = 7;
  const draw = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const all = CLASSES.flat();
  const mixtures = Array.from({ length: 600 }, () => Array.from({ length: 1 + draw(20) }, () => all[draw(all.length)]!).join(''));
  return [...new Set([...all.flatMap((one) => [one, `${one}x`, `x${one}`, `${one}${'long '.repeat(4)}${one}`]), ...mixtures])];
}

/** The bytes of a column's texts in DuckDB, without conversion by JavaScript. */
export async function bytesOf(folder: string, column: string): Promise<string[]> {
  const database = await Database.open();
  try {
    const rows = await database.rows<{ bytes: string }>(`SELECT hex(encode(${column})) AS bytes FROM ${tableOf(folder)}`);
    return rows.map(({ bytes }) => bytes);
  } finally {
    database.close();
  }
}

export async function expectLetters(table: Collected, expected: string[]): Promise<void> {
  for (const column of ['text', 'label']) {
    const bytes = await bytesOf(table.folder, column);
    expect(bytes.sort()).toEqual(expected.map((text) => Buffer.from(text).toString('hex').toUpperCase()).sort());
    expect(values(table, column).sort()).toEqual([...expected].sort());
  }
  expect(table.rejected).toEqual([]);
}
