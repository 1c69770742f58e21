/** One pass over all texts: near-duplicates, lengths, languages, and names of labels in the texts. */
import type { ContextOf } from '../../engine/contract/step.ts';
import { BIGINT, type Row, VARCHAR } from '../ml/data/database.ts';
import { openTokenizer } from '../ml/models/tokenizer.ts';
import type { CheckedData, Findings } from './findings.ts';
import type { LabelNames } from './label-names.ts';
import type { Labels } from './labels.ts';
import type { NearDuplicateSearch } from './near-duplicates.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

/**
 * Makes the table `measured`: `row`, `length` of its texts, `language` (null if it is unsure) and `own`, whether the text contains the
 * name of its label. Adds each distinct text to `search`.
 */
export async function measureTexts(
  data: CheckedData,
  { search, names }: { search: NearDuplicateSearch | undefined; names: LabelNames | undefined },
  context: Context,
): Promise<void> {
  const { database, texts, rows } = data;
  await database.run('CREATE TABLE measured (row BIGINT, length BIGINT, language VARCHAR, own BIGINT)');
  const writing = await database.append('measured', [BIGINT, BIGINT, VARCHAR, BIGINT]);
  const lengths = await lengthsBy(context);
  const languageOf = context.options.languages === false ? () => null : await languageDetector();
  const query = `SELECT row, contents.content AS content, contents.first = row AS first, keyed.label, bodies.*
    FROM bodies JOIN keyed ON __row = row JOIN contents USING (hash)`;
  let done = 0;
  for await (const chunk of database.stream<TextRow>(query)) {
    context.signal.throwIfAborted();
    const measured = await lengths(chunk.map((row) => (texts.length === 2 ? [row.__first, row.__second] : [row.__text])));
    chunk.forEach((row, i) => {
      if (row.first && search) search.add(row.content, row.__text);
      const own = names?.add(row.__text, row.label) ?? false;
      writing.add(BigInt(row.row), BigInt(measured[i]!), languageOf(row.__text), BigInt(own));
    });
    done += chunk.length;
    context.progress(done, rows);
  }
  writing.close();
}

interface TextRow extends Row {
  row: number;
  content: number;
  first: boolean;
  label: string | null;
  __text: string;
  __first: string;
  __second: string;
}

/** Tokens of the model, with its special tokens; words if there is no model. A text pair is one sequence. */
async function lengthsBy({ inputs, threads }: Context): Promise<(texts: string[][]) => Promise<number[]>> {
  if (inputs.model === undefined) return async (texts) => texts.map((parts) => parts.join(' ').match(/\S+/gu)?.length ?? 0);
  // The tokenizers library reads this when it starts its first thread.
  process.env.RAYON_NUM_THREADS ??= String(threads);
  const tokenizer = await openTokenizer(inputs.model, {});
  return async (texts) => {
    const paired = texts[0]!.length === 2;
    const sequences = paired
      ? await tokenizer.encodePairs(texts as [string, string][])
      : await tokenizer.encode(texts.map(([text]) => text!));
    return sequences.map(({ ids }) => ids.length);
  };
}

/** ISO 639-1 codes; null if the detector is unsure, as it is for a few words or for numbers. */
async function languageDetector(): Promise<(text: string) => string | null> {
  const { eld } = await import('eld/small');
  return (text) => {
    const found = eld.detect(text.slice(0, DETECTED));
    return found.isReliable() ? found.language || null : null;
  };
}

/** Characters from which the language is detected. */
const DETECTED = 600;

/** `too_long`: the share of rows beyond `max_length`. */
export async function checkLengths(
  { database, rows, splits }: CheckedData,
  { unit, maxLength }: { unit: 'tokens' | 'words'; maxLength: number | undefined },
  findings: Findings,
): Promise<void> {
  const long = maxLength === undefined ? 'false' : `length > ${maxLength}`;
  const figures = `count(*) AS rows, min(length) AS min, quantile_disc(length, 0.5) AS median, quantile_disc(length, 0.95) AS p95,
    max(length) AS max, ${maxLength === undefined ? 'NULL' : `count(*) FILTER (${long})`} AS too_long`;
  const all = await database.row(`SELECT ${figures} FROM measured`);
  const each = await database.rows<{ split: number; rows: number }>(
    `SELECT split, ${figures} FROM measured JOIN keyed USING (row) WHERE split IS NOT NULL GROUP BY split ORDER BY split`,
  );
  findings.section('lengths', {
    unit,
    max_length: maxLength ?? null,
    all,
    splits: Object.fromEntries(each.map(({ split, ...own }) => [splits[split]!, own])),
  });
  if (maxLength === undefined) {
    findings.unknown('neither `max_length` nor a model is given', 'too_long');
    return;
  }
  findings.figure('too_long', Number(all.too_long) / rows);
  await findings.problem('too_long', `SELECT row, format('{:,} ${unit}', length) AS detail, -length AS rank FROM measured WHERE ${long}`);
}

/**
 * `other_language`: the share of rows in a language that is not expected; by default the most frequent language is expected. Rows of
 * which the language is unsure do not count.
 */
export async function checkLanguages(
  { database, rows, splits }: CheckedData,
  languages: string[] | boolean,
  findings: Findings,
): Promise<void> {
  if (languages === false) return findings.unknown('`languages` is false', 'other_language');
  const counts = await database.rows<{ split: number | null; language: string | null; n: number }>(
    'SELECT split, language, count(*) AS n FROM measured JOIN keyed USING (row) GROUP BY ALL ORDER BY split, n DESC, language',
  );
  const total = new Map<string, number>();
  for (const { language, n } of counts) if (language !== null) total.set(language, (total.get(language) ?? 0) + n);
  const order = [...total].sort((a, b) => b[1] - a[1]);
  const expected = languages === true ? order.slice(0, 1).map(([name]) => name) : languages;
  findings.section('languages', {
    expected,
    counts: Object.fromEntries(order),
    unsure: counts.reduce((sum, { language, n }) => sum + (language === null ? n : 0), 0),
    splits: Object.fromEntries(
      splits.map((name, split) => [
        name,
        Object.fromEntries(counts.flatMap((one) => (one.split === split && one.language !== null ? [[one.language, one.n]] : []))),
      ]),
    ),
  });
  if (order.length === 0) return findings.unknown('the language of no text could be detected', 'other_language');
  const others = order.filter(([name]) => !expected.includes(name));
  findings.figure('other_language', others.reduce((sum, [, n]) => sum + n, 0) / rows);
  if (others.length > 0)
    await findings.problem(
      'other_language',
      `SELECT row, 'the language is ' || language AS detail, row AS rank FROM measured
       WHERE language IN (${others.map(([name]) => `'${name}'`).join(', ')})`,
    );
}

/** `label_in_text`: the share of rows whose text contains the name of their label, for names that give the label away. */
export async function checkLabelNames(
  { rows }: CheckedData,
  labels: Labels,
  names: LabelNames | undefined,
  findings: Findings,
): Promise<void> {
  if (!names) return findings.unknown(labels.why ?? 'rows have lists of labels', 'label_in_text');
  if (names.size === 0) return findings.unknown('no label has a name of letters', 'label_in_text');
  const found = names.associations();
  const telling = found.filter(({ gives_away }) => gives_away);
  findings.section('label_in_text', found.filter(({ rows }) => rows > 0) as never);
  findings.figure('label_in_text', telling.reduce((sum, { right }) => sum + right, 0) / rows);
  if (telling.length > 0) {
    const list = telling.map(({ label }) => `'${label.replaceAll("'", "''")}'`).join(', ');
    await findings.problem(
      'label_in_text',
      `SELECT row, 'the text contains the name of its label' AS detail, row AS rank FROM measured JOIN keyed USING (row)
       WHERE own = 1 AND label IN (${list})`,
    );
  }
}
