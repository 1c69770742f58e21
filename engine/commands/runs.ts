/** `tunesmith runs` lists past runs, newest first. `runs show RUN` shows one run, `runs diff A B` compares two. */

import { dirname } from 'node:path';
import { printableJson } from '../printable.ts';
import { direction } from '../report/figures.ts';
import { printLines } from '../report/print.ts';
import { tableLines } from '../report/table.ts';
import { duration, figure, moment } from '../report/text.ts';
import { type ChosenMetric, chosenMetrics } from '../run/chosen-metric.ts';
import { type RunRecord, runs } from '../run/records.ts';
import { openPipeline, recordsRoot, usage } from './pipeline-file.ts';
import { commitOf, countsOf } from './run-words.ts';

export interface RunsOptions {
  file?: string;
  json?: boolean;
  rows: number;
  /** The metric to list instead of the one that each run selected by. */
  metric?: string;
}

export default async function listRuns(words: string[], options: RunsOptions): Promise<void> {
  const root = options.file ? (await openPipeline(options.file, {})).root : (recordsRoot() ?? dirname(process.cwd()));
  const [first, ...rest] = words;
  if (first === 'diff' && rest.length <= 2) {
    const { diffRuns } = await import('./runs-diff.ts');
    return printLines(diffRuns(root, rest, options));
  }
  const shown = first === 'show' ? (rest[0] ?? 'latest') : first;
  const extra = rest.slice(first === 'show' ? 1 : 0);
  if (extra.length > 0 || (first !== undefined && first !== 'show' && !/^(\d+|latest|previous)$/.test(first))) {
    throw usage(
      `runs has no subcommand "${words.join(' ')}"`,
      'Write `tunesmith runs`, `tunesmith runs show 12` or `tunesmith runs diff 11 12`.',
    );
  }
  if (shown !== undefined) {
    const { showRun } = await import('./runs-show.ts');
    return printLines(showRun(root, shown, options));
  }
  const all = runs(root, options.rows);
  const ids = all.map(({ id }) => id);
  const metrics = chosenMetrics(root, ids, options.metric, direction);
  if (options.metric !== undefined && all.length > 0 && metrics.size === 0)
    throw usage(`no cell of these runs has a metric "${options.metric}"`, '`tunesmith runs show` lists the metrics of a run.');
  printLines(options.json ? all.map((run) => printableJson({ ...run, metric: metrics.get(run.id) })) : listLines(all, metrics));
}

function listLines(all: RunRecord[], metrics: Map<number, ChosenMetric>): string[] {
  if (all.length === 0) return ['there are no runs yet'];
  // If all runs have the same metric, its name appears once, in the heading.
  const names = new Set([...metrics.values()].map(({ name }) => name));
  const alone = names.size === 1 ? [...names][0] : undefined;
  const metricOf = (run: number) => {
    const { name, value } = metrics.get(run) ?? {};
    return value === undefined ? '' : alone === undefined ? `${name} ${figure(value)}` : figure(value);
  };
  const rows = all.map((run) => [
    String(run.id),
    moment(run.started),
    run.pipeline,
    run.seconds === undefined ? '–' : duration(run.seconds),
    metricOf(run.id),
    commitOf(run),
    countsOf(run),
  ]);
  const options = { columns: process.stdout.columns || 120, right: (c: number) => c === 1 || c === 3 || (c === 4 && alone !== undefined) };
  return tableLines(['run', 'started', 'pipeline', 'time', alone ?? 'metric', 'commit', 'cells'], rows, options);
}
