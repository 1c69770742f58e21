/** seq2seq: generates a text from a text, as in translation or summarization. */

import { StepError } from '../../../engine/contract/step.ts';
import type { Row } from '../data/database.ts';
import { quote } from '../data/sql.ts';
import { requireColumn } from '../data/table.ts';
import { generatedMetrics } from '../metrics/generated.ts';
import type { Sequence, Side } from '../models/tokenizer.ts';
import { warnEmpty } from './labels.ts';
import { evaluationMetrics } from './metrics.ts';
import { nextTokenTask } from './predicted-tokens.ts';
import { type BaselineRequest, type BaselineResult, longTextIsTruncated, type Preparation, type PreparationContext } from './task.ts';

export const seq2seq = nextTokenTask('seq2seq', {
  prepare,
  encode: async (inputs, { tokenizer, encoding: { prefix = '', max_length } }) => {
    const texts = inputs.map(({ text }) => prefix + text!);
    return (await tokenizer.encode(texts, max_length)).map((sequence) => [sequence]);
  },
  baseline,
  show: async ({ values, decode }) => ({ target: await decode(values('labels')) }),
  card: {
    hubTask: 'text2text-generation',
    loader: 'AutoModelForSeq2SeqLM',
    purpose: () => 'generates a text from a text',
    longInput: longTextIsTruncated,
    pythonArguments: ({ max_length }) => (max_length ? `, truncation=True, max_length=${max_length}` : ''),
  },
  page: { button: 'Write', title: () => 'Writes a text from another text' },
});

/* Rows: input texts and target texts. */

interface Pair extends Row {
  id: string;
  text: string;
  target: string;
}

async function prepare(source: PreparationContext): Promise<Preparation<Pair>> {
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
}

/** The ids of the target and the end-of-text token. Long targets are truncated on the tokenizer's truncation side. */
function labelsOf(
  id: string,
  target: string,
  { ids }: Sequence,
  source: PreparationContext & { side: Side },
): { ids: number[]; truncated: boolean } {
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

/** The maximum number of tokens of a target. */
const maxTargetLength = ({ options, maxLength }: Pick<PreparationContext, 'options' | 'maxLength'>): number =>
  options.max_target_length ?? maxLength;

const inShort = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 59)}…` : text);

/*
 * Baselines: the most frequent target, a copy of the input, and the beginning of the input, which often summarizes a text (the
 * lead baseline).
 */

interface TextAndTarget {
  id: string;
  text: string;
  target: string;
  [column: string]: string;
}

/** Fits on rows, and returns a function that makes an output of a text. */
const METHODS: Record<string, (train: TextAndTarget[]) => (text: string) => string> = {
  commonest(train) {
    const counts = new Map<string, number>();
    for (const { target } of train) counts.set(target, (counts.get(target) ?? 0) + 1);
    const [commonest] = [...counts].reduce((best, one) => (one[1] > best[1] ? one : best));
    return () => commonest;
  },
  copy: () => (text) => text,
  lead(train) {
    const words = train.reduce((sum, { target }) => sum + wordsOf(target).length, 0);
    const usual = Math.max(1, Math.ceil(words / train.length));
    return (text) => wordsOf(text).slice(0, usual).join(' ');
  },
};

async function baseline({ options, methods, read }: BaselineRequest): Promise<BaselineResult> {
  const columns = { id: 'id', text: options.text ?? 'text', target: options.target ?? 'target' };
  const train = await read<TextAndTarget>('train', columns);
  const test = await read<TextAndTarget>(options.split, columns);
  const { ofTexts } = evaluationMetrics('seq2seq', 'single_label_classification', [], options.metrics);
  const results = methods.map((name) => {
    const output = METHODS[name]!(train);
    const measured = generatedMetrics(ofTexts);
    for (const { text, target } of test) measured.add({ references: [target], predicted: output(text) });
    return [name, { metrics: measured.metrics, report: { details: measured.details() } }] as const;
  });
  return { rows: test.length, ids: test.map(({ id }) => id), about: {}, methods: Object.fromEntries(results) };
}

const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');
