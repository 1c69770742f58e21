/** `tunesmith runs diff A B`: parameters, what decided each cell's result, and what came of it. */
import { printableJson } from '../printable.ts';
import { type Colors, colorsFor } from '../report/colors.ts';
import { differenceLines, textLines } from '../report/differences.ts';
import { tableLines } from '../report/table.ts';
import { count, figure, moment, oneLine, someOf } from '../report/text.ts';
import { type CellCompared, type Change, compareRuns, type RunsCompared } from '../run/compare-runs.ts';
import { runNamed } from './run-words.ts';
import type { RunsOptions } from './runs.ts';

/** Without words the latest run is compared with the one before, with one word with that. */
export function diffRuns(root: string, [first = 'previous', second = 'latest']: string[], { json }: RunsOptions): string[] {
  const compared = compareRuns(root, runNamed(root, first), runNamed(root, second))!;
  return json ? [printableJson(compared)] : lines(compared, colorsFor(process.stdout));
}

function lines(compared: RunsCompared, colors: Colors): string[] {
  const { before, after, params, setting, text, cells } = compared;
  const told = [
    ...section('params', changeLines(params), colors),
    ...section('pipeline', text ? textLines(text, colors) : [], colors),
    ...section('cells', cellLines(cells, colors), colors),
    ...section('metrics', metricLines(cells), colors),
    ...section('ran in', changeLines(setting), colors),
  ];
  const head = `run ${before.id} of ${moment(before.started)} → run ${after.id} of ${moment(after.started)}`;
  return [head, ...(told.length > 0 ? told : ['', 'no difference'])];
}

function changeLines(changes: Change[]): string[] {
  return changes.map(({ name, before, after }) => `  ${name}: ${oneLine(before ?? 'unset')} → ${oneLine(after ?? 'unset')}`);
}

/** Cells with the same differences, of a matrix mostly, are told of together. */
function cellLines(cells: CellCompared[], colors: Colors): string[] {
  const alike = new Map<string, CellCompared[]>();
  for (const cell of cells) {
    if (cell.change === 'same') continue;
    const key = JSON.stringify([cell.change, cell.differences]);
    alike.set(key, [...(alike.get(key) ?? []), cell]);
  }
  return [...alike.values()].flatMap((group) => {
    const [{ change, differences }] = group as [CellCompared];
    const names = someOf(
      group.map(({ cell }) => cell),
      NAMED,
    );
    if (change === 'added' || change === 'removed') return [`  ${change}: ${names}`];
    if (change === 'unknown') return [`  ${names}: changed; these runs are too old to tell how`];
    return [`  ${names}:`, ...differences.flatMap((difference) => differenceLines(difference, colors).map((line) => `    ${line}`))];
  });
}

const NAMED = 6;

function metricLines(cells: CellCompared[]): string[] {
  const all = cells.flatMap(({ cell, metrics }) => metrics.map((metric) => ({ cell, ...metric })));
  const other = all.filter(({ before, after }) => !Object.is(before, after));
  if (other.length === 0) return [];
  const rows = other.map(({ cell, name, before, after }) => [
    cell,
    name,
    figure(before ?? null),
    figure(after ?? null),
    before === undefined || after === undefined ? '' : signed(after - before),
  ]);
  const table = tableLines(['cell', 'metric', 'before', 'after', 'change'], rows, {
    columns: (process.stdout.columns || 120) - 2,
    right: (c) => c > 1,
  });
  const same = all.length - other.length;
  return [...table, ...(same > 0 ? [`${count(same, 'other')} ${same === 1 ? 'is' : 'are'} the same`] : [])].map((line) =>
    `  ${line}`.trimEnd(),
  );
}

function signed(value: number): string {
  return value > 0 ? `+${figure(value)}` : figure(value);
}

function section(title: string, lines: string[], colors: Colors): string[] {
  return lines.length > 0 ? ['', colors.bold(title), ...lines] : [];
}
