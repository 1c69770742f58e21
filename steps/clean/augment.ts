/**
 * Augmentation: adds copies of training rows in which terms are swapped, such as he and she. It changes the training
 * data only, and is no part of the preprocessing that a model carries.
 */

import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { type Database, VARCHAR } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { swapOf } from '../ml/data/terms.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

/** Makes the view `augmented` from the view `kept`. Returns the number of added rows. */
export async function augment(database: Database, texts: string[], terms: string[][], { log, warn, signal }: Context): Promise<number> {
  await refuseColumns(database);
  const places = texts.map((_, i) => `__${i}`);
  await database.run(`CREATE TABLE swapped (__original VARCHAR, ${places.map((place) => `${place} VARCHAR`).join(', ')})`);
  const { rows, found } = await swapRows(database, texts, terms, signal);
  const same = texts.map((name, i) => `other.${quote(name)} IS NOT DISTINCT FROM ${places[i]}`).join(' AND ');
  const leaks = `EXISTS (SELECT 1 FROM kept AS other WHERE other.split::VARCHAR IS DISTINCT FROM 'train' AND ${same})`;
  await database.run(`CREATE TABLE added AS SELECT * FROM swapped WHERE NOT ${leaks}`);
  const replaced = texts.map((name, i) => `${places[i]} AS ${quote(name)}`).join(', ');
  await database.run(
    `CREATE VIEW augmented AS
     SELECT *, NULL::VARCHAR AS ${ORIGIN} FROM kept
     UNION ALL
     SELECT kept.* REPLACE (kept.id || ${literal(SUFFIX)} AS id, ${replaced}), kept.id AS ${ORIGIN} FROM kept JOIN added ON kept.id = __original`,
  );
  await refuseTakenIds(database);
  const { added } = await database.row<{ added: number }>('SELECT count(*) AS added FROM added');
  log(
    `${number(found)} of ${number(rows)} training rows contain a term: ${number(added)} swapped ${added === 1 ? 'copy was' : 'copies were'} added`,
  );
  if (added < found)
    log(
      `${number(found - added)} ${found - added === 1 ? 'copy was' : 'copies were'} left out, because another split contains the same text`,
    );
  if (found === 0) warn('`augment` adds nothing: no training row contains a term');
  return added;
}

/** The id of a copy is that of its original with this end. */
const SUFFIX = '~swapped';

/** The column with the id of the original. */
const ORIGIN = 'augmented_from';

async function refuseColumns(database: Database): Promise<void> {
  const columns = await database.columns('kept');
  if (!columns.some(({ name }) => name === 'split'))
    throw new StepError(
      '`augment` changes training rows only, and the data have no column `split`',
      'Use a clean step with `augment` after the split step.',
      ['augment'],
    );
  if (columns.some(({ name }) => name === ORIGIN))
    throw new StepError(`the data already have a column \`${ORIGIN}\``, 'Augment the data only once, or rename the column in collect.', [
      'augment',
    ]);
  const { rows } = await database.row<{ rows: number }>("SELECT count(*) AS rows FROM kept WHERE split::VARCHAR = 'train'");
  if (rows === 0) throw new StepError('`augment` changes training rows only, and the split train has no rows', 'Remove it.', ['augment']);
}

/** Fills the table `swapped`: the id and the texts of each training row with a term. */
async function swapRows(database: Database, texts: string[], terms: string[][], signal: AbortSignal) {
  const swap = swapOf(terms);
  const swapped = await database.append('swapped', [VARCHAR, ...texts.map(() => VARCHAR)]);
  let rows = 0;
  let found = 0;
  const columns = texts.map((name, i) => `${quote(name)} AS __${i}`).join(', ');
  for await (const chunk of database.stream<Record<string, string | null>>(
    `SELECT id, ${columns} FROM kept WHERE split::VARCHAR = 'train' ORDER BY id`,
  )) {
    signal.throwIfAborted();
    for (const row of chunk) {
      const before = texts.map((_, i) => row[`__${i}`] ?? null);
      const after = before.map((text) => (text === null ? undefined : swap.apply(text)));
      if (after.every((one) => one === undefined)) continue;
      found++;
      swapped.add(row.id!, ...before.map((text, i) => after[i]?.text ?? text));
    }
    rows += chunk.length;
  }
  swapped.close();
  return { rows, found };
}

async function refuseTakenIds(database: Database): Promise<void> {
  const taken = await database.rows<{ id: string }>('SELECT id FROM augmented GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT 1');
  if (taken.length > 0)
    throw new StepError(`the data have the id ${taken[0]!.id}, which a swapped copy would get`, 'Give the rows other ids in collect.', [
      'augment',
    ]);
}

const number = (value: number) => value.toLocaleString('en-US');
