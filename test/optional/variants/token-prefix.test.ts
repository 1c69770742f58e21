/** Long texts are cut before they are cleaned and tokenized: more tokenizers, and more random texts. */
import { test } from 'vitest';
import { sameBeginnings, sameSequences } from '../../steps/ml/tasks/token-prefix.ts';

test('a cleaned beginning is what the cleaned text begins with, whatever follows, in thousands of random texts', () =>
  sameBeginnings(2500));

const TOKENIZERS = ['bert-uncased', 'bert-accents', 'roberta', 'roberta-prefix', 'gpt2', 'unigram'];

test.each(TOKENIZERS)('%s: the sequences of long texts and pairs are those of the whole texts', sameSequences);
