/**
 * Counterfactual tests: terms in the texts are swapped, such as he and she, and the model answers again, as `predict`
 * does. An answer should not depend on these terms. Both texts of a pair are answered in the same way.
 */

import { type Json, StepError } from '../../engine/contract/step.ts';
import { answerAll } from '../ml/answering/answer-all.ts';
import { type Bundle, openBundle } from '../ml/answering/bundle.ts';
import { readPreprocessing, remainingSteps } from '../ml/data/preprocessing.ts';
import { quote } from '../ml/data/sql.ts';
import { type Swap, swapOf } from '../ml/data/terms.ts';
import { mean } from '../ml/metrics/counts.ts';
import { wilsonInterval } from '../ml/metrics/proportions.ts';
import type { CounterfactualExample, CounterfactualReport } from '../ml/metrics/subgroup-report.ts';
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
  /** Of the interval; undefined if there is to be none. */
  level: number | undefined;
  signal: AbortSignal;
  progress(done: number): void;
}

/** Where an answer has its scores. */
type ScoredAnswer = Record<string, Json> & { label?: string; labels?: string[]; score?: number; scores?: Record<string, number> };

/** Checks the task and the columns. */
export async function checkCounterfactual(predictions: Pick<PredictedRows, 'columns' | 'withData'>, model: string) {
  const bundle = await openBundle(model);
  if (bundle.task !== 'text-classification')
    throw new StepError(`\`counterfactual\` does not apply to ${bundle.task}`, 'It needs a text classifier. Remove it.', [
      'counterfactual',
    ]);
  return { bundle, fields: fieldsOf(bundle, predictions) };
}

export async function counterfactualTest(options: CounterfactualOptions, surroundings: Surroundings): Promise<CounterfactualReport> {
  const { predictions, model, data, threads, signal } = surroundings;
  const { bundle, fields } = await checkCounterfactual(predictions, model);
  const preprocessing = remainingSteps(bundle.preprocessing, await readPreprocessing(data));
  const swap = swapOf(options.swap.terms);
  const tally = new Tally(swap, bundle.problem === 'regression', options.examples ?? 20);
  // The answers to a group of pairs come when the next group has been read.
  const asked: Pair[][] = [];
  async function* questions(): AsyncGenerator<Input[]> {
    for await (const pairs of pairsIn(predictions, fields, swap)) {
      asked.push(pairs);
      yield pairs.flatMap(({ input, swapped }) => [input, swapped]);
    }
  }
  for await (const answers of answerAll({ ...bundle, preprocessing }, questions(), { threads, signal })) {
    for (const [i, pair] of asked.shift()!.entries()) tally.add(pair, answered(answers[2 * i]!, pair), answered(answers[2 * i + 1]!, pair));
    surroundings.progress(tally.rows);
  }
  return tally.report(surroundings.level);
}

/** The columns of the fields that the model reads. Groups, on which thresholds depend, are no texts to swap. */
function fieldsOf({ fields, encoding }: Bundle, predictions: Pick<PredictedRows, 'columns' | 'withData'>): FieldColumn[] {
  const columns = fields.map(({ name, group = false }) => ({ name, group, column: encoding.fields?.[name] ?? name }));
  const present = columns.filter(({ name, column }) => name !== 'text_pair' || predictions.columns.some((one) => one.name === column));
  for (const { column } of present) requireSliceColumn(predictions, column, ['counterfactual']);
  return present;
}

interface FieldColumn {
  name: string;
  column: string;
  group: boolean;
}

function answered(answer: Json | StepError, { id }: Pair): ScoredAnswer {
  if (answer instanceof StepError) throw new StepError(`counterfactual: row ${id}: ${answer.message}`, answer.hint, ['counterfactual']);
  return answer as ScoredAnswer;
}

interface Pair {
  id: string;
  input: Input;
  swapped: Input;
  made: number[];
}

/** The rows with a term, and their swapped copies, in groups. */
async function* pairsIn({ database, table }: PredictedRows, fields: FieldColumn[], swap: Swap): AsyncGenerator<Pair[]> {
  const columns = fields.map(({ column }, i) => `coalesce(${quote(column)}::VARCHAR, '') AS f${i}`);
  for await (const chunk of database.stream<Record<string, string>>(`SELECT id, ${columns.join(', ')} FROM ${table}`)) {
    const pairs = chunk.flatMap((row): Pair[] => {
      const input: Input = Object.fromEntries(fields.map(({ name }, i) => [name, row[`f${i}`]!]));
      const swaps = fields.map(({ name, group }) => (group ? undefined : swap.apply(input[name]!)));
      const made = [...new Set(swaps.flatMap((one) => one?.made ?? []))];
      if (made.length === 0) return [];
      const swapped = Object.fromEntries(fields.map(({ name }, i) => [name, swaps[i]?.text ?? input[name]!]));
      return [{ id: row.id!, input, swapped, made }];
    });
    if (pairs.length > 0) yield pairs;
  }
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
    this.#ofSwap = swap.directions.map(() => ({ rows: 0, changed: 0, changes: 0, shift: Object.create(null) }));
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

  /** Equal texts are one example. */
  #keepLargest(): void {
    const seen = new Set<string>();
    this.#examples = this.#examples
      .sort((a, b) => Number(b.changed) - Number(a.changed) || b.change - a.change || (a.id < b.id ? -1 : 1))
      .filter(({ text }) => {
        const key = JSON.stringify(text);
        return !seen.has(key) && seen.add(key);
      })
      .slice(0, this.most);
  }

  report(level: number | undefined): CounterfactualReport {
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
        : level !== undefined && { interval: wilsonInterval({ hits: this.#changed, rows: this.rows }, level) }),
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
