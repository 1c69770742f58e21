/**
 * Checks the options that read the predictions before the model runs: on a table that has their columns and no rows, so
 * that a wrong column or expression costs no forward pass.
 */

import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { Database, type TableColumn } from '../ml/data/database.ts';
import { quote } from '../ml/data/sql.ts';
import { tableOf } from '../ml/data/table.ts';
import { checkCounterfactual } from './counterfactual.ts';
import { type Classifier, checkFairness } from './fairness.ts';
import { refuseColumns } from './predictions.ts';
import type { SliceDefinition } from './slice-options.ts';
import { type PredictedRows, requireSliceColumn, rowsOfSlices } from './slice-rows.ts';
import { mainMetric } from './slices.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

interface Planned {
  /** The SQL types of the columns that evaluate writes. */
  columns: Record<string, string>;
  /** All metrics to report. */
  metrics: readonly string[];
  classifier: Classifier;
  /** The column of texts by default. */
  text: string;
}

export async function checkAhead({ options, inputs }: Context, { columns, metrics, classifier, text }: Planned): Promise<void> {
  const { slices, discover, fairness, counterfactual } = options;
  const { data } = inputs;
  const lacking = Object.entries({ discover: discover && !discover.columns, counterfactual }).find(([, needed]) => needed)?.[0];
  if (data === undefined && lacking !== undefined) requireData(data, lacking);
  const database = await Database.open();
  try {
    const given = data === undefined ? [] : await database.columns(tableOf(data));
    refuseColumns(given, Object.keys(columns));
    if (!slices && !discover && !fairness && !counterfactual) return;
    const predictions = await emptyPredictions(database, inputs, given, { columns, text });
    for (const [name, definition] of Object.entries((slices ?? {}) as Record<string, SliceDefinition>)) {
      mainMetric(name, definition, metrics);
      await rowsOfSlices(predictions, name, definition);
    }
    for (const column of discover?.columns ?? []) requireSliceColumn(predictions, column, ['discover', 'columns']);
    if (fairness) checkFairness(fairness, predictions, classifier);
    if (counterfactual) await checkCounterfactual(predictions, inputs.model);
  } finally {
    database.close();
  }
}

export function requireData(data: string | undefined, option: string): string {
  if (data !== undefined) return data;
  throw new StepError(`\`${option}\` needs the input \`data\``, 'Give the data that the tokens were made from.', [option]);
}

async function emptyPredictions(
  database: Database,
  { data, tokens }: Context['inputs'],
  given: TableColumn[],
  { columns, text }: Pick<Planned, 'columns' | 'text'>,
): Promise<PredictedRows> {
  const own = Object.entries({ id: 'VARCHAR', split: 'VARCHAR', ...columns });
  const isOwn = (name: string) => own.some(([column]) => column === name.toLowerCase());
  const selected = [
    ...own.map(([name, type]) => `NULL::${type} AS ${quote(name)}`),
    ...given.filter(({ name }) => !isOwn(name)).map(({ name }) => quote(name)),
  ];
  await database.run(`CREATE TABLE empty AS SELECT ${selected.join(', ')} ${data === undefined ? '' : `FROM ${tableOf(data)}`} LIMIT 0`);
  await database.confine(data ?? tokens);
  return {
    database,
    table: 'empty',
    columns: await database.columns('empty'),
    withData: data !== undefined,
    text,
    tokens: async () => new Float64Array(),
  };
}
