/** Rows with the same text, and with almost the same text: anywhere, in another split, and with another label. */
import { join } from 'node:path';
import { BIGINT, DOUBLE } from '../ml/data/database.ts';
import { literal } from '../ml/data/sql.ts';
import { random } from '../ml/models/random.ts';
import { type CheckedData, count, type Findings } from './findings.ts';
import { whyNotAcross } from './labels.ts';
import { type NearDuplicateOptions, NearDuplicateSearch, NO_LABEL, SEVERAL_LABELS } from './near-duplicates.ts';

/**
 * Makes the tables `contents` (each distinct text, numbered from 0, with where it occurs), `places` (the first row of each text in each
 * split) and `codes` (the number of each label).
 */
export async function groupContents({ database }: CheckedData): Promise<void> {
  await database.run(
    'CREATE TABLE codes AS SELECT label, row_number() OVER (ORDER BY label) - 1 AS code FROM (SELECT DISTINCT label FROM keyed WHERE label IS NOT NULL)',
  );
  await database.run(
    `CREATE TABLE contents AS
     SELECT row_number() OVER (ORDER BY min(row)) - 1 AS content, hash, count(*) AS rows, min(row) AS first, min(row, 2)[2] AS second,
       coalesce(bit_or(1 << split), 0) AS splits, count(DISTINCT label) AS labels, min(label) AS label,
       min(row) FILTER (label = low) AS low_row, min(row) FILTER (label <> low) AS high_row
     FROM (SELECT *, min(label) OVER (PARTITION BY hash) AS low FROM keyed WHERE hash IS NOT NULL) GROUP BY hash`,
  );
  await database.run(
    'CREATE TABLE places AS SELECT content, split, min(row) AS first FROM keyed JOIN contents USING (hash) WHERE split IS NOT NULL GROUP BY ALL',
  );
}

/** Texts are added to it while they are read for other checks, too. */
export async function startSearch(
  { database }: CheckedData,
  options: NearDuplicateOptions,
  seed: number,
  folder: string,
): Promise<NearDuplicateSearch> {
  const { n } = await database.row<{ n: number }>('SELECT count(*) AS n FROM contents');
  const splits = new Int32Array(n);
  const labels = new Int32Array(n);
  const rows = database.stream<{ content: number; splits: number; labels: number; code: number | null }>(
    'SELECT content, splits, labels, code FROM contents LEFT JOIN codes USING (label)',
  );
  for await (const chunk of rows)
    for (const row of chunk) {
      splits[row.content] = row.splits;
      labels[row.content] = row.labels > 1 ? SEVERAL_LABELS : (row.code ?? NO_LABEL);
    }
  return new NearDuplicateSearch(n, options, { splits, labels }, join(folder, '.shingles'), random('minhash', seed));
}

/** Makes the table `near` of the texts that have near-duplicates. */
export async function storeNear({ database }: CheckedData, search: NearDuplicateSearch | undefined): Promise<void> {
  await database.run('CREATE TABLE near (content BIGINT, team BIGINT, splits BIGINT, label BIGINT, closest BIGINT, similarity DOUBLE)');
  if (!search) return;
  const writing = await database.append('near', [BIGINT, BIGINT, BIGINT, BIGINT, BIGINT, DOUBLE]);
  for (const { text, group, splits, label, similar, similarity } of search.results())
    writing.add(...[text, group, splits, label, similar].map(BigInt), similarity);
  writing.close();
}

/** Makes the table `matches` of the rows whose text occurs again, exactly or almost. */
export async function matchRows({ database }: CheckedData): Promise<void> {
  const elsewhere = (content: string) =>
    `(SELECT min(first) FROM places WHERE places.content = ${content} AND places.split <> keyed.split)`;
  await database.run(
    `CREATE TABLE judged AS
     SELECT row, keyed.split, keyed.label, coalesce(near.team, content) AS team, near.similarity, contents.rows > 1 AS exact,
       coalesce((contents.splits & ~(1 << keyed.split)) <> 0, false) AS exact_across,
       coalesce(((contents.splits | coalesce(near.splits, 0)) & ~(1 << keyed.split)) <> 0, false) AS across,
       keyed.label IS NOT NULL AND contents.labels > 1 AS exact_conflicting,
       keyed.label IS NOT NULL AND
         (contents.labels > 1 OR coalesce(near.label = ${SEVERAL_LABELS} OR (near.label >= 0 AND near.label <> code), false)) AS conflicting,
       CASE WHEN row = contents.first THEN contents.second ELSE contents.first END AS twin,
       CASE WHEN keyed.label = contents.label THEN high_row ELSE low_row END AS rival,
       ${elsewhere('contents.content')} AS twin_across,
       ${elsewhere('near.closest')} AS closest_across, (SELECT first FROM contents AS other WHERE other.content = near.closest) AS closest
     FROM keyed JOIN contents USING (hash) LEFT JOIN codes ON codes.label = keyed.label LEFT JOIN near USING (content)
     WHERE contents.rows > 1 OR near.content IS NOT NULL`,
  );
  await database.run(
    `CREATE TABLE matches AS
     SELECT row, split, label, team, exact, exact_across, across, exact_conflicting, conflicting, twin, partner,
       CASE WHEN exact AND partner IN (twin, rival, twin_across) THEN 1 ELSE similarity END AS similarity
     FROM (SELECT *, CASE WHEN exact_across THEN twin_across WHEN across THEN coalesce(closest_across, closest)
         WHEN exact_conflicting THEN rival WHEN conflicting AND closest IS NOT NULL THEN closest WHEN exact THEN twin ELSE closest END AS partner
       FROM judged)`,
  );
}

const EXACT = ['duplicates', 'duplicates.across_splits', 'duplicates.conflicting'];
const NEAR = ['near_duplicates', 'near_duplicates.across_splits', 'near_duplicates.conflicting'];

/** Figures and problems of the table `matches`. `search` is absent if near-duplicates are not searched for. */
export async function checkDuplicates(
  data: CheckedData,
  search: { options: NearDuplicateOptions; incomplete: number } | undefined,
  findings: Findings,
) {
  const { database, rows, splits } = data;
  const train = splits.indexOf('train');
  // Without a split train, every split is compared with the others.
  const outside = train < 0 ? 'split IS NOT NULL' : `split <> ${train}`;
  const { held } = await database.row<{ held: number }>(`SELECT count(*) FILTER (${outside}) AS held FROM keyed`);
  const found = await database.row<Record<string, number>>(
    `SELECT count(*) FILTER (exact) AS exact, count(*) FILTER (exact_across AND ${outside}) AS exact_across,
       count(*) FILTER (exact_conflicting) AS exact_conflicting, count(*) AS near, count(*) FILTER (across AND ${outside}) AS across,
       count(*) FILTER (conflicting) AS conflicting, count(DISTINCT team) AS teams FROM matches`,
  );
  const { groups, largest } = await database.row<{ groups: number; largest: number | null }>(
    'SELECT count(*) AS groups, max(rows) AS largest FROM contents WHERE rows > 1',
  );
  const team = await database.row<{ largest: number | null }>(
    'SELECT max(n) AS largest FROM (SELECT count(*) AS n FROM matches GROUP BY team)',
  );
  const compared = splits.length > 1 && held > 0;
  const report = (names: string[], all: number, across: number, conflicting: number) => {
    findings.figure(names[0]!, all / rows);
    if (compared) findings.figure(names[1]!, across / held);
    else findings.unknown(whyNotAcross(splits), names[1]!);
    if (data.label) findings.figure(names[2]!, conflicting / rows);
    else findings.unknown('the data have no labels', names[2]!);
  };
  report(EXACT, found.exact!, found.exact_across!, found.exact_conflicting!);
  findings.section('duplicates', {
    rows: found.exact!,
    groups,
    largest_group: largest ?? 0,
    across_splits: compared ? found.exact_across! : null,
    conflicting: data.label ? found.exact_conflicting! : null,
  });
  if (!search) findings.unknown('`near_duplicates` is false', ...NEAR);
  else {
    report(NEAR, found.near!, found.across!, found.conflicting!);
    findings.section('near_duplicates', {
      ...search.options,
      rows: found.near!,
      groups: found.teams!,
      largest_group: team.largest ?? 0,
      across_splits: compared ? found.across! : null,
      conflicting: data.label ? found.conflicting! : null,
      incomplete: search.incomplete,
    });
  }
  await reportRows(data, findings);
}

async function reportRows({ splits }: CheckedData, findings: Findings): Promise<void> {
  const place = splits.length === 0 ? "''" : `coalesce(' in the split ' || [${splits.map(literal).join(', ')}][other.split + 1], '')`;
  const other = `coalesce('the row ' || other.id, 'a row without an id') || ${place}`;
  const from = (column: string) => `FROM matches JOIN keyed AS other ON other.row = ${column}`;
  const similarity = "printf('%.2f', similarity)";
  await findings.problem(
    'duplicate',
    `SELECT matches.row, 'the same text is in ' || ${other} AS detail, matches.row AS rank ${from('twin')} WHERE exact`,
  );
  await findings.problem(
    'near_duplicate',
    `SELECT matches.row, 'similar to ' || ${other} || ', similarity ' || ${similarity} AS detail, -similarity AS rank ${from('partner')}
     WHERE NOT exact`,
  );
  await findings.problem(
    'across_splits',
    `SELECT matches.row, CASE WHEN similarity = 1 THEN 'the same' ELSE 'a similar' END || ' text is in ' || ${other} AS detail,
       -similarity AS rank ${from('partner')} WHERE across`,
  );
  await findings.problem(
    'conflicting_label',
    `SELECT matches.row, CASE WHEN other.label <> matches.label THEN ${other} || ' has the label ' || to_json(other.label)::VARCHAR
       ELSE 'another row with such a text has another label' END AS detail, -similarity AS rank ${from('partner')} WHERE conflicting`,
  );
}

export function incompleteWarning(incomplete: number): string {
  return `${count(incomplete)} texts have so many candidates that not all were compared: some of their near-duplicates may be missing`;
}
