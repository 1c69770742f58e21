/**
 * causal-lm: predicts the next token from the previous ones, from left to right. Whole texts become windows or blocks,
 * each text followed by the end-of-text token; of prompts with completions, the loss covers only the completions.
 */

import { StepError } from '../../../engine/contract/step.ts';
import type { Row } from '../data/database.ts';
import { quote } from '../data/sql.ts';
import { requireColumn } from '../data/table.ts';
import { PerExample } from '../metrics/per-example.ts';
import { openSplit, readTokensInfo, type Split } from '../models/token-dataset.ts';
import { openTokenizer, type Sequence, windowAt } from '../models/tokenizer.ts';
import { IGNORE_INDEX } from '../runtime/runtime.ts';
import { warnEmpty } from './labels.ts';
import { nextTokenTask } from './predicted-tokens.ts';
import type { BaselineMethod, BaselineRequest, BaselineResult, EncodedRow, Preparation, PreparationContext } from './task.ts';

/** A prompt has the special tokens at the beginning of a text, and none of those at its end. */
export const causalLm = nextTokenTask('causal-lm', {
  prepare,
  encode: async (inputs, { tokenizer }) => {
    const whole = await tokenizer.encode(inputs.map(({ text }) => text!));
    return whole.map((sequence) => {
      const end = sequence.sequenceIds.findLastIndex((text) => text !== null) + 1;
      return [windowAt(sequence, [...sequence.ids.keys()].slice(0, end))];
    });
  },
  baseline,
  card: {
    hubTask: 'text-generation',
    loader: 'AutoModelForCausalLM',
    purpose: () => 'continues a text',
    longInput: ({ max_length }) => `the model was trained on sequences of up to ${max_length} tokens`,
  },
  page: { button: 'Continue', title: () => 'Continues a text' },
});

/* Rows: whole texts, or prompts with completions. */

interface Text extends Row {
  id: string;
  text: string;
  completion: string | null;
}

async function prepare(source: PreparationContext): Promise<Preparation<Text>> {
  const { options, columns } = source;
  const pairs = options.completion !== undefined;
  const text = pairs ? (options.prompt ?? 'prompt') : (options.text ?? 'text');
  requireColumn(columns, text, pairs ? 'prompt' : 'text');
  if (pairs) requireColumn(columns, options.completion!, 'completion');
  await warnEmpty(source, [text, ...(pairs ? [options.completion!] : [])]);
  const counts = { ends: 0, cut: 0 };
  return {
    labels: [],
    fields: { text },
    paired: false,
    columns: { labels: { per: 'token', dtype: 'int32', width: 1 } },
    ...(options.block_size !== undefined && { blockSize: options.block_size }),
    select: {
      text: `coalesce(${quote(text)}::VARCHAR, '')`,
      completion: pairs ? `coalesce(${quote(options.completion!)}::VARCHAR, '')` : 'NULL',
    },
    async encode(rows, read, tokenizer) {
      const texts = (await read(rows.map(({ text }) => ({ text })))).map(([sequence]) => sequence!.ids);
      if (!pairs) return rows.map(({ id }, i) => windows(id, texts[i]!, source, counts));
      const completions = await tokenizer.encode(rows.map((row) => row.completion!));
      const encoded = rows.map(({ id }, i) => completed(id, texts[i]!, completions[i]!, source));
      counts.cut += encoded.filter(({ truncated }) => truncated).length;
      return encoded;
    },
    finish() {
      if (counts.ends > 0)
        source.log(
          `${counts.ends} texts fill their windows exactly: each gets one more window, from which only the end-of-text token is learned`,
        );
      if (counts.cut > 0)
        source.warn(`${counts.cut} completions are truncated at max_length ${source.maxLength}: the model does not learn where they end`);
    },
  };
}

/** A whole text, in windows if it is too long. Texts for blocks stay whole and are split later. */
function windows(id: string, text: number[], { config, maxLength, options }: PreparationContext, counts: { ends: number }): EncodedRow {
  const ids = [...text, config.eos_token_id!];
  const length = options.block_size === undefined ? maxLength : ids.length;
  const sequences = Array.from({ length: Math.ceil(ids.length / length) }, (_, i) => learned(ids.slice(i * length, (i + 1) * length)));
  if (ids.length > length && ids.length % length === 1) {
    sequences[sequences.length - 1] = endOf(ids.slice(-length));
    counts.ends++;
  }
  return { example: { id }, sequences, truncated: false };
}

const learned = (ids: number[]): EncodedRow['sequences'][number] => ({ sequence: { ids }, values: { labels: ids } });

/** A last token alone would have no context: the window repeats the tokens before it without learning them again. */
const endOf = (ids: number[]): EncodedRow['sequences'][number] => ({
  sequence: { ids },
  values: { labels: ids.map((token, i) => (i < ids.length - 1 ? IGNORE_INDEX : token)) },
});

/** Prompt and completion are tokenized separately, as at inference, so that their border is a token border. */
function completed(id: string, begun: number[], completion: Sequence, { config, maxLength, options }: PreparationContext): EncodedRow {
  if (begun.length >= maxLength)
    throw new StepError(
      `row ${id}: the prompt has ${begun.length} tokens, so max_length ${maxLength} leaves no room for its completion`,
      'Shorten it, or leave the row out in collect with `where`.',
      ['max_length'],
    );
  const whole = [...begun, ...plain(completion), config.eos_token_id!];
  const ids = whole.slice(0, maxLength);
  const unlearned = options.completion_only_loss === false ? 0 : begun.length;
  const labels = ids.map((token, i) => (i < unlearned ? IGNORE_INDEX : token));
  return { example: { id }, sequences: [{ sequence: { ids }, values: { labels } }], truncated: whole.length > maxLength };
}

/** Without special tokens. */
const plain = (sequence: Sequence): number[] =>
  windowAt(
    sequence,
    [...sequence.ids.keys()].filter((i) => sequence.sequenceIds[i] !== null),
  ).ids;

/** Concatenates texts in their order and splits them into blocks of `size` tokens; the last block is shorter. */
export async function* inBlocks(groups: AsyncGenerator<EncodedRow[]>, size: number): AsyncGenerator<EncodedRow[]> {
  let rest: number[] = [];
  let count = 0;
  let last: number[] = [];
  const blockOf = (sequence: EncodedRow['sequences'][number]): EncodedRow => ({
    example: { id: `block ${count++}` },
    sequences: [sequence],
    truncated: false,
  });
  for await (const group of groups) {
    const joined = rest.concat(...group.flatMap(({ sequences }) => sequences.map(({ sequence }) => sequence.ids)));
    const whole = joined.length - (joined.length % size);
    const blocks: EncodedRow[] = [];
    for (let from = 0; from < whole; from += size) blocks.push(blockOf(learned(joined.slice(from, from + size))));
    rest = joined.slice(whole);
    if (whole > 0) last = joined.slice(whole - size, whole);
    yield blocks;
  }
  if (rest.length > 1) yield [blockOf(learned(rest))];
  else if (rest.length === 1 && last.length > 0) yield [blockOf(endOf([...last.slice(1), ...rest]))];
}

/*
 * Baselines by counting: how often a token occurs, and how often it follows another: a language model without further
 * context.
 */

const METHODS: Record<string, (pairs: Iterable<Pair>, vocabulary: number) => NextToken> = { unigram, bigram };

async function baseline({ options, methods, tokens }: BaselineRequest): Promise<BaselineResult> {
  const info = await readTokensInfo(tokens);
  if (info.task !== 'causal-lm')
    throw new StepError(
      `the tokens were made for ${info.task}, and the task is causal-lm`,
      'Use the tokens of a tokenize step with that task.',
    );
  const { size } = await openTokenizer(tokens, {});
  const [train, test] = [await openSplit(tokens, info, 'train'), await openSplit(tokens, info, options.split)];
  try {
    const results: [string, BaselineMethod][] = [];
    for (const name of methods) {
      const next = METHODS[name]!(allPairs(train), size);
      /** The loss and the number of tokens of each example. */
      const sums = new PerExample(2);
      let first = 0;
      for await (const { sequences = 1 } of test.examples()) {
        const own = [0, 0];
        for (const [before, token] of pairsOf(test, first, first + sequences)) {
          own[0]! -= Math.log(next(before, token));
          own[1]!++;
        }
        sums.add(own);
        first += sequences;
      }
      results.push([
        name,
        {
          metrics(rows) {
            const [loss, tokens] = sums.sums(rows) as unknown as [number, number];
            // A short block counts less than a full one.
            return { perplexity: Math.exp(loss / tokens) };
          },
        },
      ]);
    }
    return { rows: test.rows, about: {}, methods: Object.fromEntries(results) };
  } finally {
    train.close();
    test.close();
  }
}

const allPairs = (split: Split) => pairsOf(split, 0, split.sequences);

/** Each token of some sequences that the loss covers, with the one before it. */
function* pairsOf(split: Split, from: number, to: number): Generator<Pair> {
  for (let sequence = from; sequence < to; sequence++) {
    const length = split.length(sequence);
    const [ids, labels] = [new Int32Array(length), new Int32Array(length)];
    split.read('input_ids', sequence, ids, 0);
    split.read('labels', sequence, labels, 0);
    for (let i = 1; i < length; i++) if (labels[i]! >= 0) yield [ids[i - 1]!, labels[i]!];
  }
}

/** The probability of a token after another. */
type NextToken = (before: number, token: number) => number;

/** A token and the one before it. */
export type Pair = readonly [before: number, token: number];

/** Unigram frequencies with Laplace smoothing: each token counts once more than it occurs. */
export function unigram(pairs: Iterable<Pair>, vocabulary: number): NextToken {
  const counts = new Float64Array(vocabulary).fill(1);
  let all = vocabulary;
  for (const [, token] of pairs) {
    counts[token]!++;
    all++;
  }
  return (_, token) => counts[token]! / all;
}

/**
 * Interpolated Kneser-Ney smoothing of bigrams (Kneser & Ney 1995; Chen & Goodman 1999, section 4.1). The probability
 * mass that is discounted from the bigrams goes to each token by the number of different tokens that it follows, plus
 * one.
 */
export function bigram(pairs: Iterable<Pair>, vocabulary: number): NextToken {
  const counts = new Map<number, number>();
  for (const [before, token] of pairs) {
    const pair = before * vocabulary + token;
    counts.set(pair, (counts.get(pair) ?? 0) + 1);
  }
  const followed = new Float64Array(vocabulary).fill(1);
  const times = new Float64Array(vocabulary);
  const different = new Float64Array(vocabulary);
  let [once, twice] = [0, 0];
  for (const [pair, count] of counts) {
    const [before, token] = [Math.floor(pair / vocabulary), pair % vocabulary];
    followed[token]!++;
    times[before]! += count;
    different[before]!++;
    if (count === 1) once++;
    if (count === 2) twice++;
  }
  const discount = once === 0 ? 0 : once / (once + 2 * twice);
  const kinds = counts.size + vocabulary;
  return (before, token) => {
    const alone = followed[token]! / kinds;
    const seen = times[before]!;
    if (seen === 0) return alone;
    const count = counts.get(before * vocabulary + token) ?? 0;
    return (Math.max(count - discount, 0) + discount * different[before]! * alone) / seen;
  };
}
