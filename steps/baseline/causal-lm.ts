/** Token frequencies, alone and after the previous token: a language model without further context. */
import { StepError } from '../../engine/step.ts';
import { perplexity } from '../metrics/perplexity.ts';
import { openTokenizer } from '../models/tokenizer.ts';
import { openSplit, readTokensInfo, type Split } from '../models/tokens.ts';
import type { Measure } from './baseline.ts';
import { bigram, type NextToken, type Pair, unigram } from './n-grams.ts';

const METHODS: Record<string, (pairs: Iterable<Pair>, vocabulary: number) => NextToken> = { unigram, bigram };

export const causalLm: Measure = async (options, methods, { tokens }) => {
  const info = await readTokensInfo(tokens);
  if (info.task !== 'causal-lm')
    throw new StepError(
      `the tokens were made for ${info.task}, and the task is causal-lm`,
      'Use the tokens of a tokenize step with that task.',
    );
  const { size } = await openTokenizer(tokens, {});
  const [train, test] = [await openSplit(tokens, info, 'train'), await openSplit(tokens, info, options.split)];
  try {
    const results = methods.map((name) => {
      const next = METHODS[name]!(pairsOf(train), size);
      const measured = perplexity();
      for (const [before, token] of pairsOf(test)) measured.add(-Math.log(next(before, token)), 1);
      return [name, { metrics: { perplexity: measured.value() } }] as const;
    });
    return { rows: test.rows, about: {}, methods: Object.fromEntries(results) };
  } finally {
    train.close();
    test.close();
  }
};

/** Each token that the loss covers, with the one before it. */
function* pairsOf(split: Split): Generator<Pair> {
  for (let sequence = 0; sequence < split.sequences; sequence++) {
    const length = split.length(sequence);
    const [ids, labels] = [new Int32Array(length), new Int32Array(length)];
    split.read('input_ids', sequence, ids, 0);
    split.read('labels', sequence, labels, 0);
    for (let i = 1; i < length; i++) if (labels[i]! >= 0) yield [ids[i - 1]!, labels[i]!];
  }
}
