/**
 * `compare`: the predictions of another model on the same examples. Paired tests show, for each metric, whether the difference
 * between the models may be due to chance.
 */

import { type ContextOf, type Json, StepError } from '../../engine/contract/step.ts';
import { Database } from '../ml/data/database.ts';
import { quote } from '../ml/data/sql.ts';
import { tableOf } from '../ml/data/table.ts';
import { bootstrapOptions } from '../ml/metrics/interval-options.ts';
import { endsIn, within } from '../ml/metrics/intervals.ts';
import { type ComparedMetric, type ComparisonReport, type PairedTest, pairedTests, testInWords } from '../ml/metrics/paired-tests.ts';
import { whyUndefined } from '../ml/metrics/undefined-metrics.ts';
import type { ProblemType, Task } from '../ml/models/config.ts';
import type { Split } from '../ml/models/token-dataset.ts';
import { betterOf, LANGUAGE_METRICS } from '../ml/tasks/metrics.ts';
import { allRows, type UnitsOf } from '../ml/tasks/resampling.ts';
import { isShareOfRows, needsScores, openScorer, type ScoredAnswers, type Scorer } from '../ml/tasks/scorer.ts';
import type step from './step.ts';
import type { Subgroups } from './subgroups.ts';

type Context = ContextOf<typeof step>;

/** What is compared with the other predictions. */
interface Compared {
  task: Task;
  problem: ProblemType;
  labels: string[];
  /** All metrics, also those of generated texts. */
  metrics: readonly string[];
  split: Split;
}

const OPTION = ['compare', 'predictions'];

const SAME_SPLIT = 'Both models must be evaluated on the same split of the same data.';

const refuse = (message: string, hint: string): StepError => new StepError(`compare: ${message}`, hint, OPTION);

/** Checks the other predictions before the long work: their columns, and that they have the rows of the split. */
export async function checkCompared({ inputs, options }: Context, { split, ...compared }: Compared): Promise<void> {
  const other = inputs['compare.predictions'];
  if (other === undefined) return;
  const database = await Database.open();
  try {
    const table = tableOf(other);
    const types = new Map((await database.columns(table)).map(({ name, type }) => [name, type]));
    for (const [name, type] of [['id', undefined] as const, ...columnsOf(compared)])
      if (type === undefined ? !types.has(name) : types.get(name) !== type)
        throw refuse(
          `the other predictions have ${types.has(name) ? `${types.get(name)} in the column` : 'no column'} \`${name}\`${type ? `, and ${compared.metrics.join(', ')} of ${compared.task} need ${type}` : ''}`,
          'Give the output `predictions` of an evaluate step for the same task and with the same `metrics`.',
        );
    await requireSameRows(database, table, split, options.split);
    openScorer(await scoredBy(database, table, compared, options.positive));
  } finally {
    database.close();
  }
}

/** The columns that the metrics need, with their types. */
function columnsOf(compared: Omit<Compared, 'split'>): [string, string][] {
  const { task, problem, metrics } = compared;
  const ofTokens: [string, string][] = ['tokens', 'loss', 'accuracy'].map((name) => [name, name === 'tokens' ? 'BIGINT' : 'DOUBLE']);
  const correct: [string, string] = ['correct', 'BOOLEAN'];
  const scores: [string, string][] = needsScores(compared) ? [['scores', 'MAP(VARCHAR, DOUBLE)']] : [];
  const labelled = (label: string, prediction: string): [string, string][] => [
    ['label', label],
    ['prediction', prediction],
  ];
  if (task === 'masked-lm' || task === 'causal-lm') return ofTokens;
  if (task === 'seq2seq')
    return [
      ['label', 'VARCHAR'],
      ...(metrics.some((name) => !LANGUAGE_METRICS.includes(name)) ? [...labelled('VARCHAR', 'VARCHAR'), correct] : []),
      ...(metrics.some((name) => LANGUAGE_METRICS.includes(name)) ? ofTokens : []),
    ];
  if (task === 'question-answering') return [...labelled('VARCHAR[]', 'VARCHAR'), correct];
  if (task === 'token-classification') return labelled('VARCHAR[]', 'VARCHAR[]');
  if (problem === 'regression') return labelled('DOUBLE', 'DOUBLE');
  if (problem === 'multi_label_classification') return [...labelled('VARCHAR[]', 'VARCHAR[]'), correct, ...scores];
  return [...labelled('VARCHAR', 'VARCHAR'), correct, ...scores];
}

async function requireSameRows(database: Database, table: string, split: Split, name: string): Promise<void> {
  const others = new Set<string>();
  for await (const chunk of database.stream<{ id: string }>(`SELECT id::VARCHAR AS id FROM ${table}`))
    for (const { id } of chunk) {
      if (others.has(id)) throw refuse(`the other predictions have the row ${id} several times`, 'Each row needs an `id` of its own.');
      others.add(id);
    }
  const lacking: string[] = [];
  for await (const { id } of split.examples()) if (!others.delete(id)) lacking.push(id);
  if (lacking.length > 0)
    throw refuse(
      `the other predictions lack ${lacking.length} of ${split.rows} rows of the split ${name}, such as ${lacking[0]}`,
      SAME_SPLIT,
    );
  const [first] = others;
  if (first !== undefined)
    throw refuse(`the other predictions have rows that the split ${name} does not have: ${others.size}, such as ${first}`, SAME_SPLIT);
}

/** The labels are those of both models, because they may differ. */
async function scoredBy(
  database: Database,
  table: string,
  { labels, ...compared }: Omit<Compared, 'split'>,
  positive: string | undefined,
): Promise<ScoredAnswers> {
  const { task, problem } = compared;
  const scored = { ...compared, labels, positive, option: ['compare'] };
  if (task !== 'text-classification' || problem === 'regression') return scored;
  const lists = problem === 'multi_label_classification';
  const used = lists ? 'list_concat(label, prediction)' : '[label, prediction]';
  const others = await database.rows<{ name: string }>(
    `SELECT DISTINCT unnest(list_concat(${used}, ${needsScores(scored) ? 'map_keys(scores)' : '[]'})) AS name FROM ${table} ORDER BY ALL`,
  );
  return { ...scored, labels: [...new Set([...labels, ...others.map(({ name }) => name)])] };
}

/** Compares both tables of predictions. Undefined without the option. */
export async function comparePredictions(
  { inputs, outputs, options, log }: Context,
  { unitsOf, split, ...compared }: Compared & { unitsOf: UnitsOf },
): Promise<Subgroups | undefined> {
  if (inputs['compare.predictions'] === undefined) return undefined;
  const database = await Database.open();
  try {
    const [own, other] = [tableOf(outputs.predictions!), tableOf(inputs['compare.predictions'])] as const;
    const scored = await scoredBy(database, other, compared, options.positive);
    const [first, second] = [openScorer(scored), openScorer(scored)];
    const correct = [[], []] as [boolean[], boolean[]];
    const different = new Differences(scored);
    for await (const row of rowsOf(database, own, other)) {
      different.note(row);
      for (const [k, scorer] of [second, first].entries()) {
        const { label, writable, prediction, ...rest } = row.sides[k]!;
        scorer.add(compared.task === 'seq2seq' ? [writable ?? label!] : label!, answerOf(compared, prediction!, rest));
        correct[k]!.push(rest.correct === true);
      }
    }
    const bootstrap = { ...bootstrapOptions(options.intervals || {})!, method: 'percentile' } as const;
    const { stratify: _, ...drawn } = bootstrap;
    const units = unitsOf(allRows(split));
    const tests = pairedTests(first.metrics, second.metrics, {
      correct: (metric) => (isShareOfRows(compared, metric) ? { first: correct[1], second: correct[0] } : undefined),
      units,
      options: drawn,
    });
    const metrics = Object.fromEntries(
      compared.metrics.map((name) => [
        name,
        comparedMetric(name, tests[name]!, {
          task: compared.task,
          incomparable: different.reasonAgainst(name),
          own: second,
          others: first,
        }),
      ]),
    );
    const { level, resamples, seed } = drawn;
    const report: ComparisonReport = { rows: split.rows, level, resamples, seed, metrics };
    log(`compared with the other predictions, on ${split.rows} rows:`);
    for (const [name, one] of Object.entries(metrics)) log(`  ${inWords(name, one)}`);
    return { figures: figuresOf(metrics), fields: { comparison: report as unknown as Json } };
  } finally {
    database.close();
  }
}

type Side = Record<string, Json>;

interface Pair {
  id: string;
  /** Of the evaluated model, and of the other one. */
  sides: [Side, Side];
}

/** In the order of the split. */
async function* rowsOf(database: Database, own: string, other: string): AsyncGenerator<Pair> {
  const read = ['label', 'writable', 'prediction', 'scores', 'correct', 'tokens', 'loss', 'accuracy'];
  const [ofOwn, ofOther] = await Promise.all(
    [own, other].map(async (table) => {
      const names = new Set((await database.columns(table)).map(({ name }) => name));
      return read.filter((name) => names.has(name));
    }),
  );
  const select = [
    ...ofOwn!.map((name) => `own.${quote(name)} AS ${quote(`own_${name}`)}`),
    ...ofOther!.map((name) => `other.${quote(name)} AS ${quote(`other_${name}`)}`),
  ];
  const sql = `SELECT own.id AS id, ${select.join(', ')}
    FROM (SELECT *, row_number() OVER () AS place FROM ${own}) AS own JOIN ${other} AS other ON own.id = other.id::VARCHAR ORDER BY place`;
  const sideOf = (row: Record<string, Json>, names: string[], prefix: string): Side =>
    Object.fromEntries(names.map((name) => [name, row[prefix + name]!]));
  for await (const chunk of database.stream<Record<string, Json>>(sql))
    for (const row of chunk) yield { id: row.id as string, sides: [sideOf(row, ofOwn!, 'own_'), sideOf(row, ofOther!, 'other_')] };
}

/** As `predict` answers. */
function answerOf({ task, problem }: Pick<Compared, 'task' | 'problem'>, prediction: Json, { scores, ...rest }: Side): Json {
  if (task === 'question-answering') return { answer: prediction };
  if (task === 'token-classification') return { tags: prediction };
  if (task !== 'text-classification') return { ...rest, text: prediction };
  if (problem === 'regression') return { score: prediction };
  return { [problem === 'multi_label_classification' ? 'labels' : 'label']: prediction, scores: scores! };
}

/** What makes rows incomparable. */
class Differences {
  #tokens: string | undefined;

  constructor(private readonly compared: Pick<ScoredAnswers, 'task' | 'problem'>) {}

  /** Throws if the labels differ. */
  note({ id, sides: [own, other] }: Pair): void {
    if (own.label !== undefined && !this.#same(own.label, other.label!))
      throw refuse(
        `the row ${id} has the label ${JSON.stringify(own.label)}, but ${JSON.stringify(other.label)} in the other predictions`,
        'Both models must be evaluated with the same true labels.',
      );
    if (own.tokens !== other.tokens)
      this.#tokens ??= `the models predict different tokens: in the row ${id}, ${own.tokens}, and the other model ${other.tokens}`;
  }

  #same(a: Json, b: Json): boolean {
    if (typeof a === 'number' && typeof b === 'number') return Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a));
    // Labels and accepted answers have no order.
    const ordered = (value: Json) => (Array.isArray(value) && this.compared.task !== 'token-classification' ? value.toSorted() : value);
    return JSON.stringify(ordered(a)) === JSON.stringify(ordered(b));
  }

  /** Why the metric of the models cannot be compared. */
  reasonAgainst(metric: string): string | undefined {
    const ofTokens = !['text-classification', 'token-classification'].includes(this.compared.task) && LANGUAGE_METRICS.includes(metric);
    return ofTokens ? this.#tokens : undefined;
  }
}

interface Models {
  task: Task;
  incomparable: string | undefined;
  own: Scorer;
  others: Scorer;
}

function comparedMetric(name: string, test: PairedTest, { task, incomparable, own, others }: Models): ComparedMetric {
  const { first: other, second: value, difference, interval, p, mcnemar } = test;
  const reasons = [
    { of: 'this model', value, scorer: own },
    { of: 'the other model', value: other, scorer: others },
  ].flatMap(({ of, value, scorer }) =>
    Number.isFinite(value) ? [] : [`${name} of ${of} is undefined: ${whyUndefined(name, value, task, scorer.why?.(name))}`],
  );
  const why = incomparable ?? reasons[0];
  const about = {
    value: orNull(value),
    other: orNull(other),
    test: test.test,
    ...(mcnemar && { exact: mcnemar.exact, only_this: mcnemar.onlySecond, only_other: mcnemar.onlyFirst }),
  };
  if (why !== undefined) return { ...about, difference: null, interval: { low: null, high: null }, p: null, undefined: why };
  return { ...about, difference, interval: endsIn(interval), p, ...(interval.why !== undefined && { no_interval: interval.why }) };
}

const orNull = (value: number): number | null => (Number.isFinite(value) ? value : null);

function figuresOf(metrics: Record<string, ComparedMetric>): Subgroups['figures'] {
  return Object.fromEntries(
    Object.entries(metrics).flatMap(([name, { difference, interval, p, undefined: why, no_interval: noInterval }]) => [
      [`difference.${name}`, { value: difference, better: betterOf(name), interval, undefined: why, noInterval: noInterval ?? why }],
      [`difference.${name}.p`, { value: p, undefined: why }],
    ]),
  );
}

function inWords(name: string, { value, other, difference, interval, p, undefined: why, ...test }: ComparedMetric): string {
  if (difference === null) return `${name}: not compared, because ${why}`;
  return `${name} ${within(value)}, other ${within(other)}: difference ${within(difference, interval)}, p ${p!.toPrecision(2)} (${testInWords(test)})`;
}
