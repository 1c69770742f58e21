/** Sections about a classifier: confusion matrix, classes, ROC and precision–recall curves, calibration. */

import { thinned } from '../ml/metrics/curves.ts';
import { type EvaluationFile, fieldsOf, type JsonFile, listOf, numberOf, numbersOf, textOf } from './artifacts.ts';
import { type Block, count, note, percent, type Section, shown, type Table, visible } from './document.ts';
import { lineChart, reliabilityChart } from './plots.ts';
import type { PredictionTable } from './predictions.ts';

/** A classifier's labels and counts, from its metrics file or from its predictions. */
export interface Confusion {
  labels: string[];
  /** Undefined for sets of labels. */
  counts?: number[][];
}

export async function confusionOf(
  evaluation: EvaluationFile | undefined,
  rows: PredictionTable | undefined,
): Promise<Confusion | undefined> {
  const labels = listOf(evaluation?.file.labels).filter((label) => typeof label === 'string');
  const counts = listOf(evaluation?.file.confusion_matrix).map((row) => listOf(row).map((n) => numberOf(n) ?? 0));
  if (labels.length > 0 && counts.length === labels.length && counts.every((row) => row.length === labels.length))
    return { labels, counts };
  if (rows?.kind === 'label') {
    const own = labels.length > 0 ? labels : await rows.labels();
    return { labels: own, counts: await rows.confusion(own) };
  }
  if (rows?.kind === 'labels') return { labels: labels.length > 0 ? labels : await rows.labels() };
  return labels.length > 0 ? { labels } : undefined;
}

/** `anchor`: of the examples of a cell. */
export function confusionSection(
  { labels, counts }: Confusion,
  evaluation: EvaluationFile | undefined,
  anchor: (row: number, column: number) => string | undefined,
): Section | undefined {
  const blocks: Block[] = [];
  if (counts && labels.length <= MOST_LABELS)
    blocks.push({
      kind: 'matrix',
      caption:
        'Rows are true labels, columns are predicted labels. Counts with a link lead to examples. The color shows the share of the row.',
      labels,
      counts,
      to: anchor,
    });
  else if (counts) blocks.push(confusedPairs(labels, counts, anchor));
  const classes = Object.entries(fieldsOf(evaluation?.file.classes));
  if (classes.length > 0) blocks.push(classTable(classes));
  const entities = Object.entries(fieldsOf(evaluation?.file.entities));
  if (entities.length > 0) blocks.push({ ...classTable(entities), caption: 'Entities by type' });
  return blocks.length === 0 ? undefined : { id: 'confusion', title: counts ? 'Confusion matrix' : 'Classes', blocks };
}

/** A larger matrix is shown as a list. */
const MOST_LABELS = 25;

function confusedPairs(labels: string[], counts: number[][], anchor: (row: number, column: number) => string | undefined): Table {
  const pairs = counts.flatMap((row, r) =>
    row.flatMap((n, c) => (r !== c && n > 0 ? [{ r, c, n, total: row.reduce((sum, k) => sum + k, 0) }] : [])),
  );
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
        const isShare = ['precision', 'recall', 'f1'].includes(metric) && typeof value === 'number';
        return { text: shown(value), ...(isShare && { share: Math.min(1, Math.max(0, value)) }) };
      }),
    ]),
    numeric: names.map((_, i) => i + 1),
    ...(scores.length > most.length && { more: `+ ${count(scores.length - most.length)} more classes` }),
  };
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
  const filled = bins.filter(({ rows }) => rows > 0);
  if (filled.length > 0) {
    const total = filled.reduce((sum, { rows }) => sum + rows, 0);
    const ece = filled.reduce((sum, { confidence, accuracy, rows }) => sum + (rows / total) * Math.abs(confidence - accuracy), 0);
    const named = evaluation?.metrics.ece ?? ece;
    blocks.push({
      kind: 'picture',
      name: 'reliability',
      title: 'Reliability diagram',
      description: `Share of correct predictions by mean score in ${filled.length} bins; the dashed line is perfect calibration, and the gray bars show the number of rows. The expected calibration error is ${shown(named)}.`,
      svg: reliabilityChart(filled),
      table: {
        kind: 'table',
        caption: `Bins of ${count(total)} rows; expected calibration error ${shown(named)}`,
        header: ['mean score', 'share correct', 'rows'],
        rows: filled.map(({ confidence, accuracy, rows }) => [shown(confidence), shown(accuracy), count(rows)]),
        numeric: [0, 1, 2],
      },
    });
  }
  for (const { name, file } of calibrations) blocks.push(...calibrationTable(name, file));
  return blocks.length === 0 ? undefined : { id: 'calibration', title: 'Calibration', blocks };
}

/** The bins of an evaluation, whose fields may have other names in other versions. */
function binsOf(value: unknown): { confidence: number; accuracy: number; rows: number }[] {
  return listOf(fieldsOf(value).bins).flatMap((bin) => {
    const fields = fieldsOf(bin);
    const confidence = numberOf(fields.confidence ?? fields.score ?? fields.mean_score);
    const accuracy = numberOf(fields.accuracy ?? fields.correct ?? fields.share);
    const rows = numberOf(fields.rows ?? fields.count ?? fields.support);
    return confidence === undefined || accuracy === undefined || rows === undefined ? [] : [{ confidence, accuracy, rows }];
  });
}

/** Temperature and thresholds, from calibration.json or from the metrics of calibrate. */
function calibrationTable(name: string, file: Record<string, unknown>): Block[] {
  const metrics = { ...numbersOf(file), ...numbersOf(file.metrics) };
  const ece = fieldsOf(file.ece);
  const rows: string[][] = [
    ...Object.entries(metrics)
      .filter(([key]) => key !== 'rows')
      .map(([key, value]) => [key, shown(value)]),
    ...Object.entries(ece).map(([when, value]) => [`ece ${when}`, shown(numberOf(value))]),
    ...thresholdRows(file.thresholds),
    ...Object.entries(fieldsOf(file.group_thresholds)).flatMap(([group, values]) => thresholdRows(values, `${group}: `)),
  ];
  if (rows.length === 0) return [];
  return [{ kind: 'table', caption: `Calibration (${name})`, header: ['value', ''], rows: rows.slice(0, 100), numeric: [1] }];
}

const thresholdRows = (value: unknown, prefix = ''): string[][] =>
  Object.entries(fieldsOf(value)).flatMap(([label, at]) =>
    typeof at === 'number'
      ? [[`${prefix}threshold of ${label}`, shown(at)]]
      : Object.entries(numbersOf(at)).map(([field, n]) => [`${prefix}${label}: ${field}`, shown(n)]),
  );
