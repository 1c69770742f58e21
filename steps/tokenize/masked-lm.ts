/** Texts alone: which of their tokens are hidden is decided in training, anew in each epoch. */
import { quote, type Row } from '../data/database.ts';
import { requireColumn } from '../data/table.ts';
import { windowsOf } from '../models/tokenizer.ts';
import { warnEmpty } from './labels.ts';
import type { Prepare } from './tokenize.ts';

interface Text extends Row {
  id: string;
  text: string;
}

export const maskedLm: Prepare<Text> = async (source) => {
  const text = source.options.text ?? 'text';
  requireColumn(source.columns, text, 'text');
  await warnEmpty(source, [text]);
  return {
    labels: [],
    fields: { text },
    tokenizing: {},
    paired: false,
    columns: {},
    select: { text: `coalesce(${quote(text)}::VARCHAR, '')` },
    async encode(rows, tokenizer) {
      const whole = await tokenizer.encode(rows.map((row) => row.text));
      return rows.map(({ id }, i) => ({
        example: { id },
        sequences: windowsOf(whole[i]!, source.maxLength, 0)!.map((sequence) => ({ sequence, values: {} })),
        truncated: false,
      }));
    },
  };
};
