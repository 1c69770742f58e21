/** Runs the checks on a table, and writes the report, the rows with problems, and the same data. */
import { constants, existsSync } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ContextOf, type MetricDirection, StepError } from '../../engine/contract/step.ts';
import { Database, type TableColumn } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { namesOf, requireColumn, tableOf, writeTable } from '../ml/data/table.ts';
import { meets, missedInWords } from '../ml/metrics/limits.ts';
import { readConfig } from '../ml/models/model-folder.ts';
import { familyOf } from '../ml/models/registry.ts';
import { checkColumnGiveaways } from './column-giveaways.ts';
import { checkDuplicates, groupContents, incompleteWarning, matchRows, startSearch, storeNear } from './duplicates.ts';
import { type CheckedData, count, Findings } from './findings.ts';
import { checkGiveaways } from './giveaways.ts';
import { checkLabelErrors } from './label-errors.ts';
import { LabelNames } from './label-names.ts';
import { checkLabels } from './labels.ts';
import { checkMissing, checkSchema, isBlank } from './schema.ts';
import type step from './step.ts';
import { checkLabelNames, checkLanguages, checkLengths, measureTexts } from './texts.ts';

type Context = ContextOf<typeof step>;

export async function check(context: Context): Promise<void> {
  const { inputs, outputs, options } = context;
  const rows = outputs.rows!;
  await mkdir(rows, { recursive: true });
  const database = await Database.open(rows, context.threads);
  try {
    const data = await openData(database, context);
    const findings = await Findings.start(database);
    await runChecks(data, findings, context);
    await writeProblems(data, rows);
    const limits = Object.entries(options.limits ?? {}).map(([name, limit]) => {
      const value = findings.metrics[name] ?? null;
      return { name, limit, value, met: value !== null && meets(value, limit) };
    });
    const report = {
      rows: data.rows,
      splits: await rowsBySplit(data),
      text: data.texts,
      label: data.label?.name ?? null,
      metrics: findings.metrics,
      undefined: findings.undefined,
      limits,
      problems: await findings.counts(),
      checks: findings.sections,
      examples: await findings.examples(data, options.examples),
    };
    await writeFile(outputs.report!, `${JSON.stringify(report, null, 2)}\n`);
    await cp(inputs.data, outputs.data!, { recursive: true, dereference: true, mode: constants.COPYFILE_FICLONE });
    announce(data, report, context);
    refuseMissed(limits, findings, context);
  } finally {
    database.close();
  }
}

/**
 * Makes the view `input` (all columns and `__row`), the view `bodies` (`__text`, the texts of a row, and its `__first` and `__second`
 * text), and the table `keyed`: `row`, `id`, `split`, `label` and a `hash` of the text, which is null for a text of white space. Names
 * of the data are only in `input`, so they cannot be confused with ours.
 */
async function openData(database: Database, { inputs, options }: Context): Promise<CheckedData> {
  const columns = await database.columns(tableOf(inputs.data));
  for (const { name } of columns)
    if (OWN_COLUMNS.includes(name))
      throw new StepError(
        `the data have a column \`${name}\`, and check writes a column of this name`,
        'Rename it with `select` in collect.',
      );
  requireColumn(columns, 'id');
  await database.run(
    `CREATE VIEW input AS SELECT * EXCLUDE (file_row_number), file_row_number AS __row FROM ${tableOf(inputs.data, { numbered: true })}`,
  );
  const { rows } = await database.row<{ rows: number }>('SELECT count(*) AS rows FROM input');
  if (rows === 0) throw new StepError('the data have no rows', 'Inspect the step that made them: `tunesmith show`.');
  const texts = textsOf(columns, options.text, (await namesOf(inputs.data)).text);
  const label = labelOf(columns, options.label);
  const parts = texts.map(textIn);
  const text = `concat_ws(' ', ${parts.join(', ')})`;
  const splits = await splitsOf(database, columns);
  const split = splits.length > 0 ? `list_position([${splits.map(literal).join(', ')}], split::VARCHAR) - 1` : 'NULL';
  await database.run(
    `CREATE VIEW bodies AS SELECT __row, ${text} AS __text, coalesce(${parts[0]}, '') AS __first,
       ${parts.length > 1 ? `coalesce(${parts[1]}, '')` : "''"} AS __second FROM input`,
  );
  await database.run(
    `CREATE TABLE keyed AS
     SELECT __row AS row, id::VARCHAR AS id, (${split})::INTEGER AS split, ${label ? labelText(label) : 'NULL::VARCHAR'} AS label,
       CASE WHEN NOT ${isBlank(text)} THEN md5_number(${text}) END AS hash FROM input`,
  );
  return { database, columns, rows, texts: texts.map(({ name }) => name), ...(label && { label }), splits };
}

/** The columns that check adds. */
const OWN_COLUMNS = [
  'problems',
  'details',
  'suggested_label',
  'label_quality',
  'similar_to',
  'similarity',
  'duplicate_group',
  'file_row_number',
  '__row',
];

/** The columns that hold the texts of a task, the first of which counts. */
const USUAL_TEXTS = [['text', 'text_pair'], ['text'], ['question', 'context'], ['prompt', 'completion'], ['tokens']];

function textsOf(columns: TableColumn[], given: string | string[] | undefined, collected: string | undefined): TableColumn[] {
  const usual = USUAL_TEXTS.find((names) => names.every((name) => columns.some((column) => column.name === name)));
  const names = given ?? collected ?? usual;
  if (names === undefined)
    throw new StepError(
      'the data have no column `text`',
      `Set \`text\` to the columns of texts. The columns are ${columns.map(({ name }) => name).join(', ')}.`,
    );
  const option = given === undefined ? [] : ['text'];
  return [names].flat().map((name) => {
    const column = requireColumn(columns, name, ...option);
    if (column.type !== 'VARCHAR' && column.type !== 'VARCHAR[]')
      throw new StepError(`the column \`${name}\` contains ${column.type}, not texts`, 'Set `text` to a column of texts.', option);
    return column;
  });
}

function labelOf(columns: TableColumn[], given: string | undefined): TableColumn | undefined {
  if (given !== undefined) return requireColumn(columns, given, 'label');
  return columns.find(({ name }) => name === 'label') ?? columns.find(({ name }) => name === 'tags');
}

/** SQL: the text of a column. Words are joined with spaces. */
const textIn = ({ name, type }: TableColumn): string => (type === 'VARCHAR' ? quote(name) : `array_to_string(${quote(name)}, ' ')`);

/** SQL: the label as a text; null for a missing or empty one. A list without labels is a value. */
function labelText({ name, type }: TableColumn): string {
  const column = quote(name);
  if (type.endsWith('[]')) return `CASE WHEN ${column} IS NOT NULL THEN to_json(${column})::VARCHAR END`;
  return `CASE WHEN NOT ${isBlank(`${column}::VARCHAR`)} ${/^(FLOAT|DOUBLE)$/.test(type) ? `AND NOT isnan(${column})` : ''} THEN ${column}::VARCHAR END`;
}

/** Train, validation and test first, then others. */
async function splitsOf(database: Database, columns: TableColumn[]): Promise<string[]> {
  if (!columns.some(({ name }) => name === 'split')) return [];
  const found = await database.rows<{ split: string }>(
    `SELECT DISTINCT split::VARCHAR AS split FROM input WHERE split IS NOT NULL ORDER BY split LIMIT ${MOST_SPLITS + 1}`,
  );
  if (found.length > MOST_SPLITS)
    throw new StepError(
      `the column \`split\` has more than ${MOST_SPLITS} different values`,
      'Its values are usually train, validation and test. Rename the column with `select` in collect.',
    );
  const names = found.map(({ split }) => split);
  const usual = ['train', 'validation', 'test'].filter((name) => names.includes(name));
  return [...usual, ...names.filter((name) => !usual.includes(name))];
}

/** Splits are the bits of a number. */
const MOST_SPLITS = 30;

async function runChecks(data: CheckedData, findings: Findings, context: Context): Promise<void> {
  const { options, outputs, inputs, warn, signal, progress } = context;
  await checkSchema(data, options.columns ?? {}, findings);
  await checkMissing(data, options.required ?? [...data.texts, ...(data.label ? [data.label.name] : [])], findings);
  for (const name of options.required ?? []) requireColumn(data.columns, name, 'required');
  const labels = await checkLabels(data, options.labels, findings);

  await groupContents(data);
  const near =
    options.near_duplicates === false
      ? undefined
      : { ...NEAR_DUPLICATES, ...(options.near_duplicates === true ? {} : options.near_duplicates) };
  const search = near && (await startSearch(data, near, options.seed, outputs.rows!));
  const names = labels.names && !labels.lists ? new LabelNames(labels.names) : undefined;
  try {
    await measureTexts(data, { search, names }, context);
    for (let band = 0; band < (search?.bands ?? 0); band++) {
      signal.throwIfAborted();
      search!.compareBand(band);
    }
    await storeNear(data, search);
  } finally {
    search?.close();
  }
  await matchRows(data);
  await checkDuplicates(data, near && { options: near, incomplete: search!.incomplete }, findings);
  if (search && search.incomplete > 0) warn(incompleteWarning(search.incomplete));

  await checkLabelNames(data, labels, names, findings);
  const giveaways = options.giveaways === false ? undefined : { ...GIVEAWAYS, ...(options.giveaways === true ? {} : options.giveaways) };
  await checkGiveaways(data, labels, { options: giveaways, signal }, findings);
  await checkColumnGiveaways(data, labels, giveaways, findings);
  const limit = options.max_length ?? (await limitOf(inputs.model));
  await checkLengths(data, { unit: inputs.model === undefined ? 'words' : 'tokens', maxLength: limit }, findings);
  await checkLanguages(data, options.languages, findings);
  const errors =
    options.label_errors === false ? undefined : { ...LABEL_ERRORS, ...(options.label_errors === true ? {} : options.label_errors) };
  await checkLabelErrors(data, labels, { options: errors, seed: options.seed, signal, progress }, findings);
}

const NEAR_DUPLICATES = { threshold: 0.8, unit: 'characters', ngram: 5, permutations: 128 } as const;
const GIVEAWAYS = { precision: 0.98, coverage: 0.05 } as const;
const LABEL_ERRORS = { method: 'prune_by_noise_rate', folds: 5 } as const;

/** The longest sequence of a model; undefined for a folder with only a tokenizer. */
async function limitOf(model: string | undefined): Promise<number | undefined> {
  if (model === undefined || !existsSync(join(model, 'config.json'))) return undefined;
  const config = await readConfig(model);
  const family = familyOf(config);
  return family.maxLength(family.configure(config));
}

/** Writes the rows that have a problem. */
async function writeProblems({ database, label }: CheckedData, folder: string): Promise<void> {
  await database.run(
    `CREATE VIEW found AS
     SELECT input.* EXCLUDE (__row), judged.* EXCLUDE (__row) FROM input JOIN (
       SELECT listed.row AS __row, problems, details, suggested AS suggested_label, quality AS label_quality, partners.id AS similar_to,
         similarity, CASE WHEN matches.row IS NOT NULL THEN dense_rank() OVER (ORDER BY team NULLS LAST) END AS duplicate_group
       FROM (SELECT row, list(problem ORDER BY place, detail) AS problems, list(detail ORDER BY place, detail) AS details
             FROM problems GROUP BY row) AS listed
       LEFT JOIN errors ON errors.row = listed.row LEFT JOIN matches ON matches.row = listed.row
       LEFT JOIN keyed AS partners ON partners.row = partner) AS judged USING (__row)`,
  );
  await writeTable(database, 'found', folder, label ? { label: label.name } : {});
}

async function rowsBySplit({ database, splits }: CheckedData): Promise<Record<string, number>> {
  const counts = await database.rows<{ split: number; n: number }>(
    'SELECT split, count(*) AS n FROM keyed WHERE split IS NOT NULL GROUP BY split ORDER BY split',
  );
  return Object.fromEntries(counts.map(({ split, n }) => [splits[split]!, n]));
}

interface LimitResult {
  name: string;
  limit: string;
  /** Null for an undefined figure. */
  value: number | null;
  met: boolean;
}

function announce(
  { rows }: CheckedData,
  {
    metrics,
    undefined: unknown,
    problems,
    limits,
  }: { metrics: Record<string, number | null>; undefined: Record<string, string>; problems: Record<string, number>; limits: LimitResult[] },
  { log, metric, result }: Context,
): void {
  for (const [name, value] of Object.entries(metrics))
    if (value !== null && !name.startsWith('missing.')) metric(name, value, { better: BETTER[name] ?? 'lower' });
  for (const [name, why] of Object.entries(unknown)) log(`${name}: n/a (${why})`);
  const found = Object.entries(problems).map(([problem, n]) => `${problem.replaceAll('_', ' ')} ${count(n)}`);
  const kept = limits.length > 0 && limits.every(({ met }) => met) ? '; all limits are met' : '';
  result(`${count(rows)} rows; ${found.length > 0 ? `rows by problem: ${found.join(', ')}` : 'no problem found'}${kept}`);
}

const BETTER: Record<string, MetricDirection> = { 'label_balance.smallest': 'higher', 'label_errors.accuracy': 'higher' };

function refuseMissed(limits: LimitResult[], { metrics, undefined: unknown }: Findings, { cell }: Context): void {
  const missed = limits.filter(({ met }) => !met);
  if (missed.length === 0) return;
  const lines = missed.map(({ name, limit, value }) => {
    if (value !== null || Object.hasOwn(metrics, name)) return missedInWords(name, limit, value, unknown[name]);
    return `${name} must be ${limit.trim()}, but the data have no column \`${name.slice('missing.'.length)}\``;
  });
  throw new StepError(
    `the data miss ${missed.length} of ${limits.length} limits: ${lines.join('; ')}`,
    `The report and the rows with problems stay in .tunesmith/failed/: \`tunesmith show .tunesmith/failed/${cell.cell.includes('[') ? 'CELL' : cell.cell}/rows\`.`,
    missed.length === 1 ? ['limits', missed[0]!.name] : ['limits'],
  );
}
