/** What `tunesmith show` prints about a file or folder: rows of a table, decoded tokens, a training history, tensors, JSON, text. */

import { createReadStream, type Dirent } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { StepError } from '../../engine/contract/step.ts';
import { type IntervalEnds, notesOnIntervals } from '../ml/metrics/intervals.ts';
import { type BaselineReport, baselineTable } from './baselines.ts';
import { type ComparisonPart, comparisonTable } from './comparison.ts';
import { figure, more, number, type Preview } from './part.ts';
import { type SubgroupReports, subgroupTables } from './subgroups.ts';
import { previewTable, type TableKind, type TableSelection } from './table.ts';
import { type ThresholdsReport, thresholdsTable } from './thresholds.ts';

/**
 * `limit`: how many rows, tensors, files or (ten times as many) lines. `selection`: shows only these rows and columns of a table;
 * the result is empty for everything else.
 */
export async function preview(path: string, limit: number, selection?: TableSelection): Promise<Preview[]> {
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new StepError(`${path} does not exist`);
  if (selection) return selected(found.isDirectory() ? join(path, 'data.parquet') : path, limit, selection);
  if (found.isDirectory()) return previewFolder(path, limit);
  const known = (await historyAt(path, found.size, limit)) ?? (await reportAt(path, found.size, limit));
  if (known) return known;
  const tables = await metricsTables(path, found.size, limit);
  return tables.length > 0
    ? [...tables, { title: `JSON, ${bytes(found.size)}`, lines: [`further fields: ${path}`] }]
    : [await previewFile(path, found.size, limit)];
}

async function selected(path: string, limit: number, selection: TableSelection): Promise<Preview[]> {
  const found = await stat(path).catch(() => undefined);
  const kind = found && found.size > 0 ? await kindOf(path, found.size) : undefined;
  const table = isTable(kind) && (await previewTable(path, kind, limit, selection));
  return table ? [table] : [];
}

async function previewFolder(folder: string, limit: number): Promise<Preview[]> {
  const entries = (await readdir(folder, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1));
  const has = (name: string) => entries.some((entry) => entry.name === name);
  const parts: Preview[] = [];
  if (has('data.parquet')) parts.push(...(await previews(folder, ['data.parquet', 'card.json', 'preprocessing.json'], limit, has)));
  else if (has('tokens.json')) {
    const { previewTokens } = await import('./tokens.ts');
    // Damaged files are shown as far as possible.
    parts.push(
      ...(await previewTokens(folder, limit).catch((error: Error) => [{ title: `tokens that cannot be decoded: ${error.message}` }])),
    );
    parts.push(...(await previews(folder, ['preprocessing.json'], limit, has)));
  } else if (has('config.json')) {
    const weights = entries.map(({ name }) => name).filter((name) => name.endsWith('.safetensors'));
    parts.push(...(await previews(folder, ['config.json', ...weights, 'calibration.json', 'metrics.json'], limit, has)));
  }
  parts.push(await listing(folder, entries, limit));
  return parts;
}

/** Undefined if the file is not a training history. */
async function historyAt(path: string, size: number, limit: number): Promise<Preview[] | undefined> {
  const isLines = size > 0 && ['jsonl', 'json'].includes(await kindOf(path, size));
  if (!isLines || !/^\{"step":/.test((await firstBytes(path, 16)).toString())) return undefined;
  return (await import('./history.ts')).previewHistory(path, limit);
}

/** Undefined if the file is not a report of check or behavior. */
async function reportAt(path: string, size: number, limit: number): Promise<Preview[] | undefined> {
  if (size > MOST_JSON || (await kindOf(path, size)) !== 'json') return undefined;
  const text = await readFile(path, 'utf8');
  return (await import('./check-report.ts')).checkTables(text, limit) ?? (await import('./behavior.ts')).behaviorTables(text, limit);
}

async function previews(folder: string, names: string[], limit: number, has: (name: string) => boolean): Promise<Preview[]> {
  const parts: Preview[] = [];
  for (const name of names.filter(has)) {
    const path = join(folder, name);
    const part = await previewFile(path, (await stat(path)).size, limit);
    parts.push({ ...part, title: `${name}: ${part.title}` });
  }
  return parts;
}

async function listing(folder: string, entries: Dirent[], limit: number): Promise<Preview> {
  const shown = entries.slice(0, Math.max(limit, 20));
  const rows = await Promise.all(
    shown.map(async (entry) => {
      const size = entry.isFile() ? bytes((await stat(join(folder, entry.name))).size) : entry.isSymbolicLink() ? 'link' : 'folder';
      return [entry.isDirectory() ? `${entry.name}/` : entry.name, size];
    }),
  );
  return {
    title: `folder, ${entries.length === 1 ? '1 entry' : `${number(entries.length)} entries`}`,
    ...(rows.length > 0 ? { table: { header: ['name', 'size'], rows, numeric: [false, true] } } : {}),
    ...more(entries.length - shown.length, 'entries'),
  };
}

async function previewFile(path: string, size: number, limit: number): Promise<Preview> {
  if (size === 0) return { title: 'empty file' };
  const kind = await kindOf(path, size);
  if (kind === 'safetensors') return tensors(path, size, limit);
  if (kind === 'json' && size <= MOST_JSON) {
    try {
      const lines = jsonLines(JSON.parse(await readFile(path, 'utf8')));
      const most = Math.max(10 * limit, 100);
      return { title: `JSON, ${bytes(size)}`, lines: lines.slice(0, most), ...more(lines.length - most, 'lines') };
    } catch {
      return head(path, size, limit); // unchanged
    }
  }
  if (isTable(kind)) {
    const table = await previewTable(path, kind, limit);
    if (table) return table;
  }
  return kind === 'binary' ? { title: `binary file, ${bytes(size)}` } : head(path, size, limit);
}

const MOST_JSON = 8 << 20;

/** Indented, but with short values on one line. */
function jsonLines(value: unknown, indent = '', name = ''): string[] {
  const flat = `${indent}${name}${flatJson(value)}`;
  if (value === null || typeof value !== 'object' || flat.length <= 100) return [flat];
  const entries = Array.isArray(value)
    ? value.map((inner) => ['', inner] as const)
    : Object.entries(value).map(([key, inner]) => [`${JSON.stringify(key)}: `, inner] as const);
  const inner = entries.flatMap(([key, each], i) => {
    const lines = jsonLines(each, `${indent}  `, key);
    if (i < entries.length - 1) lines[lines.length - 1] += ',';
    return lines;
  });
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return [`${indent}${name}${open}`, ...inner, `${indent}${close}`];
}

function flatJson(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(flatJson).join(', ')}]`;
  const entries = Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${flatJson(inner)}`);
  return entries.length === 0 ? '{}' : `{ ${entries.join(', ')} }`;
}

type Kind = TableKind | 'json' | 'safetensors' | 'text' | 'binary';

const isTable = (kind: Kind | undefined): kind is TableKind => kind === 'parquet' || kind === 'csv' || kind === 'tsv' || kind === 'jsonl';

/** By its name, otherwise by its first bytes: outputs of built-in steps have no extension. */
async function kindOf(path: string, size: number): Promise<Kind> {
  const named = EXTENSIONS[extname(basename(path, '.gz')).toLowerCase()];
  if (named) return named;
  const start = await firstBytes(path, 4096);
  if (start.subarray(0, 4).toString('latin1') === 'PAR1') return 'parquet';
  if (size > 10 && start[8] === 0x7b && start.readBigUInt64LE(0) < BigInt(size)) return 'safetensors';
  if (start.includes(0)) return 'binary';
  const text = start.toString().trimStart();
  if (!/^[[{]/.test(text)) return 'text';
  const lines = text.split('\n');
  return lines.length > 2 && isJson(lines[0]!) && isJson(lines[1]!) ? 'jsonl' : 'json';
}

const EXTENSIONS: Record<string, Kind> = {
  '.parquet': 'parquet',
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.json': 'json',
  '.safetensors': 'safetensors',
};

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

async function firstBytes(path: string, count: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(count), 0, count, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function tensors(path: string, size: number, limit: number): Promise<Preview> {
  const { openSafetensors } = await import('../ml/models/safetensors.ts');
  const stored = await openSafetensors(path);
  await stored.close();
  const all = [...stored.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape, numbers: shape.reduce((a, b) => a * b, 1) }));
  const total = all.reduce((sum, { numbers }) => sum + numbers, 0);
  const rows = all.slice(0, limit).map(({ name, dtype, shape, numbers }) => [name, dtype, shape.join(' × ') || 'scalar', number(numbers)]);
  return {
    title: `${all.length === 1 ? '1 tensor' : `${number(all.length)} tensors`}, ${number(total)} numbers, ${bytes(size)}`,
    table: { header: ['tensor', 'type', 'shape', 'numbers'], rows, numeric: [false, false, false, true] },
    ...more(all.length - rows.length, 'tensors'),
  };
}

async function head(path: string, size: number, limit: number): Promise<Preview> {
  const lines: string[] = [];
  const input = createReadStream(path, { encoding: 'utf8', end: 1 << 20 });
  let rest = false;
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (lines.length === 10 * limit) {
      rest = true;
      break;
    }
    lines.push(line);
  }
  input.destroy();
  return { title: `text, ${bytes(size)}`, lines, ...(rest ? { rest: '+ more' } : {}) };
}

function bytes(count: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit++;
  }
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

/* The metrics file of evaluate as tables: metrics, scores per class, and the confusion matrix. */

interface Report extends SubgroupReports, ThresholdsReport, ComparisonPart {
  split: string;
  rows: number;
  metrics: Record<string, number | null>;
  intervals?: Record<string, IntervalEnds>;
  interval?: { level: number };
  /** Why a metric or an end of its interval is null. */
  undefined?: Record<string, string>;
  labels?: string[];
  confusion_matrix?: number[][];
  classes?: Record<string, Scores>;
  entities?: Record<string, Scores>;
}

type Scores = Record<'precision' | 'recall' | 'f1', number | null> & { support: number };

/** Undefined if the file is no such report. */
async function metricsTables(path: string, size: number, limit: number): Promise<Preview[]> {
  if (size > 8 << 20) return [];
  const report = reportIn(await readFile(path, 'utf8'));
  if (!report) return [];
  if ('methods' in report) return [baselineTable(report)];
  const {
    split,
    rows,
    metrics,
    intervals,
    interval,
    undefined: reasons = {},
    labels,
    confusion_matrix: matrix,
    classes,
    entities,
  } = report;
  const within = ({ low, high }: IntervalEnds): string => (low === null ? 'n/a' : `${figure(low)} to ${figure(high)}`);
  const figures = Object.entries(metrics).map(([name, value]) => [
    name,
    figure(value),
    ...(intervals && interval ? [within(intervals[name] ?? { low: null, high: null })] : []),
  ]);
  const columns = ['metric', 'value', ...(intervals && interval ? [`${100 * interval.level}% interval`] : [])];
  return [
    {
      title: `metrics of the split ${split}, ${number(rows)} rows`,
      table: { header: columns, rows: figures, numeric: columns.map((_, c) => c > 0) },
      lines: [
        // The table of fairness has its own reasons.
        ...Object.keys(metrics).flatMap((name) =>
          metrics[name] === null && reasons[name] && !name.startsWith('fairness.') ? [`${name} is undefined: ${reasons[name]}`] : [],
        ),
        ...notesOnIntervals(intervals ?? {}, reasons),
      ],
    },
    ...(entities ? [scoresTable('entities', 'type', entities, limit)] : []),
    ...(classes ? [scoresTable('classes', 'class', classes, limit)] : []),
    ...(labels && matrix && labels.length <= MOST_LABELS ? [confusion(labels, matrix)] : []),
    ...thresholdsTable(report, limit),
    ...subgroupTables(report, limit),
    ...comparisonTable(report),
  ];
}

/** More columns do not fit. */
const MOST_LABELS = 12;

function reportIn(text: string): Report | BaselineReport | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const found = JSON.parse(text);
    if (typeof found.split !== 'string' || typeof found.rows !== 'number') return undefined;
    const methods = isMap(found.methods) && Object.values(found.methods).every((one) => isMap(one) && isMap((one as Report).metrics));
    return methods || isMap(found.metrics) ? found : undefined;
  } catch {
    return undefined;
  }
}

const isMap = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value);

function scoresTable(title: string, column: string, scores: Record<string, Scores>, limit: number): Preview {
  const all = Object.entries(scores);
  const shown = all.slice(0, Math.max(limit, 20));
  return {
    title,
    table: {
      header: [column, 'precision', 'recall', 'f1', 'support'],
      rows: shown.map(([name, { precision, recall, f1, support }]) => [name, ...[precision, recall, f1].map(figure), String(support)]),
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
