/** The rows of predictions: counts, scores and the examples that a report shows. Memory does not grow with the number of rows. */

import { Database, type Row } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { tableOf } from '../ml/data/table.ts';
import { type Curves, curvesOf } from '../ml/metrics/curves.ts';
import { shown } from './document.ts';
import { TEXT_COLUMNS } from './without-texts.ts';

/**
 * What the columns tell about the predictions: one label, a set of labels, a number, a tag for each word, an answer from a text, a
 * text that the model wrote, or the tokens of a language model.
 */
type Kind = 'label' | 'labels' | 'number' | 'tags' | 'answer' | 'written' | 'tokens' | 'other';

export interface PredictedExample {
  id: string;
  /** True and predicted values: one, or those of a list. */
  truth: string[];
  predicted: string[];
  score: number | null;
  loss: number | null;
  /** How many tokens a language model predicted. */
  tokens: number | null;
  /** The texts by column. */
  texts: Record<string, string>;
  /** How many characters of long texts were not read, by column. */
  unread: Record<string, number>;
  /** The words that have tags. */
  words?: string[];
}

/** What is wrong with rows of one group: a label predicted as another one, or a label of a set that is missing or too many. */
export type Confused = { label: string; prediction: string } | { missed: string } | { added: string };

export class PredictionTable {
  private constructor(
    private readonly database: Database,
    readonly columns: ReadonlySet<string>,
    readonly kind: Kind,
    readonly rows: number,
    /** The columns with texts that can be shown. */
    readonly texts: string[],
  ) {}

  /** @param data tables that may contain the texts, if the predictions do not */
  static async open(folder: string, data: readonly string[], fields: readonly string[]): Promise<PredictionTable> {
    const database = await Database.open();
    try {
      await database.run(`CREATE VIEW predicted AS SELECT * FROM ${tableOf(folder)}`);
      const own = await database.columns('predicted');
      const type = new Map(own.map(({ name, type }) => [name, type]));
      const { rows } = await database.row<{ rows: number }>('SELECT count(*) AS rows FROM predicted');
      const texts = (columns: { name: string; type: string }[]) =>
        columns
          .filter(
            ({ name, type }) =>
              type === 'VARCHAR' && (fields.includes(name) || name === 'completion' || (fields.length === 0 && TEXT_COLUMNS.test(name))),
          )
          .map(({ name }) => name);
      let shown = texts(own.filter(({ name }) => !OWN.has(name)));
      let from = 'SELECT predicted.* FROM predicted';
      for (const table of shown.length === 0 ? data : []) {
        const relation = tableOf(table);
        const others = texts(await database.columns(relation)).filter((name) => !type.has(name));
        if (others.length === 0) continue;
        const { found } = await database.row<{ found: number }>(
          `SELECT count(*) AS found FROM predicted WHERE id::VARCHAR IN (SELECT id::VARCHAR FROM ${relation})`,
        );
        if (found < rows) continue;
        from = `SELECT predicted.*, ${others.map((name) => `others.${quote(name)}`).join(', ')} FROM predicted LEFT JOIN ${relation} AS others ON others.id::VARCHAR = predicted.id::VARCHAR`;
        shown = others;
        break;
      }
      await database.run(`CREATE VIEW rows AS ${from}`);
      return new PredictionTable(database, new Set(type.keys()), kindOf(type), rows, shown);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  close(): void {
    this.database.close();
  }

  /** The labels, in sort order. */
  async labels(): Promise<string[]> {
    const all = await this.database.rows<{ label: string }>(
      this.kind === 'labels'
        ? 'SELECT DISTINCT unnest(map_keys(scores)) AS label FROM predicted ORDER BY label'
        : `SELECT DISTINCT label FROM (${this.#pairs(['label'])} UNION ALL ${this.#pairs(['prediction AS label'])}) WHERE label IS NOT NULL ORDER BY label`,
    );
    return all.map(({ label }) => label);
  }

  /** Rows are true labels, columns predicted ones. */
  async confusion(labels: string[]): Promise<number[][]> {
    const counts = labels.map(() => labels.map(() => 0));
    const places = new Map(labels.map((label, place) => [label, place]));
    const found = await this.database.rows<{ label: string; prediction: string; n: number }>(
      `SELECT label, prediction, count(*) AS n FROM (${this.#pairs(['label', 'prediction'])}) GROUP BY ALL`,
    );
    for (const { label, prediction, n } of found) {
      const [row, column] = [places.get(label), places.get(prediction)];
      if (row !== undefined && column !== undefined) counts[row]![column] = n;
    }
    return counts;
  }

  /** True and predicted labels, of words if they have tags. */
  #pairs(columns: string[]): string {
    const of = this.kind === 'tags' ? '(SELECT unnest(label) AS label, unnest(prediction) AS prediction FROM predicted)' : 'predicted';
    return `SELECT ${columns.join(', ')} FROM ${of}`;
  }

  /** How often each label of a set is predicted rightly and wrongly. */
  async setCounts(labels: string[]): Promise<{ hits: number; added: number; missed: number }[]> {
    const counts = labels.map(() => ({ hits: 0, added: 0, missed: 0 }));
    const found = await this.database.rows<{ name: string; kind: 'hits' | 'added' | 'missed'; n: number }>(
      `SELECT name, kind, count(*) AS n FROM (
         SELECT unnest(list_intersect(label, prediction)) AS name, 'hits' AS kind FROM predicted
         UNION ALL SELECT unnest(${without('prediction', 'label')}), 'added' FROM predicted
         UNION ALL SELECT unnest(${without('label', 'prediction')}), 'missed' FROM predicted) GROUP BY ALL`,
    );
    for (const { name, kind, n } of found) {
      const own = counts[labels.indexOf(name)];
      if (own) own[kind] = n;
    }
    return counts;
  }

  /** Predicted numbers by true ones: some rows, and ranges of the true number with about the same count. */
  async numbers(): Promise<{ points: [truth: number, prediction: number][]; ranges: NumberRange[] }> {
    const points = await this.database.rows<{ truth: number; prediction: number }>(
      `SELECT label::DOUBLE AS truth, prediction FROM predicted WHERE isfinite(label::DOUBLE) AND isfinite(prediction) ORDER BY hash(id), id LIMIT ${MOST_POINTS}`,
    );
    const ranges = await this.database.rows<NumberRange & Row>(
      `SELECT min(truth) AS low, max(truth) AS high, count(*) AS rows, avg(prediction) AS mean, avg((prediction - truth) ** 2) AS error
       FROM (SELECT label::DOUBLE AS truth, prediction, ntile(10) OVER (ORDER BY label::DOUBLE, id) AS part FROM predicted
             WHERE isfinite(label::DOUBLE) AND isfinite(prediction))
       GROUP BY part ORDER BY part`,
    );
    return { points: points.map(({ truth, prediction }) => [truth, prediction]), ranges };
  }

  /** The curves of a label against all others. */
  async curves(label: string): Promise<Curves | undefined> {
    if (!this.columns.has('scores')) return undefined;
    const name = literal(label);
    const truth = new Uint8Array(this.rows);
    const scores = new Float64Array(this.rows);
    let at = 0;
    const sql = `SELECT ${this.kind === 'labels' ? `list_contains(label, ${name})` : `label = ${name}`} AS is, scores[${name}] AS score FROM predicted`;
    for await (const chunk of this.database.stream<{ is: boolean; score: number | string | null }>(sql))
      for (const { is, score } of chunk) {
        truth[at] = is ? 1 : 0;
        scores[at++] = score === null ? Number.NaN : Number(score);
      }
    return curvesOf(truth, scores);
  }

  /** Bins of equal width by the score of the prediction. */
  async bins(count: number): Promise<{ confidence: number; accuracy: number; rows: number }[]> {
    if (this.kind !== 'label' || !this.columns.has('score') || !this.columns.has('correct')) return [];
    return this.database.rows(
      `SELECT avg(score) AS confidence, avg(correct::INTEGER) AS accuracy, count(*) AS rows
       FROM predicted WHERE score IS NOT NULL AND NOT isnan(score)
       GROUP BY least(${count - 1}, floor(score * ${count})) ORDER BY confidence`,
    );
  }

  /** The mistakes with the highest loss. */
  async worst(most: number): Promise<PredictedExample[]> {
    const wrong = this.columns.has('correct') ? 'WHERE NOT correct' : '';
    const order = ['loss', 'score'].find((name) => this.columns.has(name));
    return this.#examples(`${wrong} ORDER BY ${order ? `${order} DESC NULLS LAST, ` : ''}id LIMIT ${most}`);
  }

  /** The examples with the highest loss that are confused in this way. */
  confused(how: Confused, most: number): Promise<PredictedExample[]> {
    const order = this.columns.has('loss') ? 'loss DESC NULLS LAST, ' : '';
    return this.#examples(`WHERE ${this.#where(how)} ORDER BY ${order}id LIMIT ${most}`);
  }

  #where(how: Confused): string {
    if ('missed' in how) return `list_contains(label, ${literal(how.missed)}) AND NOT list_contains(prediction, ${literal(how.missed)})`;
    if ('added' in how) return `list_contains(prediction, ${literal(how.added)}) AND NOT list_contains(label, ${literal(how.added)})`;
    const same = `label = ${literal(how.label)} AND prediction = ${literal(how.prediction)}`;
    if (this.kind !== 'tags') return same;
    return `id IN (SELECT id FROM (SELECT id, unnest(label) AS label, unnest(prediction) AS prediction FROM predicted) WHERE ${same})`;
  }

  /** Some rows, spread over the table. */
  async some(most: number): Promise<PredictedExample[]> {
    const step = Math.max(1, Math.floor(this.rows / most));
    return this.#examples(`QUALIFY (row_number() OVER (ORDER BY id) - 1) % ${step} = 0 ORDER BY id LIMIT ${most}`);
  }

  async wrong(): Promise<number | undefined> {
    if (!this.columns.has('correct')) return undefined;
    return (await this.database.row<{ n: number }>('SELECT count(*) AS n FROM predicted WHERE NOT correct')).n;
  }

  async #examples(rest: string): Promise<PredictedExample[]> {
    const own = (name: string) => (this.columns.has(name) ? name : `NULL AS ${name}`);
    const number = (name: string) => (this.columns.has(name) ? `${name}::DOUBLE AS ${name}` : `NULL::DOUBLE AS ${name}`);
    const texts = this.texts.flatMap((name, i) => [
      `left(${quote(name)}, ${LONGEST}) AS t${i}`,
      `greatest(0, length(${quote(name)}) - ${LONGEST}) AS unread${i}`,
    ]);
    const columns = [
      'id::VARCHAR AS id',
      ...['label', 'prediction', 'words'].map(own),
      ...['score', 'loss'].map(number),
      this.kind === 'tokens' ? number('tokens') : 'NULL::DOUBLE AS tokens', // a column of the data may have this name
      ...texts,
    ];
    const found = await this.database.rows<Row>(`SELECT ${columns.join(', ')} FROM rows ${rest}`);
    return found.map((row) => ({
      id: String(row.id),
      truth: values(row.label),
      predicted: values(row.prediction),
      score: finite(row.score),
      loss: finite(row.loss),
      tokens: finite(row.tokens),
      texts: Object.fromEntries(this.texts.flatMap((name, i) => (row[`t${i}`] === null ? [] : [[name, String(row[`t${i}`])]]))),
      unread: Object.fromEntries(this.texts.map((name, i) => [name, Number(row[`unread${i}`] ?? 0)])),
      ...(Array.isArray(row.words) && { words: row.words.map(String) }),
    }));
  }
}

/** A range of true numbers, with the mean prediction and the mean squared error. */
export interface NumberRange {
  low: number;
  high: number;
  rows: number;
  mean: number;
  error: number;
}

/** The labels of one list that the other one does not have. */
const without = (list: string, other: string): string => `list_filter(${list}, lambda name: NOT list_contains(${other}, name))`;

const MOST_POINTS = 500;

/** Characters of a text that are read: more than a report shows, because the model may read more. */
const LONGEST = 20_000;

/** Columns that evaluate writes. */
const OWN = new Set([
  'id',
  'split',
  'label',
  'prediction',
  'score',
  'scores',
  'loss',
  'correct',
  'exact_match',
  'f1',
  'tokens',
  'accuracy',
]);

function kindOf(types: ReadonlyMap<string, string>): Kind {
  const [label, prediction] = [types.get('label'), types.get('prediction')];
  const scored = types.has('scores');
  if (prediction === 'DOUBLE') return 'number';
  if (prediction === 'VARCHAR[]') return scored ? 'labels' : types.has('words') ? 'tags' : 'other';
  if (prediction === 'VARCHAR' && label === 'VARCHAR') return scored ? 'label' : types.has('score') ? 'other' : 'written';
  if (prediction === 'VARCHAR' && label === 'VARCHAR[]') return 'answer';
  return prediction === undefined && types.has('tokens') ? 'tokens' : 'other';
}

const finite = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null);

function values(value: Row[string] | undefined): string[] {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value.map(String);
  return [typeof value === 'number' ? shown(value) : String(value)];
}
