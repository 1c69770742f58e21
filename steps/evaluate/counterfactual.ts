/**
 * Counterfactual tests: terms in the texts are swapped, such as he and she, and the model answers again, as `predict`
 * does. An answer should not depend on these terms. Both texts of a pair are answered in the same way.
 */

import { type Json, StepError } from '../../engine/contract/step.ts';
import { type Answer, openAnswer } from '../ml/answering/answer.ts';
import { openBundle } from '../ml/answering/bundle.ts';
import { readPreprocessing, remainingSteps } from '../ml/data/preprocessing.ts';
import { quote } from '../ml/data/sql.ts';
import { type Swap, swapOf } from '../ml/data/terms.ts';
import { mean } from '../ml/metrics/counts.ts';
import { wilsonInterval } from '../ml/metrics/proportions.ts';
import type { CounterfactualExample, CounterfactualReport } from '../ml/metrics/subgroups.ts';
import type { Input } from '../ml/tasks/task.ts';
import { type PredictedRows, requireSliceColumn } from './slice-rows.ts';

interface CounterfactualOptions {
  swap: { terms: string[][] };
  examples?: number;
}

interface Surroundings {
  predictions: PredictedRows;
  /** The model folder. */
  model: string;
  /** The data that the texts come from. */
  data: string;
  threads: number;
  batchSize: number;
  /** Of the interval. */
  level: number;
  signal: AbortSignal;
  progress(done: number): void;
}

/** Where an answer has its scores. */
type ScoredAnswer = Record<string, Json> & { label?: string; labels?: string[]; score?: number; scores?: Record<string, number> };

export async function counterfactualTest(options: CounterfactualOptions, surroundings: Surroundings): Promise<CounterfactualReport> {
  const { predictions, model, data } = surroundings;
  const bundle = await openBundle(model);
  if (bundle.task !== 'text-classification')
    throw new StepError(`\`counterfactual\` does not apply to ${bundle.task}`, 'It needs a text classifier. Remove it.', [
      'counterfactual',
    ]);
  const fields = bundle.fields.map(({ name, group }) => ({ name, column: bundle.encoding.fields?.[name] ?? name, swapped: !group }));
  const used = fields.filter(({ name, column }) => name === 'text' || predictions.columns.some((one) => one.name === column));
  for (const { column } of used) requireSliceColumn(predictions, column, ['counterfactual']);
  const preprocessing = remainingSteps(bundle.preprocessing, await readPreprocessing(data));
  const answer = await openAnswer({ ...bundle, preprocessing }, surroundings.threads);
  const swap = swapOf(options.swap.terms);
  const tally = new Tally(swap, bundle.problem === 'regression', options.examples ?? 20);
  let pending: Pair[] = [];
  const flush = async () => {
    const inputs = pending.flatMap(({ input, swapped }) => [input, swapped]);
    const answers = await answersOf(answer, inputs, surroundings.batchSize);
    for (const [i, pair] of pending.entries()) tally.add(pair, answers[2 * i]!, answers[2 * i + 1]!);
    surroundings.progress(tally.rows);
    pending = [];
  };
  for await (const pair of pairsIn(predictions, used, swap)) {
    surroundings.signal.throwIfAborted();
    pending.push(pair);
    if (pending.length >= 8 * surroundings.batchSize) await flush();
  }
  await flush();
  return tally.report(surroundings.level);
}

interface Pair {
  id: string;
  input: Input;
  swapped: Input;
  made: number[];
}

interface PairField {
  name: string;
  column: string;
  /** Whether it is a text, in which terms are swapped. */
  swapped: boolean;
}

/** The rows with a term, and their swapped copies. */
async function* pairsIn({ database, table }: PredictedRows, fields: PairField[], swap: Swap): AsyncGenerator<Pair> {
  const columns = fields.map(({ column }, i) => `coalesce(${quote(column)}::VARCHAR, '') AS f${i}`);
  for await (const chunk of database.stream<Record<string, string>>(`SELECT id, ${columns.join(', ')} FROM ${table}`))
    for (const row of chunk) {
      const input: Input = Object.fromEntries(fields.map(({ name }, i) => [name, row[`f${i}`]!]));
      const swaps = fields.map(({ name, swapped }) => (swapped ? swap.apply(input[name]!) : undefined));
      const made = [...new Set(swaps.flatMap((one) => one?.made ?? []))];
      if (made.length === 0) continue;
      const swapped = Object.fromEntries(fields.map(({ name }, i) => [name, swaps[i]?.text ?? input[name]!]));
      yield { id: row.id!, input, swapped, made };
    }
}

/** In batches of similar lengths. */
async function answersOf(answer: Answer, inputs: Input[], batchSize: number): Promise<ScoredAnswer[]> {
  const encoded = await Promise.all(inputs.map((input) => answer.encode(input)));
  const order = encoded
    .map(({ sequences }, i) => ({ i, sequence: sequences[0]! }))
    .sort((a, b) => a.sequence.ids.length - b.sequence.ids.length);
  const answers: ScoredAnswer[] = new Array(inputs.length);
  for (let from = 0; from < order.length; from += batchSize) {
    const batch = order.slice(from, from + batchSize);
    const results = await answer.run(batch.map(({ sequence }) => sequence));
    for (const [k, { i }] of batch.entries()) answers[i] = (await answer.conclude(encoded[i]!, [results[k]])) as ScoredAnswer;
  }
  return answers;
}

/** Adds up the changes, and keeps the largest as examples. */
class Tally {
  rows = 0;
  readonly #changes: number[] = [];
  #changed = 0;
  readonly #ofSwap: { rows: number; changed: number; changes: number; shift: Record<string, number> }[];
  #examples: CounterfactualExample[] = [];

  constructor(
    private readonly swap: Swap,
    private readonly regression: boolean,
    private readonly most: number,
  ) {
    this.#ofSwap = swap.directions.map(() => ({ rows: 0, changed: 0, changes: 0, shift: {} }));
  }

  add({ id, input, swapped, made }: Pair, before: ScoredAnswer, after: ScoredAnswer): void {
    const shift = shiftOf(before, after);
    const change = Math.max(...Object.values(shift).map(Math.abs));
    const changed = !this.regression && JSON.stringify(labelsOf(before)) !== JSON.stringify(labelsOf(after));
    this.rows++;
    this.#changes.push(change);
    if (changed) this.#changed++;
    for (const direction of made) {
      const own = this.#ofSwap[direction]!;
      own.rows++;
      own.changes += change;
      if (changed) own.changed++;
      for (const [label, value] of Object.entries(shift)) own.shift[label] = (own.shift[label] ?? 0) + value;
    }
    const differing = Object.keys(input).filter((name) => input[name] !== swapped[name]);
    const only = (texts: Input) => Object.fromEntries(differing.map((name) => [name, texts[name]!]));
    this.#examples.push({ id, text: only(input), swapped: only(swapped), before, after, changed, change });
    if (this.#examples.length > 4 * this.most + 100) this.#keepLargest();
  }

  #keepLargest(): void {
    this.#examples.sort((a, b) => Number(b.changed) - Number(a.changed) || b.change - a.change || (a.id < b.id ? -1 : 1));
    this.#examples.length = Math.min(this.#examples.length, this.most);
  }

  report(level: number): CounterfactualReport {
    this.#keepLargest();
    if (this.rows === 0) {
      const why = 'no text contains a term of `counterfactual.swap`';
      const all = { changed: why, mean_change: why, max_change: why };
      return { rows: 0, changed: null, mean_change: null, max_change: null, undefined: all, swaps: [], examples: [] };
    }
    const share = (changed: number, rows: number) => (this.regression ? null : changed / rows);
    return {
      rows: this.rows,
      changed: share(this.#changed, this.rows),
      ...(this.regression
        ? { undefined: { changed: 'a regression predicts numbers, not labels' } }
        : { interval: wilsonInterval({ hits: this.#changed, rows: this.rows }, level) }),
      mean_change: mean(this.#changes),
      max_change: this.#changes.reduce((most, change) => Math.max(most, change), 0),
      swaps: this.#ofSwap.flatMap(({ rows, changed, changes, shift }, i) => {
        const [from, to] = this.swap.directions[i]!;
        const mean = Object.fromEntries(Object.entries(shift).map(([label, sum]) => [label, sum / rows]));
        return rows === 0 ? [] : [{ from, to, rows, changed: share(changed, rows), mean_change: changes / rows, shift: mean }];
      }),
      examples: this.#examples,
    };
  }
}

const labelsOf = ({ label, labels }: ScoredAnswer): Json => label ?? labels ?? null;

/** The change of each score. */
function shiftOf(before: ScoredAnswer, after: ScoredAnswer): Record<string, number> {
  const [one, other] = [before, after].map(({ scores, score }) => scores ?? { score: score! });
  return Object.fromEntries(Object.keys(one!).map((name) => [name, other![name]! - one![name]!]));
}
