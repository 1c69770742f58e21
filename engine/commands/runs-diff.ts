/** `tunesmith runs diff A B`: compares parameters, the parts of each cell's fingerprint, and metrics. */
import { printableJson } from '../printable.ts';
import { type Colors, colorsFor } from '../report/colors.ts';
import { differenceLines, textLines } from '../report/differences.ts';
import { tableLines } from '../report/table.ts';
import { count, figure, moment, oneLine, someOf } from '../report/text.ts';
import { type CellCompared, type Change, compareRuns, type RunsCompared } from '../run/compare-runs.ts';
import { type RunRecord, runs } from '../run/records.ts';
import { usage } from './pipeline-file.ts';
import { runNamed } from './run-words.ts';
import type { RunsOptions } from './runs.ts';

/**
 * Without arguments, compares the latest finished run with the finished run before it of the same pipeline. One argument
 * replaces the earlier run. A number may refer to a run that has not finished.
 */
export function diffRuns(root: string, words: string[], { json }: RunsOptions): string[] {
  const compared = compareRuns(root, ...pairNamed(root, words))!;
  return json ? [printableJson(compared)] : lines(compared, colorsFor(process.stdout));
}

function pairNamed(root: string, [first, second]: string[]): [before: number, after: number] {
  const all = runs(root, Number.MAX_SAFE_INTEGER);
  const finished = all.filter(({ state }) => state === 'ended');
  const [latest] = finished;
  const before = (id: number, pipeline: string) => finished.find((run) => run.id < id && run.pipeline === pipeline)?.id;
  const idOf = (word: string) => {
    if (!latest || !/^(latest|previous)$/.test(word)) return runNamed(root, word);
    return word === 'latest' ? latest.id : (before(latest.id, latest.pipeline) ?? runNamed(root, word));
  };
  if (first !== undefined && second !== undefined) return [idOf(first), idOf(second)];
  if (!latest) throw usage(all.length === 0 ? 'there are no runs yet' : 'no run has finished yet', '`tunesmith runs` lists them.');
  const given = first === undefined ? undefined : idOf(first);
  const pipeline = all.find(({ id }) => id === given)?.pipeline ?? latest.pipeline;
  const after = finished.find((run) => run.pipeline === pipeline && (given === undefined || run.id > given))?.id ?? given!;
  const former = given !== undefined && given !== after ? given : before(after, pipeline);
  if (former === undefined)
    throw usage(
      `there is no finished run of ${pipeline} before run ${after}`,
      '`tunesmith runs` lists them; `runs diff A B` compares any two.',
    );
  return [former, after];
}

function lines(compared: RunsCompared, colors: Colors): string[] {
  const { before, after, params, setting, text, cells } = compared;
  const told = [
    ...section('params', changeLines(params), colors),
    ...section('pipeline', text ? textLines(text, colors) : [], colors),
    ...section('cells', cellLines(cells, colors), colors),
    ...section('metrics', metricLines(cells), colors),
    ...section('environment', changeLines(setting), colors),
  ];
  const head = `run ${before.id} of ${named(before)} → run ${after.id} of ${named(after)}`;
  return [head, ...(told.length > 0 ? told : ['', 'no difference'])];
}

/** Marks a run that is in progress or was interrupted, because its results are incomplete. */
function named({ started, state }: RunRecord): string {
  return `${moment(started)}${state === 'ended' ? '' : state === 'running' ? ' (running)' : ' (interrupted)'}`;
}

function changeLines(changes: Change[]): string[] {
  return changes.map(({ name, before, after }) => `  ${name}: ${oneLine(before ?? 'unset')} → ${oneLine(after ?? 'unset')}`);
}

/** Groups cells with the same differences, mostly cells of one matrix. */
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
    if (change === 'unknown') return [`  ${names}: changed; the records of these runs are too old to show how`];
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
  return [...table, ...(same > 0 ? [`${count(same, 'other')} ${same === 1 ? 'is' : 'are'} equal`] : [])].map((line) =>
    `  ${line}`.trimEnd(),
  );
}

function signed(value: number): string {
  return value > 0 ? `+${figure(value)}` : figure(value);
}

function section(title: string, lines: string[], colors: Colors): string[] {
  return lines.length > 0 ? ['', colors.bold(title), ...lines] : [];
}
