/** Collects the outcome of a run from its events and prints it at the end: counts, metrics, notices, paths of outputs. */

import { relative } from 'node:path';
import type { Pipeline } from '../contract/cell.ts';
import { placeLines, placeName } from '../contract/errors.ts';
import type { Failure, RunEvent, Summary } from '../contract/events.ts';
import { type Colors, printableName, readableText } from '../format/terminal-text.ts';
import { clip, clipMiddle, duration, figureWithin, oneLine, outputLine, someOf, thousands, wrap } from '../format/text.ts';
import { type FinalMetric, type FinalMetrics, metricTables } from './metric-tables.ts';

/* The lines below a failed cell: the hint, the end of its log, and the path of the log. */

export function failureLines(failure: Failure, colors: Colors): string[] {
  const { place, hint, stack = [], tail, log } = failure;
  return [
    ...stack.map(({ name, file, line, column }) => {
      const at = `${printableName(nearPath(file))}:${line}:${column}`;
      return `  at ${name === undefined ? at : `${printableName(name)} (${at})`}`;
    }),
    ...(place ? [`  ${printableName(placeName(place))}`, ...placeLines(place, colors)] : []),
    ...(hint ? hint.split('\n').map((line) => `  ${line}`) : []),
    // A step often logs its error message, too. A log tail with only that line adds nothing.
    ...(tail.length === 1 && tail[0] === failure.message ? [] : tail.map((line) => `  │ ${outputLine(line)}`)),
    // There is no log if the cell failed before its code started.
    ...(log ? [`  log: ${printableName(nearPath(log))}`] : []),
  ];
}

/** A path relative to the working folder if that is shorter. */
export function nearPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near === '' ? '.' : near.startsWith('../../..') || near.length > path.length ? path : near;
}

export class RunOutcome {
  readonly #metrics: FinalMetrics = new Map();
  /** The cells of each notice, by its text. */
  readonly #notices = new Map<string, string[]>();
  readonly #results = new Map<string, string>();
  #summary?: Summary;
  #interrupted = false;

  constructor(
    private readonly pipeline: Pipeline,
    private readonly colors: Colors,
  ) {}

  take(event: RunEvent): void {
    if (event.type === 'metric' && event.step === undefined) {
      const { value, better, low, high } = event;
      const metrics = this.#metrics.get(event.cell) ?? new Map<string, FinalMetric>();
      this.#metrics.set(event.cell, metrics.set(event.name, { value, better, low, high }));
    } else if (event.type === 'notice') {
      const cells = this.#notices.get(event.message) ?? [];
      if (event.cell !== undefined && !cells.includes(event.cell)) cells.push(event.cell);
      this.#notices.set(event.message, cells);
    } else if (event.type === 'result') this.#results.set(event.cell, event.message);
    else if (event.type === 'summary') this.#summary = event;
  }

  /** The result of a cell on one line: its own result line, otherwise its final metrics. */
  resultOf(cell: string): string | undefined {
    const metrics = [...(this.#metrics.get(cell) ?? [])].map(([name, metric]) => `${name} ${figureWithin(metric)}`);
    return this.#results.get(cell)?.replaceAll('\n', ' ') ?? (metrics.length > 0 ? metrics.join(', ') : undefined);
  }

  interrupt(): void {
    this.#interrupted = true;
  }

  /** The lines of the outcome, wrapped to `columns`. A path in a notice is not wrapped. */
  lines(columns: number): string[] {
    const summary = this.#summary;
    if (!summary) return [];
    const { colors } = this;
    const results = this.#shownResults(summary);
    const metrics = new Map([...this.#metricsInOrder()].filter(([cell]) => !results.has(cell)));
    return [
      this.#counts(summary),
      ...this.#unfinished(summary).map((line) => clip(line, columns)),
      ...paragraph(metricTables(metrics, columns, colors, 'tunesmith runs show')),
      ...paragraph([...results].flatMap((one) => [...resultLines(new Map([one]), columns, colors), ...this.#metricsOf(one[0])])),
      ...paragraph(noticeLines(this.#notices, columns, colors)),
      ...paragraph(this.#outputs(columns).map((line) => colors.dim(line))),
    ];
  }

  #counts(summary: Summary): string {
    const { colors } = this;
    const paint = {
      failed: colors.red,
      ran: colors.green,
      restored: colors.cyan,
      fresh: colors.dim,
      skipped: colors.yellow,
      canceled: colors.yellow,
    };
    const counts = (Object.keys(paint) as (keyof typeof paint)[])
      .filter((state) => summary[state] > 0)
      .map((state) => paint[state](`${thousands(summary[state])} ${state}`));
    const outcomes = counts.length > 0 ? counts.join(', ') : 'no cells';
    return `${colors.bold(printableName(summary.pipeline))}: ${outcomes} · ${duration(summary.seconds)}`;
  }

  #unfinished(summary: Summary): string[] {
    const named = (state: string) => Object.keys(summary.cells).filter((cell) => summary.cells[cell] === state);
    const lines: string[] = [];
    for (const state of ['failed', 'skipped', 'canceled'] as const) {
      const names = named(state);
      if (names.length > 0) lines.push(`  ${state}: ${someOf(names, 8)}`);
    }
    if (this.#interrupted) {
      const done = summary.ran + summary.fresh + summary.restored;
      const stored = done === 1 ? '1 finished cell is' : `${thousands(done)} finished cells are`;
      lines.push(`  ${stored} stored`, '  run the same command again to continue');
    }
    return lines;
  }

  /** Result lines of steps with one cell, which replace their metrics. The results of a sweep are in its table. */
  #shownResults({ cells }: Summary): Map<string, string> {
    const ended = this.pipeline.cells.filter(
      ({ name, step }) => name === step && ['ran', 'fresh', 'restored'].includes(cells[name]!) && this.#results.has(name),
    );
    return new Map(ended.map(({ name }) => [name, this.#results.get(name)!]));
  }

  #metricsInOrder(): FinalMetrics {
    const order = new Map(this.pipeline.cells.map(({ name }, i) => [name, i]));
    return new Map([...this.#metrics].sort(([a], [b]) => (order.get(a) ?? 0) - (order.get(b) ?? 0)));
  }

  /** The path of the metrics of a cell with a result line, if it is not among the final outputs. */
  #metricsOf(name: string): string[] {
    const metrics = this.#cellsRead().has(name) ? this.pipeline.cells.find((cell) => cell.name === name)?.outputs.metrics : undefined;
    return metrics ? [this.colors.dim(`  ${printableName(nearPath(metrics.path))}`)] : [];
  }

  /** The cells that another cell of this run reads. */
  #cellsRead(): Set<string> {
    const states = this.#summary!.cells;
    return new Set(this.pipeline.cells.filter(({ name }) => Object.hasOwn(states, name)).flatMap(({ reads }) => reads));
  }

  /** Paths of the final outputs: those that no other cell of this run reads. */
  #outputs(columns: number): string[] {
    const states = this.#summary!.cells;
    const read = this.#cellsRead();
    const paths = this.pipeline.cells
      .filter(({ name }) => ['ran', 'fresh', 'restored'].includes(states[name]!) && !read.has(name))
      .flatMap(({ outputs }) => Object.values(outputs).map(({ path }) => printableName(nearPath(path))));
    const clipped = paths.slice(0, OUTPUTS).map((path) => clipMiddle(path, columns - 8));
    const isDistinct = new Set(clipped).size === clipped.length;
    const shown = clipped.map((path, i) => `${i === 0 ? 'output: ' : '        '}${isDistinct ? path : paths[i]}`);
    if (paths.length > OUTPUTS) shown.push(`        + ${thousands(paths.length - OUTPUTS)} more`);
    return shown;
  }
}

export function resultLines(results: Map<string, string>, columns: number, colors: Colors): string[] {
  return [...results].flatMap(([cell, message]) => {
    const [first, ...more] = readableText(message).split('\n').map(oneLine);
    return [
      ...wrap(`${cell}: ${first}`, columns, '  ').map((line, i) => (i === 0 ? colors.bold(cell) + line.slice(cell.length) : line)),
      ...more.flatMap((line) => wrap(`  ${line}`, columns, '    ')),
    ];
  });
}

/** The notices, each printed once even if several cells have it. */
export function noticeLines(notices: Map<string, string[]>, columns: number, colors: Colors): string[] {
  return [...notices].flatMap(([message, cells]) => {
    const who = cells.length > 0 ? `${someOf(cells, cells.length > 3 ? 1 : 3)}: ` : '';
    return wrap(`note: ${who}${readableText(message)}`, columns, '  ').map((line, i) =>
      i === 0 ? colors.yellow('note:') + line.slice(5) : line,
    );
  });
}

const OUTPUTS = 6;

/** The lines after a blank line, if there are any. */
export function paragraph(lines: string[]): string[] {
  return lines.length > 0 ? ['', ...lines] : [];
}
