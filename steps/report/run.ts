/** Sections about the run: the sweep, the graph of cells with times and cache states, the environment, and the lockfile. */

import type { Json, MetricDirection } from '../../engine/contract/step.ts';
import { betterOf, METRIC_NAMES } from '../ml/tasks/metrics.ts';
import { boundsOf, type EvaluationFile, fieldsOf } from './artifacts.ts';
import { type Block, beginning, count, counted, note, type Section, shown, type Table, type TableCell } from './document.ts';
import { dotChart } from './plots.ts';

/** What the engine knows about a run. */
export interface RunFacts {
  /** One line each: the run, the pipeline, when it ran. */
  about: string[];
  /** Cells in the order of the pipeline. `state`: fresh, restored, ran, failed … */
  cells: {
    cell: string;
    state: string;
    seconds?: number | undefined;
    /** The same as text, or the time of an earlier execution. */
    time?: string | undefined;
    why?: string | undefined;
    failure?: string | undefined;
    result?: string | undefined;
    /** The name of a built-in step. */
    uses?: string | undefined;
  }[];
  /** Cells of the run that are not in the report and that failed, were canceled or were skipped. */
  others?: { cell: string; state: string }[];
  /** Why the run has no end. */
  unfinished?: string;
  /** The pipeline as SVG. */
  graph?: string;
  /** Final metrics of the cells. */
  metrics: {
    cell: string;
    step: string;
    matrix: Record<string, Json>;
    name: string;
    value: number;
    better?: MetricDirection | undefined;
    low?: number | undefined;
    high?: number | undefined;
  }[];
  params: Record<string, Json>;
  environment: [name: string, value: string][];
  /** Fingerprint and output hashes of each cell, as in the lockfile. */
  lock: { cell: string; fingerprint: string; outputs: [name: string, hash: string][] }[];
  notices: { cell?: string; message: string }[];
}

/** The cells of a matrix with their metrics, the best first. */
export function sweepSection(run: RunFacts | undefined, evaluations: readonly EvaluationFile[]): Section | undefined {
  const metrics = run
    ? run.metrics
    : evaluations.flatMap(({ name, cell, matrix, metrics, file }) =>
        Object.entries(metrics).map(([metric, value]) => ({
          cell: cell ?? name,
          step: name.split('[', 1)[0]!,
          matrix,
          name: metric,
          value: value ?? Number.NaN,
          // A custom step may write metrics of which nothing is known.
          better: KNOWN.has(metric) ? betterOf(metric) : undefined,
          ...boundsOf(fieldsOf(file.intervals)[metric]),
        })),
      );
  const blocks: Block[] = [];
  for (const [step, all] of Map.groupBy(
    metrics.filter(({ matrix }) => Object.keys(matrix).length > 0),
    ({ step }) => step,
  )) {
    const cells = [...Map.groupBy(all, ({ cell }) => cell).values()];
    if (cells.length < 2) continue;
    blocks.push(...sweepBlocks(step, cells, blocks.length));
  }
  return blocks.length === 0 ? undefined : { id: 'sweep', title: 'Sweep', blocks };
}

const KNOWN: ReadonlySet<string> = new Set([...METRIC_NAMES, 'loss']);

type Measured = RunFacts['metrics'];

function sweepBlocks(step: string, cells: Measured[], index: number): Block[] {
  const names = [...new Set(cells.flatMap((own) => own.map(({ name }) => name)))]
    .filter((name) => !/\.(lower|upper)$/.test(name))
    .slice(0, 8);
  const keys = [...new Set(cells.flatMap(([first]) => Object.keys(first!.matrix)))];
  const of = (own: Measured, name: string) => own.find((metric) => metric.name === name);
  const main = names.find((name) => of(cells[0]!, name)?.better) ?? names[0]!;
  const sign = of(cells[0]!, main)?.better === 'lower' ? 1 : -1;
  const rank = (own: Measured) => {
    const value = of(own, main)?.value;
    return value === undefined || Number.isNaN(value) ? Number.POSITIVE_INFINITY : sign * value;
  };
  const sorted = [...cells].sort((a, b) => rank(a) - rank(b) || 0);
  const most = sorted.slice(0, MOST_CELLS);
  const table: Table = {
    kind: 'table',
    caption: `Cells of ${step}, ${of(cells[0]!, main)?.better ? `the best ${main} first` : `sorted by ${main}`}`,
    header: [...keys, ...names],
    rows: most.map((own, row) => [
      ...keys.map((key) => valueText(own[0]!.matrix[key])),
      ...names.map((name): string | TableCell => {
        const metric = of(own, name);
        if (!metric) return '–';
        const bounds = metric.low !== undefined && metric.high !== undefined ? ` [${shown(metric.low)}, ${shown(metric.high)}]` : '';
        const isBest = row === 0 && name === main && metric.better !== undefined;
        return { text: `${shown(metric.value)}${bounds}${isBest ? ' *' : ''}`, ...(isBest && { tone: 'good' as const }) };
      }),
    ]),
    numeric: names.map((_, i) => keys.length + i),
    ...(sorted.length > most.length && { more: `+ ${count(sorted.length - most.length)} more cells` }),
  };
  const differing = keys.filter((key) => new Set(cells.map(([first]) => valueText(first!.matrix[key]))).size > 1);
  const bars = most.slice(0, 25).flatMap((own, i) => {
    const metric = of(own, main);
    const name = (differing.length > 0 ? differing : keys).map((key) => `${key}=${valueText(own[0]!.matrix[key])}`).join(', ');
    return metric && Number.isFinite(metric.value)
      ? [{ name, value: metric.value, low: metric.low, high: metric.high, marked: i === 0 && metric.better !== undefined }]
      : [];
  });
  if (bars.length < 2) return [table];
  return [
    table,
    {
      kind: 'picture',
      name: `sweep-${index + 1}`,
      title: `${main} of the cells of ${step}`,
      description: `${bars
        .slice(0, 6)
        .map(({ name, value }) => `${name}: ${shown(value)}`)
        .join('; ')}${bars.length > 6 ? ' …' : ''}. The table above has all values.`,
      svg: dotChart(bars, main),
    },
  ];
}

const MOST_CELLS = 60;

const valueText = (value: Json | undefined): string =>
  beginning(value === undefined ? '–' : typeof value === 'string' ? value : JSON.stringify(value), 60);

export function runSections(run: RunFacts): Section[] {
  const blocks: Block[] = [];
  const states = Map.groupBy(run.cells, ({ state }) => state);
  const summary = [...states].map(([state, cells]) => `${count(cells.length)} ${state}`).join(', ');
  const cells = cellTable(run);
  if (run.graph)
    blocks.push({
      kind: 'picture',
      name: 'pipeline',
      title: 'Cells and their dependencies',
      description: `${counted(run.cells.length, 'cell')}: ${summary}. The table lists the time and the state of each cell.`,
      svg: run.graph,
      closed: true,
    });
  if (run.cells.length > 0) blocks.push(note(`${counted(run.cells.length, 'cell')}: ${summary}.`), cells);
  for (const { cell, message } of run.notices.slice(0, 20)) blocks.push(note(cell === undefined ? message : `${cell}: ${message}`, 'bad'));
  return [
    ...(blocks.length > 0 ? [{ id: 'pipeline-cells', title: 'Pipeline', blocks }] : []),
    ...environment(run),
    ...(run.lock.length > 0 ? [{ id: 'lockfile', title: 'Fingerprints and outputs', blocks: [lockTable(run)] }] : []),
  ];
}

function cellTable({ cells }: RunFacts): Table {
  const longest = Math.max(0, ...cells.map(({ seconds }) => seconds ?? 0));
  // Failed cells always have a row.
  const rank = ({ state }: RunFacts['cells'][number]) => (state === 'failed' ? 0 : 1);
  const most = cells.length > MOST_ROWS ? [...cells].sort((a, b) => rank(a) - rank(b)).slice(0, MOST_ROWS) : cells;
  return {
    kind: 'table',
    caption: 'Cells with their state and time',
    header: ['cell', 'state', 'time', 'reason or result'],
    rows: most.map(({ cell, state, seconds, time, why, failure, result }) => [
      beginning(cell, 160),
      { text: state, ...(state === 'failed' && { tone: 'bad' as const }) },
      { text: time ?? '–', ...(seconds !== undefined && longest > 0 && { share: seconds / longest }) },
      beginning(failure ?? result ?? why ?? '', 300),
    ]),
    numeric: [2],
    ...(cells.length > most.length && { more: `+ ${count(cells.length - most.length)} more cells` }),
  };
}

const MOST_ROWS = 150;

function environment({ params, environment }: RunFacts): Section[] {
  const rows = [
    ...Object.entries(params).map(([name, value]) => [`param ${name}`, valueText(value)]),
    ...environment.map(([name, value]) => [name, beginning(value, 2000)]),
  ];
  if (rows.length === 0) return [];
  return [
    {
      id: 'environment',
      title: 'Environment',
      blocks: [{ kind: 'table', caption: 'Parameters, machine and versions', header: ['name', 'value'], rows, numeric: [] }],
    },
  ];
}

function lockTable({ lock }: RunFacts): Table {
  const most = lock.slice(0, MOST_ROWS);
  return {
    kind: 'table',
    caption: 'What the result of each cell depends on, and its outputs, as SHA-256: the lockfile has the same hashes',
    header: ['cell', 'fingerprint', 'outputs'],
    rows: most.map(({ cell, fingerprint, outputs }) => [
      beginning(cell, 160),
      fingerprint.slice(0, 16),
      outputs.map(([name, hash]) => `${name} ${hash.slice(0, 16)}`).join(', '),
    ]),
    numeric: [],
    ...(lock.length > most.length && { more: `+ ${count(lock.length - most.length)} more cells` }),
  };
}
