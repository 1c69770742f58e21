/**
 * Cleans labels that people typed: trims them, unifies their case, maps them, or drops their rows. Each change is
 * counted.
 */
import { StepError } from '../../engine/step.ts';
import { type Database, literal, quote } from '../data/database.ts';
import { requireColumn } from '../data/table.ts';

export interface LabelCleaning {
  trim?: boolean | undefined;
  case?: 'lower' | 'upper' | undefined;
  map?: { [from: string]: string } | undefined;
  drop?: string[] | undefined;
}

export interface CleanedLabels {
  /** The number of rows whose label changed. */
  changed: number;
  /** Dropped rows by label. */
  dropped: Record<string, number>;
  /** Names in `map` and `drop` that no row has. */
  unknown: string[];
}

/** A column with more different values is not a column of labels. */
const mostLabels = 10_000;

/**
 * Replaces the view `input` with one that has clean labels and lacks the dropped rows. A row with a list of labels is
 * dropped if any of them is.
 */
export async function cleanLabels(database: Database, column: string, options: LabelCleaning): Promise<CleanedLabels> {
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
