/** Sections about a classifier: confusion matrix, classes, ROC and precision–recall curves, calibration. */

import { thinned } from '../ml/metrics/curves.ts';
import { type EvaluationFile, type Fields, fieldsOf, type JsonFile, listOf, numberOf, numbersOf, textOf } from './artifacts.ts';
import { type Confusion, cellAnchor, setAnchor } from './confusion.ts';
import { type Block, beginning, count, counted, note, percent, type Section, shown, type Table, visible } from './document.ts';
import { MOST_FILES, moreFiles } from './judgements.ts';
import { lineChart, reliabilityChart } from './plots.ts';
import type { PredictionTable } from './predictions.ts';

/** `examples`: the anchors that have examples. `words`: words are counted instead of rows. */
export function confusionSection(
  { labels, counts, sets }: Confusion,
  evaluation: EvaluationFile | undefined,
  { examples, words }: { examples: ReadonlySet<string>; words: boolean },
): Section | undefined {
  const blocks: Block[] = [];
  const to = (id: string) => (examples.has(id) ? id : undefined);
  const anchor = (row: number, column: number) => to(cellAnchor(row, column));
  if (counts && labels.length <= MOST_LABELS)
    blocks.push({
      kind: 'matrix',
      caption: `Rows are true ${words ? 'tags of words' : 'labels'}, columns are predicted ${words ? 'tags' : 'labels'}. The color shows the share of the row.`,
      labels,
      counts,
      to: anchor,
    });
  else if (counts) blocks.push(confusedPairs(labels, counts, anchor));
  if (sets) blocks.push(setTable(labels, sets, examples));
  const classes = Object.entries(fieldsOf(evaluation?.file.classes));
  if (classes.length > 0) blocks.push(classTable(classes));
  const entities = Object.entries(fieldsOf(evaluation?.file.entities));
  if (entities.length > 0) blocks.push({ ...classTable(entities), caption: 'Entities by type' });
  return blocks.length === 0 ? undefined : { id: 'confusion', title: counts ? 'Confusion matrix' : 'Classes', blocks };
}

/** A larger matrix is shown as a list. */
const MOST_LABELS = 25;

function confusedPairs(labels: string[], counts: number[][], anchor: (row: number, column: number) => string | undefined): Table {
  const pairs = counts.flatMap((row, r) => {
    const total = row.reduce((sum, k) => sum + k, 0);
    return row.flatMap((n, c) => (r !== c && n > 0 ? [{ r, c, n, total }] : []));
  });
  pairs.sort((a, b) => b.n - a.n);
  const most = pairs.slice(0, 40);
  return {
    kind: 'table',
    caption: `The most frequent confusions of ${labels.length} labels`,
    header: ['true', 'predicted', 'rows', 'share of the true label'],
    rows: most.map(({ r, c, n, total }) => {
      const to = anchor(r, c);
      return [labels[r]!, labels[c]!, { text: count(n), ...(to && { to }) }, { text: percent(n / total), share: n / total }];
    }),
    numeric: [2, 3],
    ...(pairs.length > most.length && { more: `+ ${count(pairs.length - most.length)} more pairs` }),
  };
}

function setTable(labels: string[], sets: NonNullable<Confusion['sets']>, examples: ReadonlySet<string>): Table {
  const most = labels.slice(0, 100);
  const linked = (n: number, id: string) => ({ text: count(n), ...(examples.has(id) && { to: id }) });
  return {
    kind: 'table',
    caption: 'How often each label was predicted',
    header: ['label', 'correct', 'wrong', 'missed'],
    rows: most.map((label, i) => {
      const { hits, added, missed } = sets[i]!;
      return [label, count(hits), linked(added, setAnchor(i, 'added')), linked(missed, setAnchor(i, 'missed'))];
    }),
    numeric: [1, 2, 3],
    ...(labels.length > most.length && { more: `+ ${count(labels.length - most.length)} more labels` }),
  };
}

function classTable(classes: [string, unknown][]): Table {
  const scores = classes.map(([name, value]) => ({ name, values: numbersOf(value) }));
  const names = [...new Set(scores.flatMap(({ values }) => Object.keys(values)))];
  const most = scores.slice(0, 100);
  return {
    kind: 'table',
    caption: 'Metrics of each class',
    header: ['class', ...names],
    rows: most.map(({ name, values }) => [
      name,
      ...names.map((metric) => {
        const value = values[metric];
        if (value === null) return { text: whyOfClass(metric, values) };
        const isShare = ['precision', 'recall', 'f1'].includes(metric) && typeof value === 'number';
        return { text: shown(value), ...(isShare && { share: Math.min(1, Math.max(0, value)) }) };
      }),
    ]),
    numeric: names.map((_, i) => i + 1),
    ...(scores.length > most.length && { more: `+ ${count(scores.length - most.length)} more classes` }),
  };
}

/** Why a class has no value of a metric: there is no row that it counts. */
function whyOfClass(metric: string, { support }: Record<string, number | null>): string {
  if (support === 0) return 'n/a (no row has it)';
  if (metric === 'precision') return 'n/a (no row is predicted so)';
  return metric === 'roc_auc' ? 'n/a (every row has it)' : 'n/a';
}

export async function curvesSection(
  rows: PredictionTable,
  confusion: Confusion,
  evaluation: EvaluationFile | undefined,
): Promise<Section | undefined> {
  if (rows.kind !== 'label' && rows.kind !== 'labels') return undefined;
  const { labels } = confusion;
  const positive = textOf(evaluation?.file.positive);
  const two = rows.kind === 'label' && labels.length === 2;
  const wanted = two ? [positive ?? labels.at(-1)!] : labels.slice(0, MOST_CURVES);
  const all: { label: string; curves: NonNullable<Awaited<ReturnType<PredictionTable['curves']>>> }[] = [];
  const without: string[] = [];
  for (const label of wanted) {
    const curves = await rows.curves(label);
    if (curves) all.push({ label, curves });
    else without.push(label);
  }
  const blocks: Block[] = [];
  if (all.length > 0) {
    const what = two ? `the label “${visible(wanted[0]!)}”` : 'each label against all others';
    const table: Table = {
      kind: 'table',
      caption: `Areas for ${what}`,
      header: ['label', 'ROC-AUC', 'average precision'],
      rows: all.map(({ label, curves }) => [label, shown(curves.rocAuc), shown(curves.averagePrecision)]),
      numeric: [1, 2],
    };
    blocks.push(
      {
        kind: 'picture',
        name: 'roc',
        title: 'ROC curve',
        description: `True positive rate by false positive rate for ${what}: ${all.map(({ label, curves }) => `area ${shown(curves.rocAuc)} for ${visible(label)}`).join(', ')}.`,
        svg: lineChart(
          all.map(({ label, curves }) => ({ name: `${label} (${shown(curves.rocAuc)})`, points: thinned(curves.roc, 200) })),
          { x: 'false positive rate', y: 'true positive rate', unit: true, diagonal: true },
        ),
        table,
      },
      {
        kind: 'picture',
        name: 'precision-recall',
        title: 'Precision–recall curve',
        description: `Precision by recall for ${what}: ${all.map(({ label, curves }) => `average precision ${shown(curves.averagePrecision)} for ${visible(label)}`).join(', ')}.`,
        svg: lineChart(
          all.map(({ label, curves }) => ({
            name: `${label} (${shown(curves.averagePrecision)})`,
            points: thinned(curves.precisionRecall, 200),
          })),
          { x: 'recall', y: 'precision', unit: true },
        ),
        table,
      },
    );
  }
  if (without.length > 0)
    blocks.push(
      note(
        `There are no curves for ${without.map((label) => `“${visible(label)}”`).join(', ')}: all rows, or none, have the label, or scores are not numbers.`,
      ),
    );
  if (!two && labels.length > MOST_CURVES) blocks.push(note(`Curves of ${labels.length - MOST_CURVES} more labels are left out.`));
  return blocks.length === 0 ? undefined : { id: 'curves', title: 'ROC and precision–recall', blocks };
}

const MOST_CURVES = 6;

export async function calibrationSection(
  evaluation: EvaluationFile | undefined,
  rows: PredictionTable | undefined,
  calibrations: readonly JsonFile[],
): Promise<Section | undefined> {
  const blocks: Block[] = [];
  const given = binsOf(evaluation?.file.calibration);
  const bins = given.length > 0 ? given : ((await rows?.bins(15)) ?? []);
  if (bins.length > 0) {
    const total = bins.reduce((sum, { rows }) => sum + rows, 0);
    const ece = bins.reduce((sum, { confidence, accuracy, rows }) => sum + (rows / total) * Math.abs(confidence - accuracy), 0);
    const named = evaluation?.metrics.ece ?? ece;
    blocks.push({
      kind: 'picture',
      name: 'reliability',
      title: 'Reliability diagram',
      description: `Share of correct predictions by mean score in ${counted(bins.length, 'bin')}; the dashed line is perfect calibration, and the gray bars show the number of rows. The expected calibration error is ${shown(named)}.`,
      svg: reliabilityChart(bins),
      table: {
        kind: 'table',
        caption: `Bins of ${counted(total, 'row')}; expected calibration error ${shown(named)}`,
        header: ['mean score', 'share correct', 'rows'],
        rows: bins.map(({ confidence, accuracy, rows }) => [shown(confidence), shown(accuracy), count(rows)]),
        numeric: [0, 1, 2],
      },
    });
  }
  for (const { name, file } of calibrations.slice(0, MOST_FILES)) blocks.push(...calibrationTables(name, file));
  blocks.push(...moreFiles(calibrations.slice(MOST_FILES)));
  return blocks.length === 0 ? undefined : { id: 'calibration', title: 'Calibration', blocks };
}

/** The bins of an evaluation that have rows. */
function binsOf(value: unknown): { confidence: number; accuracy: number; rows: number }[] {
  return listOf(fieldsOf(value).bins).flatMap((bin) => {
    const { confidence, accuracy, rows } = numbersOf(bin);
    return typeof confidence !== 'number' || typeof accuracy !== 'number' || !rows ? [] : [{ confidence, accuracy, rows }];
  });
}

/** Temperature and thresholds, from calibration.json or from the metrics of calibrate. */
function calibrationTables(name: string, file: Fields): Block[] {
  const metrics = { ...numbersOf(file), ...numbersOf(file.metrics) };
  const ece = numbersOf(file.ece);
  const compared: [string, number | null | undefined, number | null | undefined][] = [
    ['expected calibration error', metrics.ece_before ?? ece.before, metrics.ece ?? ece.after],
    ['log loss', metrics.log_loss_before, metrics.log_loss],
  ];
  const blocks: Block[] = [];
  if (typeof metrics.temperature === 'number')
    blocks.push({
      kind: 'table',
      caption: `Temperature ${shown(metrics.temperature)} (${name}), on the split “${textOf(file.split) ?? textOf(file.fitted_on) ?? 'validation'}”`,
      header: ['measure', 'before', 'after'],
      rows: compared.filter(([, , after]) => after !== undefined).map(([measure, before, after]) => [measure, shown(before), shown(after)]),
      numeric: [1, 2],
    });
  const thresholds = Array.isArray(file.thresholds) ? file.thresholds.map(fieldsOf) : thresholdsIn(file.thresholds);
  if (thresholds.length > 0) blocks.push(thresholdTable(name, thresholds));
  return blocks;
}

/** `{LABEL: number}`, or `{GROUP: {LABEL: number}}`. */
const thresholdsIn = (value: unknown): Fields[] =>
  Object.entries(fieldsOf(value)).flatMap(([name, at]): Fields[] =>
    typeof at === 'number'
      ? [{ label: name, threshold: at }]
      : Object.entries(numbersOf(at)).map(([label, threshold]) => ({ group: name, label, threshold })),
  );

function thresholdTable(name: string, thresholds: Fields[]): Table {
  const names = [...new Set(thresholds.flatMap((one) => Object.keys(one)))];
  const most = thresholds.slice(0, 100);
  const isNumber = (key: string) => most.every((one) => typeof one[key] !== 'string');
  return {
    kind: 'table',
    caption: `Scores from which on a label is predicted (${name}), and what they achieve`,
    header: names,
    rows: most.map((one) =>
      names.map((key) => (one[key] === undefined ? '–' : isNumber(key) ? shown(numberOf(one[key])) : beginning(String(one[key]), 200))),
    ),
    numeric: names.flatMap((key, i) => (isNumber(key) ? [i] : [])),
    ...(thresholds.length > most.length && { more: `+ ${count(thresholds.length - most.length)} more thresholds` }),
  };
}
