/** masked-lm: texts without labels. Training decides which tokens are masked, anew in each epoch. */
import { quote, type Row } from '../data/database.ts';
import { requireColumn } from '../data/table.ts';
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
    paired: false,
    columns: {},
    select: { text: `coalesce(${quote(text)}::VARCHAR, '')` },
    async encode(rows, read) {
      const windows = await read(rows.map(({ text }) => ({ text })));
      return rows.map(({ id }, i) => ({
        example: { id },
        sequences: windows[i]!.map((sequence) => ({ sequence, values: {} })),
        truncated: false,
      }));
    },
  };
};
