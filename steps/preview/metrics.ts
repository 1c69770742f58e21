/** The metrics file of evaluate as tables: metrics, scores per class, and the confusion matrix. */
import { readFile } from 'node:fs/promises';
import type { Preview } from './preview.ts';

interface Report {
  split: string;
  rows: number;
  metrics: Record<string, number | null>;
  labels?: string[];
  confusion_matrix?: number[][];
  classes?: Record<string, Scores>;
  entities?: Record<string, Scores>;
}

type Scores = Record<'precision' | 'recall' | 'f1' | 'support', number>;

/** Undefined if the file is no such report. */
export async function metricsTables(path: string, size: number, limit: number): Promise<Preview[]> {
  if (size > 8 << 20) return [];
  const report = reportIn(await readFile(path, 'utf8'));
  if (!report) return [];
  const { split, rows, metrics, labels, confusion_matrix: matrix, classes, entities } = report;
  const figures = Object.entries(metrics).map(([name, value]) => [name, figure(value)]);
  return [
    {
      title: `metrics of the split ${split}, ${rows.toLocaleString('en-US')} rows`,
      table: { header: ['metric', 'value'], rows: figures, numeric: [false, true] },
    },
    ...(entities ? [scoresTable('entities', 'type', entities, limit)] : []),
    ...(classes ? [scoresTable('classes', 'class', classes, limit)] : []),
    ...(labels && matrix && labels.length <= MOST_LABELS ? [confusion(labels, matrix)] : []),
  ];
}

/** More columns do not fit. */
const MOST_LABELS = 12;

function reportIn(text: string): Report | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const found = JSON.parse(text);
    return typeof found.split === 'string' && typeof found.rows === 'number' && Object(found.metrics) === found.metrics ? found : undefined;
  } catch {
    return undefined;
  }
}

function scoresTable(title: string, column: string, scores: Record<string, Scores>, limit: number): Preview {
  const all = Object.entries(scores);
  const shown = all.slice(0, Math.max(limit, 20));
  return {
    title,
    table: {
      header: [column, 'precision', 'recall', 'f1', 'support'],
      rows: shown.map(([name, { precision, recall, f1, support }]) => [
        name,
        figure(precision),
        figure(recall),
        figure(f1),
        String(support),
      ]),
      numeric: [false, true, true, true, true],
    },
    ...(all.length > shown.length && { rest: `+ ${all.length - shown.length} more` }),
  };
}

function confusion(labels: string[], matrix: number[][]): Preview {
  return {
    title: 'confusion matrix',
    table: {
      header: ['true \\ predicted', ...labels],
      rows: matrix.map((row, k) => [labels[k]!, ...row.map(String)]),
      numeric: [false, ...labels.map(() => true)],
    },
  };
}

const figure = (value: number | null): string => (value === null ? '' : value.toFixed(4));
