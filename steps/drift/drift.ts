/** Compares new rows with the reference feature by feature, and writes the figures, the rows that differ most, and the same new rows. */
import { constants } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { type ContextOf, type Json, StepError } from '../../engine/contract/step.ts';
import { Database, DOUBLE, VARCHAR } from '../ml/data/database.ts';
import { namesOf, tableOf, writeTable } from '../ml/data/table.ts';
import { mean } from '../ml/metrics/counts.ts';
import { EMPTY_SHARE } from '../ml/metrics/drift.ts';
import { distinct, meets, missedInWords } from '../ml/metrics/limits.ts';
import { charactersOf, DriftFigures, unknownWords, wordsOf } from './features.ts';
import { countTokens, embed, type ModelReader, openReader, predictLabels } from './model-features.ts';
import { readSides, type SampledRows } from './sampled-rows.ts';
import type step from './step.ts';
import { LEAST_ROWS, type TwoSampleTest, testEmbeddings, testTexts } from './two-sample.ts';

type Context = ContextOf<typeof step>;

export async function drift(context: Context): Promise<void> {
  const { inputs, outputs, options } = context;
  const rows = outputs.rows!;
  await mkdir(rows, { recursive: true });
  const database = await Database.open(rows, context.threads);
  try {
    const sides = await readSides(database, context);
    const figures = new DriftFigures();
    const notes = notesOn(sides);
    const tested = await compare(sides, figures, context);
    const psi = Object.entries(figures.metrics).flatMap(([name, value]) => (name.endsWith('.psi') && value !== null ? [value] : []));
    figures.figures({ 'psi.max': Math.max(...psi) });
    await writeRows(database, sides, tested, context);
    const limits = Object.entries(options.limits ?? {}).map(([name, limit]) => {
      const value = figures.metrics[name] ?? null;
      return { name, limit, value, met: value !== null && meets(value, limit) };
    });
    const { scores = [], ...test } = tested ?? {};
    const report = {
      rows: { reference: sides.reference.rows, current: sides.current.rows },
      compared: { reference: sides.reference.ids.length, current: sides.current.ids.length },
      text: sides.columns,
      metrics: figures.metrics,
      undefined: figures.undefined,
      limits,
      notes,
      empty_share: EMPTY_SHARE,
      features: figures.features,
      two_sample: tested ? test : null,
      examples: { drift: examplesOf(sides, scores, options.examples) },
    };
    await writeFile(outputs.metrics, `${JSON.stringify(report, null, 2)}\n`);
    await cp(inputs.data, outputs.data!, { recursive: true, dereference: true, mode: constants.COPYFILE_FICLONE });
    for (const note of notes) context.warn(note);
    announce(figures, context);
    refuseMissed(limits, figures, context);
  } finally {
    database.close();
  }
}

/** Below, hardly any difference is significant, and the population stability index is large by chance. */
const FEW_ROWS = 100;

function notesOn({ reference, current }: SampledRows): string[] {
  return Object.entries({ reference, 'new data': current }).flatMap(([name, { ids }]) =>
    ids.length < FEW_ROWS
      ? [
          `the ${name} ${name === 'reference' ? 'has' : 'have'} only ${ids.length} rows: only a large drift can be found, and population stability indices are large by chance (psi_by_chance in the metrics file)`,
        ]
      : [],
  );
}

/** Adds all figures. Returns the two-sample test, if there are enough rows. */
async function compare(sides: SampledRows, figures: DriftFigures, context: Context): Promise<(TwoSampleTest & { by: string }) | undefined> {
  const { reference, current } = sides;
  figures.numbers('characters', charactersOf(reference.texts), charactersOf(current.texts));
  figures.numbers('words', wordsOf(reference.texts), wordsOf(current.texts));
  const unknown = unknownWords(reference.texts, current.texts);
  if (unknown.reference.length === 0) figures.unknown('the reference has a single row', ...UNKNOWN_WORDS);
  else {
    figures.numbers('unknown_words', unknown.reference, unknown.current);
    figures.figures({ 'unknown_words.reference': mean([...unknown.reference]), 'unknown_words.current': mean([...unknown.current]) });
  }
  const reader =
    context.inputs.model === undefined ? undefined : await openReader(context.inputs.model, sides.preprocessing, sides.columns.length);
  const read = reader && { reader, reference: await reader.inputs(reference.texts), current: await reader.inputs(current.texts) };
  await compareTokens(read, figures);
  await compareLabels(sides, read, figures, context);
  return compareTexts(sides, read, figures, context);
}

interface ReadInputs {
  reader: ModelReader;
  reference: Record<string, string>[];
  current: Record<string, string>[];
}

const UNKNOWN_WORDS = ['unknown_words.psi', 'unknown_words.ks', 'unknown_words.p', 'unknown_words.reference', 'unknown_words.current'];
const TOKENS = ['tokens.psi', 'tokens.ks', 'tokens.p'];
const UNKNOWN_TOKENS = [
  'unknown_tokens.psi',
  'unknown_tokens.ks',
  'unknown_tokens.p',
  'unknown_tokens.reference',
  'unknown_tokens.current',
];

async function compareTokens(read: ReadInputs | undefined, figures: DriftFigures): Promise<void> {
  if (!read) return figures.unknown('tokens need the input `model`', ...TOKENS, ...UNKNOWN_TOKENS);
  const [reference, current] = [await countTokens(read.reader, read.reference), await countTokens(read.reader, read.current)];
  figures.numbers('tokens', reference.tokens, current.tokens);
  if (typeof reference.unknown === 'string' || typeof current.unknown === 'string')
    return figures.unknown(String(reference.unknown), ...UNKNOWN_TOKENS);
  figures.numbers('unknown_tokens', reference.unknown, current.unknown);
  figures.figures({ 'unknown_tokens.reference': mean([...reference.unknown]), 'unknown_tokens.current': mean([...current.unknown]) });
}

/** The labels of both tables, or the predictions of the model for both. */
async function compareLabels(
  { reference, current, label }: SampledRows,
  read: ReadInputs | undefined,
  figures: DriftFigures,
  context: Context,
): Promise<void> {
  const unknown = (why: string) => figures.unknown(why, 'label.psi', 'label.chi_squared', 'label.p');
  const labels = { reference: reference.labels, current: current.labels } as Record<
    'reference' | 'current',
    (string | null | undefined)[] | undefined
  >;
  if (label === undefined) {
    if (!read) return unknown('there is no model that predicts labels, and not both tables have a column `label`');
    for (const side of ['reference', 'current'] as const) {
      const predicted = await predictLabels(read.reader, read[side], context);
      if (typeof predicted === 'string') return unknown(predicted);
      labels[side] = predicted;
    }
  }
  const given = (all: (string | null | undefined)[]) => all.filter((one): one is string => one !== null && one !== undefined);
  const [was, is] = [given(labels.reference!), given(labels.current!)];
  if (was.length === 0 || is.length === 0) return unknown(`no row of the ${was.length === 0 ? 'reference' : 'new data'} has a label`);
  figures.labels(was, is);
}

async function compareTexts(
  { reference, current }: SampledRows,
  read: ReadInputs | undefined,
  figures: DriftFigures,
  context: Context,
): Promise<(TwoSampleTest & { by: string }) | undefined> {
  const fewest = Math.min(reference.ids.length, current.ids.length);
  if (fewest < LEAST_ROWS) {
    figures.unknown(
      `the two-sample test needs ${LEAST_ROWS} rows of each table, and one has ${fewest}`,
      'two_sample.accuracy',
      'two_sample.auc',
      'two_sample.p',
    );
    return undefined;
  }
  const { seed } = context.options;
  const embeddings = read && {
    reference: await embed(read.reader, read.reference, context),
    current: await embed(read.reader, read.current, context),
  };
  const missing = [embeddings?.reference, embeddings?.current].find((one) => typeof one === 'string');
  if (missing !== undefined) context.log(`the classifier reads a bag of words: ${missing}`);
  const tested =
    embeddings && missing === undefined
      ? { by: 'embeddings', ...testEmbeddings(embeddings as { reference: Float32Array[]; current: Float32Array[] }, seed) }
      : { by: 'bag of words', ...testTexts({ reference: joined(reference.texts), current: joined(current.texts) }, seed) };
  figures.figures({ 'two_sample.accuracy': tested.accuracy, 'two_sample.auc': tested.auc, 'two_sample.p': tested.p });
  return tested;
}

const joined = (texts: readonly string[][]): string[] => texts.map((row) => row.join(' '));

/** The new rows with a score, with all of their columns. */
async function writeRows(
  database: Database,
  { current }: SampledRows,
  tested: TwoSampleTest | undefined,
  { inputs, outputs }: Context,
): Promise<void> {
  await database.run('CREATE TABLE scored (scored_id VARCHAR, drift_score DOUBLE)');
  const writing = await database.append('scored', [VARCHAR, DOUBLE]);
  for (const { row, score } of tested?.scores ?? []) writing.add(current.ids[row]!, score);
  writing.close();
  const relation = `(SELECT * EXCLUDE (scored_id) FROM ${tableOf(inputs.data)} JOIN scored ON scored_id = id::VARCHAR)`;
  await writeTable(database, relation, outputs.rows!, { names: await namesOf(inputs.data) });
}

function examplesOf({ current }: SampledRows, scores: TwoSampleTest['scores'], most: number): Json {
  const first = scores.toSorted((a, b) => b.score - a.score).slice(0, most);
  return first.map(({ row, score }) => ({
    id: current.ids[row]!,
    score,
    detail: `new with a probability of ${score.toFixed(3)}`,
    text: beginningOf(current.texts[row]!.join(' ')),
  }));
}

const beginningOf = (text: string): string => (text.length <= 200 ? text : `${[...text.slice(0, 200)].slice(0, -1).join('')}…`);

/** The summary shows the test of the texts, and the largest index; the metrics file has all figures. */
function announce({ metrics, undefined: unknown }: DriftFigures, { metric, result }: Context): void {
  const largest = Object.entries(metrics).filter(([name, value]) => name.endsWith('.psi') && value !== null) as [string, number][];
  const [feature, psi] = largest.reduce((a, b) => (b[1] > a[1] ? b : a));
  metric('psi.max', psi, { better: 'lower' });
  const accuracy = metrics['two_sample.accuracy'];
  const about = `largest population stability index: ${distinct(psi)} (${feature.replace(/\.psi$/, '')})`;
  if (typeof accuracy !== 'number') {
    result(`texts: n/a (${unknown['two_sample.accuracy']}); ${about}`);
    return;
  }
  metric('two_sample.accuracy', accuracy, { better: 'lower' });
  metric('two_sample.p', metrics['two_sample.p']!, {});
  result(
    `a classifier recognises ${(100 * accuracy).toFixed(1)}% of the rows as new or old (chance: 50%, p ${distinct(metrics['two_sample.p']!)}); ${about}`,
  );
}

function refuseMissed(
  limits: { name: string; limit: string; value: number | null; met: boolean }[],
  { undefined: unknown }: DriftFigures,
  { cell }: Context,
): void {
  const missed = limits.filter(({ met }) => !met);
  if (missed.length === 0) return;
  const lines = missed.map(({ name, limit, value }) => missedInWords(name, limit, value, unknown[name]));
  throw new StepError(
    `the new rows miss ${missed.length} of ${limits.length} limits: ${lines.join('; ')}`,
    `The figures stay in .tunesmith/failed/: \`tunesmith show .tunesmith/failed/${cell.cell.includes('[') ? 'CELL' : cell.cell}/metrics\`.`,
    missed.length === 1 ? ['limits', missed[0]!.name] : ['limits'],
  );
}
