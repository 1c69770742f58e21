/** Past runs. `tunesmith runs` lists them, `runs show` shows one, `runs diff` compares two, and `logs` prints the logs of cells. */

import { createReadStream, existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pipeline as pipe } from 'node:stream/promises';
import { stripVTControlCharacters } from 'node:util';
import { InvalidError, usage } from '../contract/errors.ts';
import { displayPath } from '../files/paths.ts';
import { tableLines } from '../format/table.ts';
import {
  type Colors,
  colorsFor,
  printable,
  printableInColor,
  printableJson,
  printableName,
  printLines,
  shortened,
} from '../format/terminal-text.ts';
import { bytes, count, duration, figure, moment, oneLine, pad, someOf, width } from '../format/text.ts';
import { readText } from '../pipeline/request.ts';
import { differenceLines, textLines } from '../report/differences.ts';
import { environmentRows } from '../report/environment.ts';
import { type FinalMetrics, metricTables } from '../report/metric-tables.ts';
import { nearPath, noticeLines, paragraph, resultLines } from '../report/outcome.ts';
import { type CellCompared, type Change, type ChosenMetric, chosenMetrics, compareRuns, type RunsCompared } from '../run/past-runs.ts';
import { lastLog, pastRuns, type RunDetails, type RunRecord, readRecords, runDetails } from '../run/records.ts';
import { cellsNamed, unknownCell } from '../run/select-cells.ts';
import { fileAmong, openPipeline, outerProject, type PipelineOptions, projectRoot } from './pipeline-file.ts';

/** The number of a run, which the user gives as a number, `latest` or `previous`. `file`: the pipeline, if the user names one. */
export function runNamed(root: string, word: string, file?: string): number {
  const place = ['latest', 'previous'].indexOf(word);
  if (place < 0 && !/^\d{1,15}$/.test(word)) throw usage(`"${word}" is no run`, 'Give the number of a run, latest or previous.');
  const all = pastRuns(root, Number.MAX_SAFE_INTEGER);
  if (all.length === 0 && file === undefined) throw usage('there are no runs yet', outerProject(root));
  const known = ofPipeline(all, root, file);
  if (known.length === 0)
    throw usage(
      `${displayPath(resolve(file!))} has not run yet`,
      outerProject(root) ?? `Run it: tunesmith run ${nearPath(resolve(file!))}`,
    );
  const id = place < 0 ? Number(word) : known[place]?.id;
  if (id === undefined) throw usage('there is no run before the latest', '`tunesmith runs` lists them.');
  if (known.some((run) => run.id === id)) return id;
  const other = all.find((run) => run.id === id);
  if (other)
    throw usage(
      `run ${id} is a run of ${printableName(other.pipeline)}, not of ${displayPath(resolve(file!))}`,
      'Name that pipeline, or none.',
    );
  throw usage(`there is no run ${word}`, '`tunesmith runs` lists them.');
}

/** The runs of a pipeline; all runs without one. */
function ofPipeline(runs: RunRecord[], root: string, file: string | undefined): RunRecord[] {
  return file === undefined ? runs : runs.filter(({ pipeline }) => resolve(root, pipeline) === resolve(file));
}

/** `1a2b3c4`, or `1a2b3c4+` if there were uncommitted changes. */
function commitOf({ git }: RunRecord): string {
  return git ? `${git.commit.slice(0, 7)}${git.dirty ? '+' : ''}` : '–';
}

function countsOf({ counts, state }: RunRecord): string {
  const outcomes = Object.entries(counts).filter(([, n]) => n > 0);
  if (outcomes.length > 0) return outcomes.map(([name, n]) => `${n.toLocaleString('en-US')} ${name}`).join(', ');
  return state === 'ended' ? 'nothing' : state === 'running' ? 'running' : 'interrupted';
}

interface RunsOptions {
  file?: string;
  json?: boolean;
  rows: number;
  /** The metric to list instead of the one that each run selected by. */
  metric?: string;
}

export default async function listRuns(words: string[], options: RunsOptions): Promise<void> {
  // The pipeline may be invalid now.
  if (options.file !== undefined) readText(resolve(options.file), displayPath(resolve(options.file)));
  const root = projectRoot(options.file);
  const [first, ...rest] = words;
  if (first === 'diff' && rest.length <= 2) return printLines(diffRuns(root, rest, options));
  const shown = first === 'show' ? (rest[0] ?? 'latest') : first;
  const extra = rest.slice(first === 'show' ? 1 : 0);
  if (extra.length > 0 || (first !== undefined && first !== 'show' && !/^(\d+|latest|previous)$/.test(first)))
    throw usage(
      `runs has no subcommand "${words.join(' ')}"`,
      'Write `tunesmith runs`, `tunesmith runs show 12` or `tunesmith runs diff 11 12`.',
    );
  if (shown !== undefined) return printLines(showRun(root, shown, options));
  const { file, rows } = options;
  const all = file === undefined ? pastRuns(root, rows) : ofPipeline(pastRuns(root, Number.MAX_SAFE_INTEGER), root, file).slice(0, rows);
  const ids = all.map(({ id }) => id);
  const metrics = chosenMetrics(root, ids, options.metric);
  if (options.metric !== undefined && all.length > 0 && metrics.size === 0)
    throw usage(`no cell of these runs has a metric "${options.metric}"`, '`tunesmith runs show` lists the metrics of a run.');
  if (options.json) return printLines(all.map((run) => printableJson({ ...run, metric: metrics.get(run.id) })));
  const outer = outerProject(root);
  printLines(all.length > 0 ? listLines(all, metrics) : ['there are no runs yet', ...(outer ? [outer] : [])]);
}

function listLines(all: RunRecord[], metrics: Map<number, ChosenMetric>): string[] {
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

/* `tunesmith runs show RUN`: the parameters, environment and results of one run. */

function showRun(root: string, word: string, { json, file }: RunsOptions): string[] {
  const id = runNamed(root, word, file);
  const [record, text] = readRecords(root, (records) => {
    const run = records.run(id)!;
    return [run, run.text === undefined ? undefined : records.text(run.text)] as const;
  })!;
  return json ? [printableJson({ ...record, pipelineText: text })] : runLines(record, colorsFor(process.stdout));
}

function runLines(run: RunDetails, colors: Colors): string[] {
  const { id, pipeline, started, seconds, counts, cells, metrics, notices } = run;
  const columns = process.stdout.columns || 120;
  const rows = cells.map(({ cell, state, seconds, usage, why, failure }) => [
    cell,
    state,
    duration(seconds),
    usage ? duration(usage.cpuSeconds) : '–',
    usage ? bytes(usage.peakBytes) : '–',
    oneLine(shortened(failure ?? why ?? '', 500)),
  ]);
  const finalMetrics: FinalMetrics = new Map();
  for (const { cell, name, value, step, better, low, high } of metrics) {
    if (step === undefined) finalMetrics.set(cell, (finalMetrics.get(cell) ?? new Map()).set(name, { value, better, low, high }));
  }
  const cellsOfNotice = new Map<string, string[]>();
  for (const { cell, message } of notices)
    cellsOfNotice.set(message, [...(cellsOfNotice.get(message) ?? []), ...(cell === undefined ? [] : [cell])]);
  const logs = cells.filter(({ state, log }) => state === 'failed' && log).map(({ cell, log }) => `log of ${cell}: ${nearPath(log!)}`);
  const fresh = counts.fresh ? [`${counts.fresh.toLocaleString('en-US')} more were fresh`] : [];
  const heading = ['cell', 'state', 'time', 'CPU', 'memory', 'why'];
  return [
    `run ${id} of ${printableName(pipeline)}, ${moment(started)}${seconds === undefined ? '' : `, ${duration(seconds)}`}: ${countsOf(run)}`,
    ...paragraph(settingLines(run, colors)),
    ...paragraph([
      ...(rows.length > 0 ? tableLines(heading, rows, { columns, right: (c) => c > 1 && c < 5, heading: colors.bold }) : []),
      ...fresh,
    ]),
    ...paragraph(metricTables(finalMetrics, columns, colors)),
    ...paragraph(
      resultLines(new Map(cells.flatMap(({ cell, result }) => (result && !cell.includes('[') ? [[cell, result]] : []))), columns, colors),
    ),
    ...paragraph(noticeLines(cellsOfNotice, columns, colors)),
    ...paragraph(logs),
  ];
}

function settingLines(run: RunDetails, colors: Colors): string[] {
  const { setting, text } = run;
  if (!setting) return [];
  const rows = [
    ...Object.entries(setting.params).map(([name, value]) => [
      `param ${name}`,
      oneLine(typeof value === 'string' ? value : JSON.stringify(value)),
    ]),
    ['pipeline', `${text?.slice(0, 12)}`],
    ...environmentRows(run, commitOf(run)),
  ];
  const names = Math.max(...rows.map(([name]) => width(name!)));
  return rows.map(([name, value]) => `${colors.dim(pad(name!, names))}  ${oneLine(value!)}`);
}

/** Compares the latest finished run with the one before it of the same pipeline. An argument replaces one, and need not be finished. */
function diffRuns(root: string, words: string[], { json, file }: RunsOptions): string[] {
  const compared = compareRuns(root, ...pairNamed(root, words, file))!;
  return json ? [printableJson(compared)] : lines(compared, colorsFor(process.stdout));
}

function pairNamed(root: string, [first, second]: string[], file: string | undefined): [before: number, after: number] {
  const all = ofPipeline(pastRuns(root, Number.MAX_SAFE_INTEGER), root, file);
  const finished = all.filter(({ state }) => state === 'ended');
  const [latest] = finished;
  const before = (id: number, pipeline: string) => finished.find((run) => run.id < id && run.pipeline === pipeline)?.id;
  const idOf = (word: string) => {
    if (!latest || !/^(latest|previous)$/.test(word)) return runNamed(root, word, file);
    return word === 'latest' ? latest.id : (before(latest.id, latest.pipeline) ?? runNamed(root, word, file));
  };
  if (first !== undefined && second !== undefined) return [idOf(first), idOf(second)];
  if (!latest)
    throw usage(
      all.length === 0 ? 'there are no runs yet' : 'no run has finished yet',
      outerProject(root) ?? '`tunesmith runs` lists them.',
    );
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
  const sections = [
    ...section('params', changeLines(params), colors),
    ...section('pipeline', text ? textLines(text, colors) : [], colors),
    ...section('cells', cellLines(cells, colors), colors),
    ...section('metrics', metricLines(cells), colors),
    ...section('environment', changeLines(setting), colors),
  ];
  const head = `run ${before.id} of ${named(before)} → run ${after.id} of ${named(after)}`;
  return [head, ...(sections.length > 0 ? sections : ['', 'no difference'])];
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
  const changed = cells.filter(({ change }) => change !== 'same');
  const alike = Map.groupBy(changed, ({ change, differences }) => JSON.stringify([change, differences]));
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
  return lines.length > 0 ? paragraph([colors.bold(title), ...lines]) : [];
}

/* `tunesmith logs CELL`: prints the log of a cell, of its last run or of a given run. */

export async function logs(words: string[], options: PipelineOptions & { run?: string }): Promise<void> {
  const { file, rest } = fileAmong(words);
  if (rest.length !== 1)
    throw usage(`logs takes one cell or step${rest.length > 1 ? `, not ${rest.length}` : ''}`, 'For example: tunesmith logs train');
  const [word] = rest as [string];
  const pipeline = await openPipeline(file, options, { lastRun: true });
  const cells = cellsNamed(pipeline, word);
  if (cells.length === 0) throw new InvalidError([unknownCell(pipeline, word)]);

  const id = options.run === undefined ? undefined : runNamed(pipeline.root, options.run, file ?? options.file);
  const logOf = id === undefined ? (cell: string) => lastLog(pipeline, cell) : logsOfRun(pipeline.root, id);
  const logs = cells.map(({ name }) => ({ name, log: logOf(name) })).filter(({ log }) => log !== undefined && existsSync(log));
  if (logs.length === 0 && id !== undefined)
    throw usage(`${word} has no log of run ${id}`, `The log of its last run: tunesmith logs ${word}`);
  if (logs.length === 0)
    throw usage(`${word} has no log: it has not run yet`, `Run it: tunesmith run ${displayPath(pipeline.file)} --until ${word}`);
  for (const [i, { name, log }] of logs.entries()) {
    if (logs.length > 1) printLines([`${i > 0 ? '\n' : ''}${name}`]);
    if (process.stdout.isTTY) await pipe(createReadStream(log!, 'utf8'), visibly, process.stdout, { end: false });
    else await pipe(createReadStream(log!), process.stdout, { end: false });
  }
}

/** Makes a log safe for a terminal: keeps colours if colours are on, escapes other control sequences, and prints each state of a progress bar on its own line. */
async function* visibly(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  const inColor = colorsFor(process.stdout).isColorSupported;
  const shown = (text: string) => {
    const lines = text.replace(/\r\n?/g, '\n');
    return inColor ? printableInColor(lines) : printable(stripVTControlCharacters(lines));
  };
  let rest = '';
  for await (const chunk of chunks) {
    const text = rest + chunk;
    // A control sequence or a line end may continue in the next chunk.
    const end = /\p{Cc}[^\p{Cc}A-Za-z]{0,40}$/u.exec(text)?.index ?? text.length;
    rest = text.slice(end);
    yield shown(text.slice(0, end));
  }
  yield shown(rest) + (inColor ? RESET : '');
}

const RESET = '\u001b[0m';

function logsOfRun(root: string, id: number): (cell: string) => string | undefined {
  const logs = new Map(runDetails(root, id)!.cells.map(({ cell, log }) => [cell, log]));
  return (cell) => logs.get(cell);
}
