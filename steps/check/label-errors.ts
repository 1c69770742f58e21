/**
 * Labels that are probably wrong: a bag of words is trained on all folds but one and predicts the labels of that fold, and confident
 * learning compares its probabilities with the given labels.
 */

import { setImmediate } from 'node:timers/promises';
import type { StepContext } from '../../engine/contract/step.ts';
import { outOfFoldProbabilities, WordCounts } from '../ml/bag-of-words.ts';
import { BIGINT, DOUBLE, VARCHAR } from '../ml/data/database.ts';
import {
  confidentJoint,
  findLabelErrors,
  type LabelErrorFilter,
  type LabelledProbabilities,
  selfConfidence,
} from '../ml/metrics/confident-learning.ts';
import { random } from '../ml/models/random.ts';
import { type CheckedData, count, type Findings } from './findings.ts';
import type { Labels } from './labels.ts';

export interface LabelErrorOptions {
  method: LabelErrorFilter;
  folds: number;
}

/** Makes the table `errors`: `row`, the `suggested` label and the `quality` of the given one, from 0 to 1. */
export async function checkLabelErrors(
  data: CheckedData,
  labels: Labels,
  { options, seed, signal, progress }: { options: LabelErrorOptions | undefined; seed: number } & Pick<StepContext, 'signal' | 'progress'>,
  findings: Findings,
): Promise<void> {
  const { database, rows } = data;
  await database.run('CREATE TABLE errors (row BIGINT, suggested VARCHAR, quality DOUBLE)');
  const unknown = (why: string) => findings.unknown(why, 'label_errors', 'label_errors.accuracy');
  if (!options) return unknown('`label_errors` is false');
  if (labels.why !== undefined) return unknown(labels.why);
  if (labels.lists) return unknown('rows have lists of labels');
  if (labels.names.length < 2) return unknown(`all rows have the label ${JSON.stringify(labels.names[0])}`);
  const { names, rare, examples, counts, tooLarge } = await readExamples(data, labels.names, options.folds);
  if (names.length < 2) return unknown(`fewer than two labels have ${options.folds} different texts, one for each fold`);
  if (tooLarge !== undefined) return unknown(tooLarge);

  const labelNumbers = Int32Array.from(examples, ({ label }) => label);
  const { folds } = options;
  const probabilities = await outOfFoldProbabilities(counts, labelNumbers, {
    fold: stratifiedFolds(examples, folds, random('folds', seed)),
    folds,
    classes: names.length,
    async fitted(models) {
      progress(models, folds, { 'label errors': `model ${models} of ${folds}` });
      // Messages leave, and Ctrl-C arrives.
      await setImmediate();
      signal.throwIfAborted();
    },
  });
  const given: LabelledProbabilities = { labels: labelNumbers, probabilities, classes: names.length };
  const errors = findLabelErrors(given, options.method);
  const predicted = examples.map((_, i) => mostProbable(given, i));
  const confidence = selfConfidence(given);
  const writing = await database.append('errors', [BIGINT, VARCHAR, DOUBLE]);
  for (const i of errors) writing.add(BigInt(examples[i]!.row), names[predicted[i]!]!, confidence[i]!);
  writing.close();
  const right = predicted.reduce((sum, label, i) => sum + Number(label === given.labels[i]), 0);
  findings.figure('label_errors', errors.length / rows);
  findings.figure('label_errors.accuracy', right / examples.length);
  findings.section('label_errors', {
    ...options,
    rows: errors.length,
    checked: examples.length,
    labels: names,
    left_out: rare,
    confident_joint: confidentJoint(given).calibrated,
    suggested: tallied(errors.map((i) => [names[given.labels[i]!]!, names[predicted[i]!]!])),
  });
  await findings.problem(
    'label_error',
    `SELECT row, 'the label is probably ' || to_json(suggested)::VARCHAR || '; ' || to_json(label)::VARCHAR || ' has a probability of '
       || printf('%.2f', quality) AS detail, quality AS rank FROM errors JOIN keyed USING (row)`,
  );
}

interface LabelledRow {
  row: number;
  /** Rows with the same number have the same text. */
  content: number;
  label: number;
}

/** Labels with fewer texts than folds are left out: nothing could be learned about them in each fold. */
async function readExamples({ database }: CheckedData, labels: string[], folds: number) {
  const enough = await database.rows<{ label: string; n: number }>(
    'SELECT label, count(DISTINCT hash) AS n FROM keyed WHERE label IS NOT NULL AND hash IS NOT NULL GROUP BY label',
  );
  const sizes = new Map(enough.map(({ label, n }) => [label, n]));
  const names = labels.filter((label) => (sizes.get(label) ?? 0) >= folds).sort();
  const numbers = new Map(names.map((name, i) => [name, i]));
  const found = database.stream<{ row: number; content: number; text: string; label: string }>(
    `SELECT row, content, __text AS text, keyed.label FROM bodies JOIN keyed ON __row = row JOIN contents USING (hash)
     WHERE keyed.label IS NOT NULL ORDER BY row`,
  );
  const examples: LabelledRow[] = [];
  const counts = new WordCounts();
  const rare = labels.filter((label) => !numbers.has(label));
  for await (const chunk of found)
    for (const { row, content, text, label: name } of chunk) {
      const label = numbers.get(name);
      if (label === undefined) continue;
      examples.push({ row, content, label });
      counts.add(text);
      const tooLarge = whyTooLarge(names.length, { words: counts.words, rows: examples.length });
      if (tooLarge !== undefined) return { names, rare, examples, counts, tooLarge };
    }
  return { names, rare, examples, counts };
}

/** Weights of the bag of words, each of which needs 136 bytes, and probabilities, each of which needs 8. */
const MOST_WEIGHTS = 10_000_000;
const MOST_PROBABILITIES = 100_000_000;

function whyTooLarge(labels: number, { words, rows }: { words: number; rows: number }): string | undefined {
  const outputs = labels === 2 ? 1 : labels;
  const why = (most: number, what: string) =>
    `${count(labels)} labels and more than ${count(Math.floor(most))} ${what} need too much memory for the bag of words`;
  if (words > MOST_WEIGHTS / outputs) return why(MOST_WEIGHTS / outputs, 'different words');
  return rows > MOST_PROBABILITIES / labels ? why(MOST_PROBABILITIES / labels, 'rows') : undefined;
}

/** Deals the texts of each label to the folds, in random order. Rows with the same text are in the same fold. */
function stratifiedFolds(examples: LabelledRow[], folds: number, uniform: () => number): Int32Array {
  const labels = new Map<number, number>();
  for (const { content, label } of examples) if (!labels.has(content)) labels.set(content, label);
  const drawn = [...labels].map(([content, label]) => ({ content, label, place: uniform() })).sort((a, b) => a.place - b.place);
  const dealt = new Map<number, number>();
  const foldOf = new Map<number, number>();
  for (const { content, label } of drawn) {
    const next = dealt.get(label) ?? 0;
    foldOf.set(content, next % folds);
    dealt.set(label, next + 1);
  }
  return Int32Array.from(examples, ({ content }) => foldOf.get(content)!);
}

function mostProbable({ probabilities, classes }: LabelledProbabilities, row: number): number {
  const own = probabilities.subarray(row * classes, (row + 1) * classes);
  return own.indexOf(Math.max(...own));
}

/** How often each pair of a given and a suggested label occurs, the most frequent first. */
function tallied(pairs: [given: string, suggested: string][]): { given: string; suggested: string; rows: number }[] {
  const counts = new Map<string, { given: string; suggested: string; rows: number }>();
  for (const [given, suggested] of pairs) {
    const key = JSON.stringify([given, suggested]);
    const one = counts.get(key) ?? { given, suggested, rows: 0 };
    one.rows++;
    counts.set(key, one);
  }
  return [...counts.values()].sort((a, b) => b.rows - a.rows);
}
