/** Streams the texts through the cleaning function, then drops rows with SQL. */

import { mkdir } from 'node:fs/promises';
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { type CleaningOptions, cleanText, type Removed, removables } from '../ml/data/cleaning.ts';
import { Database, type TableColumn, VARCHAR } from '../ml/data/database.ts';
import { addPreprocessing } from '../ml/data/preprocessing.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { carrySources, namesOf, requireColumn, tableOf, writeTable } from '../ml/data/table.ts';
import { augment } from './augment.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

export async function clean(context: Context): Promise<void> {
  const { options, inputs, log } = context;
  const data = context.outputs.data!;
  const text = cleaningOf(options);

  await mkdir(data, { recursive: true });
  const database = await Database.open(data, context.threads);
  try {
    await database.run(`CREATE VIEW input AS FROM ${tableOf(inputs.data)}`);
    const columns = await database.columns('input');
    const names = await namesOf(inputs.data);
    const texts = options.columns ?? [names.text ?? 'text'];
    const same = options.deduplicate === false ? [] : [options.deduplicate].flat();
    const label = options.label ?? (columns.some(({ name }) => name === 'label') ? 'label' : undefined);
    for (const name of same) requireColumn(columns, name, 'deduplicate');
    if (options.label) requireColumn(columns, options.label, 'label');
    requireTexts(columns, texts);
    const labels = options.labels && (await cleanLabels(database, label ?? 'label', options.labels));

    const { removed, changed, rows } = await cleanColumns(database, texts, text, context);
    const { kept, conflicting, reasons } = await drop(database, { ...options, columns: texts }, same, label);
    const dropped = { ...labels?.dropped, ...reasons };
    if (rows === 0 && Object.keys(dropped).length === 0) throw new StepError('the data have no rows', 'Inspect the step that made them.');
    if (kept === 0)
      throw new StepError(`all ${number(rows)} rows were dropped: ${listed(dropped)}`, 'Inspect the texts with `tunesmith show`.');
    const augmented = options.augment && (await augment(database, texts, options.augment.swap.terms, context));
    await writeTable(database, augmented === undefined ? 'kept' : 'augmented', data, {
      label,
      dropped,
      names,
      counted: {
        read: rows + sum(labels?.dropped),
        changed,
        removed,
        ...(labels && { labels_changed: labels.changed }),
        ...(label && same.length > 0 && { conflicting }),
        ...(augmented !== undefined && { augmented }),
      },
    });
    await addPreprocessing(inputs.data, data, { clean: text, columns: texts });
    await carrySources(inputs.data, data);

    log(`${number(changed)} of ${number(rows)} rows changed; removed ${listed(removed)}`);
    log(`${number(kept)} rows kept; dropped ${listed(dropped)}`);
    if (labels) log(`${number(labels.changed)} labels changed`);
    for (const name of labels?.unknown ?? []) context.warn(`\`labels\` contains ${JSON.stringify(name)}, but no row has that label`);
    if (conflicting > 0)
      context.warn(
        `${number(conflicting)} dropped duplicate${conflicting === 1 ? '' : 's'} had another \`${label}\` than the row that was kept, which is the first by id`,
      );
  } finally {
    database.close();
  }
}

function cleaningOf(options: Context['options']): CleaningOptions {
  return {
    remove: removables.filter((what) => options.remove.includes(what)),
    keep_characters: options.remove.includes('special_characters') ? (options.keep_characters ?? '.,:;!?\'"()-') : '',
    lowercase: options.lowercase,
    whitespace: options.whitespace,
    normalize: options.normalize,
  };
}

function requireTexts(columns: TableColumn[], names: string[]): void {
  for (const name of names) {
    const { type } = requireColumn(columns, name, 'columns');
    if (type !== 'VARCHAR')
      throw new StepError(
        `the column \`${name}\` contains ${type}, not texts`,
        `Convert it to text in collect: \`select: { ${name}: "${name}::VARCHAR" }\`.`,
        ['columns'],
      );
    if (name === 'id')
      throw new StepError('the column `id` identifies rows and cannot be cleaned', 'Remove it from `columns`.', ['columns']);
  }
}

/** Makes the table `cleaned`: `__id` and the clean texts, in the order of `texts`, as `__0`, `__1`, … */
async function cleanColumns(database: Database, texts: string[], options: CleaningOptions, { signal, progress }: Context) {
  const places = texts.map((_, i) => `__${i}`);
  await database.run(`CREATE TABLE cleaned (__id VARCHAR, ${places.map((place) => `${place} VARCHAR`).join(', ')})`);
  const cleaned = await database.append('cleaned', [VARCHAR, ...texts.map(() => VARCHAR)]);
  const { total } = await database.row<{ total: number }>('SELECT count(*) AS total FROM input');
  const removed = Object.fromEntries(options.remove.map((what) => [what, 0])) as Removed;
  let changed = 0;
  let rows = 0;
  for await (const chunk of database.stream(`SELECT id, ${texts.map((name, i) => `${quote(name)} AS __${i}`).join(', ')} FROM input`)) {
    signal.throwIfAborted();
    for (const row of chunk) {
      const before = places.map((place) => row[place] as string | null);
      const after = before.map((text) => (text === null ? null : cleanText(text, options, removed)));
      if (after.some((text, i) => text !== before[i])) changed++;
      cleaned.add(row.id as string, ...after);
    }
    rows += chunk.length;
    progress(rows, total);
  }
  cleaned.close();
  return { removed, changed, rows };
}

/** Makes the table `kept`. */
async function drop(
  database: Database,
  { columns, min_length, max_length }: Context['options'] & { columns: string[] },
  same: string[],
  label: string | undefined,
) {
  const texts = columns.map((name, i) => `__${i} AS ${quote(name)}`).join(', ');
  const length = columns.map((_, i) => `coalesce(length(__${i}), 0)`).join(' + ');
  const tooLong = max_length === undefined ? 'false' : `${length} > ${max_length}`;
  await database.run(
    `CREATE TABLE measured AS
     SELECT input.* REPLACE (${texts}),
       CASE WHEN ${length} = 0 THEN 'empty' WHEN ${length} < ${min_length} THEN 'too short' WHEN ${tooLong} THEN 'too long' END AS __reason
     FROM input JOIN cleaned ON id = __id`,
  );
  if (same.length > 0) {
    const key = same.map(quote).join(', ');
    await database.run(
      `CREATE TABLE judged AS
       SELECT * EXCLUDE (__reason, __first),
         CASE WHEN __reason IS NOT NULL THEN __reason WHEN id <> __first THEN 'duplicate' END AS __reason,
         __reason IS NULL AND ${label ? `${quote(label)} IS DISTINCT FROM first_value(${quote(label)}) OVER same` : 'false'} AS __conflicting
       FROM (SELECT *, min(id) OVER (PARTITION BY ${key}, __reason IS NULL) AS __first FROM measured)
       WINDOW same AS (PARTITION BY ${key}, __reason IS NULL ORDER BY id)`,
    );
  } else await database.run('CREATE VIEW judged AS SELECT *, false AS __conflicting FROM measured');
  await database.run('CREATE VIEW kept AS SELECT * EXCLUDE (__reason, __conflicting) FROM judged WHERE __reason IS NULL');
  const counts = await database.rows<{ reason: string | null; n: number; conflicting: number }>(
    'SELECT __reason AS reason, count(*) AS n, count(*) FILTER (__conflicting) AS conflicting FROM judged GROUP BY ALL ORDER BY reason',
  );
  return {
    kept: counts.find(({ reason }) => reason === null)?.n ?? 0,
    conflicting: counts.reduce((sum, { conflicting }) => sum + conflicting, 0),
    reasons: Object.fromEntries(counts.flatMap(({ reason, n }) => (reason === null ? [] : [[reason, n]]))) as Record<string, number>,
  };
}

const sum = (counts: Record<string, number> = {}) => Object.values(counts).reduce((total, count) => total + count, 0);

const number = (value: number) => value.toLocaleString('en-US');

const listed = (counts: Record<string, number>) =>
  Object.entries(counts)
    .map(([name, count]) => `${number(count)} ${name.replaceAll('_', ' ')}`)
    .join(', ') || 'nothing';

/* Labels that people typed: trims them, unifies their case, maps them, or drops their rows, and counts each change. */

/** A column with more different values is not a column of labels. */
const mostLabels = 10_000;

/**
 * Replaces the view `input` with one that has clean labels. A row with a list of labels is dropped if any of them is. Returns the
 * number of changed rows, of dropped rows by label, and the names in `map` and `drop` that no row has.
 */
async function cleanLabels(database: Database, column: string, options: NonNullable<Context['options']['labels']>) {
  const { type } = requireColumn(await database.columns('input'), column, 'label');
  const list = type.endsWith('[]');
  const name = quote(column);
  const found = await database.rows<{ label: string }>(
    `SELECT DISTINCT label FROM (SELECT ${list ? `unnest(${name}::VARCHAR[])` : `${name}::VARCHAR`} AS label FROM input)
     WHERE label IS NOT NULL ORDER BY label LIMIT ${mostLabels + 1}`,
  );
  if (found.length > mostLabels)
    throw new StepError(`the column \`${column}\` has more than ${mostLabels} different values`, 'Set `label` to the column of labels.', [
      'labels',
    ]);
  const used = new Set<string>();
  const clean = (label: string): string => {
    const trimmed = options.trim ? label.trim() : label;
    const cased = options.case === 'lower' ? trimmed.toLowerCase() : options.case === 'upper' ? trimmed.toUpperCase() : trimmed;
    if (!options.map || !Object.hasOwn(options.map, cased)) return cased;
    used.add(cased);
    return options.map[cased]!;
  };
  const cleaned = found.map(({ label }) => [label, clean(label)] as const);
  const drop = new Set(options.drop ?? []);
  const dropped = cleaned.filter(([, to]) => drop.has(to));
  for (const [, to] of dropped) used.add(to);
  const map = `MAP([${cleaned.map(([from]) => literal(from)).join(', ')}]::VARCHAR[], [${cleaned.map(([, to]) => literal(to)).join(', ')}]::VARCHAR[])`;
  const value = list ? `list_transform(${name}::VARCHAR[], lambda x: ${map}[x])` : `${map}[${name}::VARCHAR]`;
  const bad = list
    ? `list_filter(${value}, lambda x: x IN (${quoted(drop)}))[1]`
    : `CASE WHEN ${value} IN (${quoted(drop)}) THEN ${value} END`;
  await database.run(
    `CREATE TABLE labelled AS SELECT * REPLACE (${value} AS ${name}), ${drop.size > 0 ? bad : 'NULL::VARCHAR'} AS __dropped,
       ${value} IS DISTINCT FROM ${name}::VARCHAR${list ? '[]' : ''} AS __changed FROM input`,
  );
  const counts = await database.rows<{ label: string | null; n: number; changed: number }>(
    'SELECT __dropped AS label, count(*) AS n, count(*) FILTER (__changed) AS changed FROM labelled GROUP BY ALL ORDER BY ALL',
  );
  await database.run('CREATE OR REPLACE VIEW input AS SELECT * EXCLUDE (__dropped, __changed) FROM labelled WHERE __dropped IS NULL');
  return {
    changed: counts.find(({ label }) => label === null)?.changed ?? 0,
    dropped: Object.fromEntries(counts.flatMap(({ label, n }) => (label === null ? [] : [[`label ${JSON.stringify(label)}`, n]]))),
    unknown: [...Object.keys(options.map ?? {}), ...drop].filter((one) => !used.has(one)),
  };
}

const quoted = (labels: Iterable<string>) => [...labels].map(literal).join(', ');
