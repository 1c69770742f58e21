/**
 * Words and phrases that give a label away: nearly all texts that contain them have the label, and they are in a notable share of its
 * texts. Both must hold in the split train and in the other splits.
 */

import { BIGINT, VARCHAR } from '../ml/data/database.ts';
import { wilsonInterval } from '../ml/metrics/proportions.ts';
import type { CheckedData, Findings } from './findings.ts';
import type { Labels } from './labels.ts';
import { Phrases, tokensIn } from './phrases.ts';

export interface GiveawayOptions {
  /** The least share of the texts with a phrase that have the label. */
  precision: number;
  /** The least share of the texts with the label that have the phrase. */
  coverage: number;
}

export interface Counted {
  /** Those that have the phrase or value, and those of them that have the label. */
  rows: number;
  right: number;
  precision: number;
  coverage: number;
}

export interface Giveaway {
  label: string;
  text: string;
  train: Counted;
  /** In the rows that confirm it. */
  confirmed: Counted;
}

/** Of one label; the most frequent ones. */
export const MOST_GIVEAWAYS = 5;

/** Labels of which phrases are counted. */
const MOST_LABELS = 200;

/** Texts from which the candidates come. All texts are then counted. */
const SAMPLED = 50_000;
const SAMPLED_OF_LABEL = 2000;

/** Makes the table `told`: the rows whose text contains a phrase that gives their label away, with the phrase. */
export async function checkGiveaways(
  data: CheckedData,
  labels: Labels,
  { options, signal }: { options: GiveawayOptions | undefined; signal: AbortSignal },
  findings: Findings,
): Promise<void> {
  const { database, rows, splits } = data;
  const why = whyNot(labels, options);
  if (why !== undefined || !options) return findings.unknown(why ?? '', 'giveaways');
  const names = labels.names!;
  const parts = partsOf(splits);
  const numbers = new Map(names.map((name, i) => [name, i]));
  const phrases = await candidates(data, names, parts.sql, options.coverage);
  const texts = `SELECT keyed.label, ${SHORTENED} AS text, ${parts.sql} AS part FROM bodies JOIN keyed ON __row = row
    JOIN contents USING (hash) WHERE contents.first = row AND keyed.label IS NOT NULL AND part IS NOT NULL`;
  for await (const chunk of database.stream<{ label: string; text: string; part: number }>(texts)) {
    signal.throwIfAborted();
    for (const { label, text, part } of chunk) phrases.count(tokensIn(text), numbers.get(label)!, part);
  }
  const found = names.flatMap((label, i) =>
    distinctOnes(
      phrases.of(i).flatMap(({ text, parts: [train, confirmed] }) => {
        const of = { label, text, train: shares(train), confirmed: shares(confirmed) };
        return givesAway(of, options, phrases.prior(i)) ? [of] : [];
      }),
    ),
  );
  findings.section('giveaways', { ...options, confirmed_in: parts.confirmedIn, phrases: found as never });
  const told = await markRows(data, found, { numbers, signal });
  findings.figure('giveaways', told / rows);
  if (told > 0)
    await findings.problem(
      'giveaway',
      `SELECT row, 'the text contains ' || to_json(phrase) || ', which gives its label away' AS detail, row AS rank FROM told`,
    );
}

/** Why giveaways cannot be found. */
export function whyNot(labels: Labels, options: GiveawayOptions | undefined): string | undefined {
  if (!options) return '`giveaways` is false';
  if (labels.why !== undefined) return labels.why;
  if (labels.lists) return 'rows have lists of labels';
  if (labels.names.length < 2) return `all rows have the label ${JSON.stringify(labels.names[0])}`;
  return labels.names.length > MOST_LABELS ? `there are more than ${MOST_LABELS} labels` : undefined;
}

/** SQL: 0 for a row of train, 1 for a row that confirms what train shows. Without other splits, two halves of the texts. */
export function partsOf(splits: string[]): { sql: string; confirmedIn: string } {
  const train = splits.indexOf('train');
  if (train < 0 || splits.length === 1)
    return { sql: 'CASE WHEN keyed.hash IS NOT NULL THEN (keyed.hash % 2 <> 0)::INTEGER END', confirmedIn: 'the other half of the texts' };
  return { sql: `CASE WHEN keyed.split IS NOT NULL THEN (keyed.split <> ${train})::INTEGER END`, confirmedIn: 'the other splits' };
}

/** Markers are at the beginning or at the end of a text. */
const SHORTENED = `CASE WHEN length(__text) > 2000 THEN left(__text, 1000) || ' ' || right(__text, 1000) ELSE __text END`;

async function candidates({ database }: CheckedData, names: string[], part: string, coverage: number): Promise<Phrases> {
  const phrases = new Phrases(names.length);
  const most = Math.min(SAMPLED_OF_LABEL, Math.ceil(SAMPLED / names.length));
  const found = await database.rows<{ label: string; text: string }>(
    `SELECT label, ${SHORTENED} AS text FROM bodies JOIN (SELECT row, keyed.label FROM keyed JOIN contents USING (hash)
       WHERE contents.first = row AND keyed.label IS NOT NULL AND ${part} = 0
       QUALIFY row_number() OVER (PARTITION BY keyed.label ORDER BY hash) <= ${most}) ON __row = row`,
  );
  const texts = Map.groupBy(found, ({ label }) => label);
  for (const [i, name] of names.entries())
    phrases.addFrequent(
      (texts.get(name) ?? []).map(({ text }) => tokensIn(text)),
      i,
      coverage,
    );
  return phrases;
}

/** Fewer rows show nothing. */
const LEAST_ROWS = 20;
const LEAST_CONFIRMED = 5;

/** The share of the uncertainty about a label that must go, at the lower end of the 95% interval. */
const CERTAINTY = 0.5;

/** `prior`: the share of the label in train. */
export function givesAway(
  { train, confirmed }: Pick<Giveaway, 'train' | 'confirmed'>,
  { precision, coverage }: GiveawayOptions,
  prior: number,
): boolean {
  if (train.rows < LEAST_ROWS || confirmed.rows < LEAST_CONFIRMED) return false;
  if (![train, confirmed].every((one) => one.precision >= precision && one.coverage >= coverage)) return false;
  return (wilsonInterval({ hits: train.right, rows: train.rows }, 0.95).low - prior) / (1 - prior) >= CERTAINTY;
}

export const shares = ({ rows, right, all }: { rows: number; right: number; all: number }): Counted => ({
  rows,
  right,
  precision: right / rows,
  coverage: right / all,
});

/**
 * The most frequent ones, of which no two share a word: the parts of one marker would be as frequent as the marker. Among equals, the
 * phrase comes first that has the most words which give the label away on their own, then the shortest one.
 */
function distinctOnes(found: Giveaway[]): Giveaway[] {
  const words = new Set(found.flatMap(({ text }) => (text.includes(' ') ? [] : [text])));
  const telling = (text: string) => text.split(' ').filter((word) => words.has(word)).length;
  const sorted = found.sort((a, b) => b.train.right - a.train.right || telling(b.text) - telling(a.text) || a.text.length - b.text.length);
  const kept: Giveaway[] = [];
  const used = new Set<string>();
  for (const one of sorted) {
    if (kept.length === MOST_GIVEAWAYS) break;
    const own = one.text.split(' ');
    if (own.some((word) => used.has(word))) continue;
    kept.push(one);
    for (const word of own) used.add(word);
  }
  return kept;
}

/** Returns the number of rows. */
async function markRows(
  { database }: CheckedData,
  found: Giveaway[],
  { numbers, signal }: { numbers: Map<string, number>; signal: AbortSignal },
): Promise<number> {
  await database.run('CREATE TABLE told (row BIGINT, phrase VARCHAR)');
  if (found.length === 0) return 0;
  const phrases = new Phrases(numbers.size);
  for (const { text, label } of found) phrases.add(text.split(' '), numbers.get(label)!);
  const writing = await database.append('told', [BIGINT, VARCHAR]);
  let rows = 0;
  const texts = `SELECT row, keyed.label, ${SHORTENED} AS text FROM bodies JOIN keyed ON __row = row WHERE keyed.label IS NOT NULL AND hash IS NOT NULL`;
  for await (const chunk of database.stream<{ row: number; label: string; text: string }>(texts)) {
    signal.throwIfAborted();
    for (const { row, label, text } of chunk) {
      const phrase = phrases.firstIn(tokensIn(text), numbers.get(label)!);
      if (phrase === undefined) continue;
      writing.add(BigInt(row), phrase);
      rows++;
    }
  }
  writing.close();
  return rows;
}
