/** The rows of predictions: counts, scores and the examples that a report shows. Memory does not grow with the number of rows. */

import { Database, type Row } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { tableOf } from '../ml/data/table.ts';
import { type Curves, curvesOf } from '../ml/metrics/curves.ts';

/** What the columns tell about the predictions. */
type Kind = 'label' | 'labels' | 'number' | 'other';

export interface PredictedExample {
  id: string;
  label: string;
  prediction: string;
  score: number | null;
  loss: number | null;
  /** The texts by column. */
  texts: Record<string, string>;
}

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
          .filter(({ name, type }) => type === 'VARCHAR' && (fields.includes(name) || (fields.length === 0 && TEXTS.test(name))))
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
        : 'SELECT DISTINCT label FROM (SELECT label FROM predicted UNION ALL SELECT prediction AS label FROM predicted) ORDER BY label',
    );
    return all.map(({ label }) => label);
  }

  /** Rows are true labels, columns predicted ones. */
  async confusion(labels: string[]): Promise<number[][]> {
    const counts = labels.map(() => labels.map(() => 0));
    const found = await this.database.rows<{ label: string; prediction: string; n: number }>(
      'SELECT label, prediction, count(*) AS n FROM predicted GROUP BY ALL',
    );
    for (const { label, prediction, n } of found) {
      const [row, column] = [labels.indexOf(label), labels.indexOf(prediction)];
      if (row >= 0 && column >= 0) counts[row]![column] = n;
    }
    return counts;
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

  /** The examples of one cell of the confusion matrix with the highest loss. */
  cell(label: string, prediction: string, most: number): Promise<PredictedExample[]> {
    const order = this.columns.has('loss') ? 'loss DESC NULLS LAST, ' : '';
    return this.#examples(`WHERE label = ${literal(label)} AND prediction = ${literal(prediction)} ORDER BY ${order}id LIMIT ${most}`);
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
    const text = (name: string) => (this.columns.has(name) ? `CASE WHEN ${name} IS NULL THEN NULL ELSE ${name} END` : 'NULL');
    const number = (name: string) => (this.columns.has(name) ? `${name}::DOUBLE` : 'NULL::DOUBLE');
    const texts = this.texts.map((name, i) => `left(${quote(name)}, ${LONGEST}) AS t${i}`);
    const words = this.columns.has('words') ? ['words'] : [];
    const found = await this.database.rows<Row>(
      `SELECT id::VARCHAR AS id, ${text('label')} AS label, ${text('prediction')} AS prediction, ${number('score')} AS score, ${number('loss')} AS loss
       ${[...texts, ...words].map((sql) => `, ${sql}`).join('')} FROM rows ${rest}`,
    );
    return found.map((row) => ({
      id: String(row.id),
      label: written(row.label),
      prediction: written(row.prediction),
      score: finite(row.score),
      loss: finite(row.loss),
      texts: Object.fromEntries([
        ...this.texts.flatMap((name, i) => (row[`t${i}`] === null ? [] : [[name, String(row[`t${i}`])]])),
        ...(Array.isArray(row.words) && this.texts.length === 0 ? [['words', row.words.map(String).join(' ')]] : []),
      ]),
    }));
  }
}

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

/** Names of columns of texts, if no model tells them. */
const TEXTS = /^(text|text_pair|body|subject|question|context|prompt|document|sentence\d?|source|title|premise|hypothesis|input)$/i;

function kindOf(types: ReadonlyMap<string, string>): Kind {
  const [label, prediction] = [types.get('label'), types.get('prediction')];
  if (prediction === 'VARCHAR' && label === 'VARCHAR' && types.has('scores')) return 'label';
  if (prediction === 'VARCHAR[]' && types.has('scores')) return 'labels';
  if (prediction === 'DOUBLE') return 'number';
  return 'other';
}

const finite = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null);

function written(value: Row[string] | undefined): string {
  if (value === null || value === undefined) return '';
  if (Array.isArray(value)) return value.map(String).join(', ');
  return String(value);
}
