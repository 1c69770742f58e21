/** Texts, and the texts that are to be made of them. */
import { StepError } from '../../engine/step.ts';
import { quote, type Row } from '../data/database.ts';
import { requireColumn } from '../data/table.ts';
import type { Sequence } from '../models/tokenizer.ts';
import { warnEmpty } from './labels.ts';
import type { Prepare, Source } from './tokenize.ts';

interface Pair extends Row {
  id: string;
  text: string;
  target: string;
}

export const seq2seq: Prepare<Pair> = async (source) => {
  const { columns, options, maxLength } = source;
  const [text, target] = [options.text ?? 'text', options.target ?? 'target'];
  requireColumn(columns, text, 'text');
  requireColumn(columns, target, 'target');
  await warnEmpty(source, [text]);
  const prefix = options.prefix ?? '';
  return {
    labels: [],
    fields: { text },
    tokenizing: {},
    paired: false,
    columns: { labels: { per: 'target', dtype: 'int32', width: 1 } },
    select: { text: `coalesce(${quote(text)}::VARCHAR, '')`, target: `coalesce(${quote(target)}::VARCHAR, '')` },
    async encode(rows, tokenizer) {
      const [texts, targets] = await Promise.all([
        tokenizer.encode(
          rows.map((row) => prefix + row.text),
          maxLength,
        ),
        tokenizer.encode(rows.map((row) => row.target)),
      ]);
      return rows.map(({ id, target }, i) => {
        const sequence = texts[i]!;
        const labels = labelsOf(id, target, targets[i]!, source);
        return {
          // What is written is held against the target as it stands in the table.
          example: { id, target },
          sequences: [{ sequence, values: { labels: labels.ids } }],
          truncated: sequence.truncated || labels.truncated,
        };
      });
    },
  };
};

/** The most tokens of a target. */
export const maxTargetLength = ({ options, maxLength }: Pick<Source, 'options' | 'maxLength'>): number =>
  options.max_target_length ?? maxLength;

/** The target's ids, and the token that ends it, whether or not the tokenizer put it there. */
function labelsOf(id: string, target: string, { ids }: Sequence, source: Source): { ids: number[]; truncated: boolean } {
  const { eos_token_id: end, pad_token_id: pad } = source.config;
  const plain = ids.at(-1) === end ? ids.slice(0, -1) : ids;
  if (plain.every((token) => token === pad))
    throw new StepError(
      `row ${id}: the target ${JSON.stringify(target)} has no tokens${plain.length > 0 ? ' but padding' : ''}`,
      'Nothing can be learned from it: leave the row out in collect, `where`.',
      ['target'],
    );
  const room = maxTargetLength(source) - 1;
  return { ids: [...plain.slice(0, room), end!], truncated: plain.length > room };
}
