/** `tunesmith runs`: past runs, newest first. `tunesmith runs show ID`: one of them, with its cells and figures. */
import { dirname } from 'node:path';
import { colorsFor } from '../report/colors.ts';
import { nearPath } from '../report/failure.ts';
import { type Figures, figureLines } from '../report/figures.ts';
import { noticeLines } from '../report/outcome.ts';
import { tableLines } from '../report/table.ts';
import { duration, moment, oneLine } from '../report/text.ts';
import { type RunDetails, type RunRecord, run, runs } from '../run/records.ts';
import { openPipeline, recordsRoot, usage } from './pipeline-file.ts';

export default async function listRuns(words: string[], { file, json }: { file?: string; json?: boolean }): Promise<void> {
  const root = file ? (await openPipeline(file, {})).root : (recordsRoot() ?? dirname(process.cwd()));
  const [first, id, ...more] = words;
  const show = first === 'show' ? id : /^\d+$/.test(first ?? '') ? first : undefined;
  if ((first !== undefined && show === undefined) || more.length > 0 || (show !== undefined && !/^\d+$/.test(show))) {
    throw usage(`runs does not know "${words.join(' ')}"`, 'Write `tunesmith runs`, or `tunesmith runs show 12`.');
  }
  if (show === undefined) {
    const all = runs(root, LISTED);
    return print(json ? all.map((record) => JSON.stringify(record)) : listLines(all));
  }
  const record = run(root, Number(show));
  if (!record) throw usage(`there is no run ${show}`, '`tunesmith runs` lists them.');
  print(json ? [JSON.stringify(record)] : runLines(record));
}

const LISTED = 20;

function listLines(all: RunRecord[]): string[] {
  if (all.length === 0) return ['nothing has run here yet'];
  const rows = all.map(({ id, pipeline, started, seconds, counts }) => [
    String(id),
    moment(started),
    pipeline,
    seconds === undefined ? '–' : duration(seconds),
    countsOf(counts, seconds),
  ]);
  return tableLines(['run', 'started', 'pipeline', 'time', 'cells'], rows, { columns: screenColumns(), right: (c) => c === 3 });
}

function runLines({ id, pipeline, started, seconds, counts, cells, metrics, notices }: RunDetails): string[] {
  const columns = screenColumns();
  const colors = colorsFor(process.stdout);
  const rows = cells.map(({ cell, state, seconds, why, failure }) => [cell, state, duration(seconds), oneLine(failure ?? why ?? '')]);
  const figures: Figures = new Map();
  for (const { cell, name, value, step } of metrics) {
    if (step === undefined) figures.set(cell, (figures.get(cell) ?? new Map()).set(name, value));
  }
  const told = new Map<string, string[]>();
  for (const { cell, message } of notices) told.set(message, [...(told.get(message) ?? []), ...(cell === undefined ? [] : [cell])]);
  const logs = cells.filter(({ state, log }) => state === 'failed' && log).map(({ cell, log }) => `log of ${cell}: ${nearPath(log!)}`);
  const fresh = counts.fresh ? [`${counts.fresh.toLocaleString('en-US')} more stayed fresh`] : [];
  return [
    `run ${id} of ${pipeline}, ${moment(started)}${seconds === undefined ? '' : `, ${duration(seconds)}`}: ${countsOf(counts, seconds)}`,
    ...section([
      ...(rows.length > 0
        ? tableLines(['cell', 'state', 'time', 'why'], rows, { columns, right: (c) => c === 2, heading: colors.bold })
        : []),
      ...fresh,
    ]),
    ...section(figureLines(figures, columns, colors)),
    ...section(noticeLines(told, columns, colors)),
    ...section(logs),
  ];
}

function countsOf(counts: RunRecord['counts'], seconds: number | undefined): string {
  const told = Object.entries(counts).filter(([, n]) => n > 0);
  if (told.length > 0) return told.map(([state, n]) => `${n.toLocaleString('en-US')} ${state}`).join(', ');
  return seconds === undefined ? 'did not end, or is running' : 'nothing';
}

function section(lines: string[]): string[] {
  return lines.length > 0 ? ['', ...lines] : [];
}

function screenColumns(): number {
  return process.stdout.columns ?? 120;
}

function print(lines: string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}
