/** seq2seq: input texts and target texts. */
import { StepError } from '../../engine/step.ts';
import { quote, type Row } from '../data/database.ts';
import { requireColumn } from '../data/table.ts';
import type { Sequence, Side } from '../models/tokenizer.ts';
import { warnEmpty } from './labels.ts';
import type { Prepare, Source } from './tokenize.ts';

interface Pair extends Row {
  id: string;
  text: string;
  target: string;
}

export const seq2seq: Prepare<Pair> = async (source) => {
  const { columns, options } = source;
  const [text, target] = [options.text ?? 'text', options.target ?? 'target'];
  requireColumn(columns, text, 'text');
  requireColumn(columns, target, 'target');
  await warnEmpty(source, [text]);
  let [count, unwritable] = [0, 0];
  let first: { id: string; target: string; writable: string } | undefined;
  return {
    labels: [],
    fields: { text },
    encoding: { prefix: options.prefix ?? '', max_target_length: maxTargetLength(source) },
    paired: false,
    columns: { labels: { per: 'target', dtype: 'int32', width: 1 } },
    select: { text: `coalesce(${quote(text)}::VARCHAR, '')`, target: `coalesce(${quote(target)}::VARCHAR, '')` },
    async encode(rows, read, tokenizer) {
      const texts = await read(rows.map(({ text }) => ({ text })));
      const targets = await tokenizer.encode(rows.map((row) => row.target));
      const writable = await Promise.all(targets.map(({ ids }) => tokenizer.decode(ids)));
      count += rows.length;
      rows.forEach(({ id, target }, i) => {
        if (writable[i] === target) return;
        unwritable++;
        first ??= { id, target, writable: writable[i]! };
      });
      return rows.map(({ id, target }, i) => {
        const [sequence] = texts[i]! as [Sequence];
        const labels = labelsOf(id, target, targets[i]!, { ...source, side: tokenizer.truncationSide });
        return {
          // Generated texts are compared with the decoded target, as in transformers' scripts.
          example: { id, target, ...(writable[i] !== target && { writable: writable[i]! }) },
          sequences: [{ sequence, values: { labels: labels.ids } }],
          truncated: sequence.truncated || labels.truncated,
        };
      });
    },
    finish() {
      if (!first) return;
      source.warn(
        `the tokenizer cannot represent ${unwritable} of ${count} targets exactly: row ${first.id} ${inShort(first.target)} becomes ${inShort(first.writable)}; evaluation compares with what it can represent`,
      );
    },
  };
};

const inShort = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 59)}…` : text);

/** The maximum number of tokens of a target. */
export const maxTargetLength = ({ options, maxLength }: Pick<Source, 'options' | 'maxLength'>): number =>
  options.max_target_length ?? maxLength;

/**
 * The ids of the target and the end-of-text token, whether or not the tokenizer adds it. Long targets are truncated
 * on the tokenizer's truncation side.
 */
function labelsOf(id: string, target: string, { ids }: Sequence, source: Source & { side: Side }): { ids: number[]; truncated: boolean } {
  const { eos_token_id: end, pad_token_id: pad } = source.config;
  const plain = ids.at(-1) === end ? ids.slice(0, -1) : ids;
  if (plain.every((token) => token === pad))
    throw new StepError(
      `row ${id}: the target ${JSON.stringify(target)} has no tokens${plain.length > 0 ? ' except padding' : ''}`,
      'Nothing can be learned from it: leave the row out in collect with `where`.',
      ['target'],
    );
  const room = maxTargetLength(source) - 1;
  const kept = source.side === 'left' ? plain.slice(Math.max(0, plain.length - room)) : plain.slice(0, room);
  return { ids: [...kept, end!], truncated: plain.length > room };
}
