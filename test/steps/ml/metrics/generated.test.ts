/** Metrics of generated text against sacrebleu, rouge_score and NLTK: test/golden/text-metrics.py made the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { GeneratedExample } from '../../../../steps/ml/metrics/counts.ts';
import { GENERATED, generatedMetrics, tokenize13a } from '../../../../steps/ml/metrics/generated.ts';
import { stem } from '../../../../steps/ml/metrics/rouge.ts';

interface Corpus {
  rows: GeneratedExample[];
  values: Record<string, number>;
  signatures: Record<string, string>;
  bleu: Record<string, number>;
}

interface Golden {
  corpora: Corpus[];
  tokens: [text: string, tokens: string[]][];
  stems: string;
}

const golden = JSON.parse(readFileSync(join(import.meta.dirname, '../../../golden/text-metrics.json'), 'utf8')) as Golden;
const NAMES = Object.keys(GENERATED);

test.each(golden.corpora.map((corpus) => [corpus.rows.length, corpus.rows[0]!.predicted, corpus] as const))(
  'a corpus of %i outputs, the first %j',
  (_, __, { rows, values, signatures, bleu }) => {
    const measured = generatedMetrics(NAMES);
    for (const row of rows) measured.add(row);
    const found = measured.metrics();
    expect(Object.keys(values).sort()).toEqual(NAMES.toSorted());
    for (const name of NAMES)
      expect(Math.abs(found[name]! - values[name]!), `${name}: ${found[name]}, not ${values[name]}`).toBeLessThan(1e-9);
    const details = measured.details() as Record<string, Record<string, number | string>>;
    for (const [name, signature] of Object.entries(signatures)) expect(details[name]!.signature).toBe(signature);
    const { signature: _own, ...counts } = details.bleu!;
    expect(Object.keys(counts)).toEqual(Object.keys(bleu));
    for (const [name, value] of Object.entries(bleu)) expect(counts[name]).toBeCloseTo(value, 12);
  },
);

test('the 13a tokenizer splits as in sacrebleu', () => {
  for (const [text, tokens] of golden.tokens) expect(tokenize13a(text), JSON.stringify(text)).toEqual(tokens);
});

test("stems are NLTK's", () => {
  const wrong = golden.stems.split(' ').flatMap((pair) => {
    const [word, expected] = pair.split(':') as [string, string];
    return stem(word) === expected ? [] : [`${word}: ${stem(word)}, not ${expected}`];
  });
  expect(wrong).toEqual([]);
});
