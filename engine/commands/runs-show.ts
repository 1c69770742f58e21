/** `tunesmith runs show RUN`: the parameters, environment and results of one run. */
import { printableJson, printableName, shortened } from '../printable.ts';
import { type Colors, colorsFor } from '../report/colors.ts';
import { nearPath } from '../report/failure.ts';
import { type Figures, figureLines } from '../report/figures.ts';
import { noticeLines, resultLines } from '../report/outcome.ts';
import { tableLines } from '../report/table.ts';
import { bytes, duration, moment, oneLine, pad, width } from '../report/text.ts';
import { type RunDetails, reading } from '../run/records.ts';
import { commitOf, countsOf, runNamed } from './run-words.ts';
import type { RunsOptions } from './runs.ts';

export function showRun(root: string, word: string, { json }: RunsOptions): string[] {
  const id = runNamed(root, word);
  const [record, text] = reading(root, (records) => {
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
  const figures: Figures = new Map();
  for (const { cell, name, value, step } of metrics) {
    if (step === undefined) figures.set(cell, (figures.get(cell) ?? new Map()).set(name, value));
  }
  const told = new Map<string, string[]>();
  for (const { cell, message } of notices) told.set(message, [...(told.get(message) ?? []), ...(cell === undefined ? [] : [cell])]);
  const logs = cells.filter(({ state, log }) => state === 'failed' && log).map(({ cell, log }) => `log of ${cell}: ${nearPath(log!)}`);
  const fresh = counts.fresh ? [`${counts.fresh.toLocaleString('en-US')} more were fresh`] : [];
  const heading = ['cell', 'state', 'time', 'CPU', 'memory', 'why'];
  return [
    `run ${id} of ${printableName(pipeline)}, ${moment(started)}${seconds === undefined ? '' : `, ${duration(seconds)}`}: ${countsOf(run)}`,
    ...section(settingLines(run, colors)),
    ...section([
      ...(rows.length > 0 ? tableLines(heading, rows, { columns, right: (c) => c > 1 && c < 5, heading: colors.bold }) : []),
      ...fresh,
    ]),
    ...section(figureLines(figures, columns, colors)),
    ...section(
      resultLines(new Map(cells.flatMap(({ cell, result }) => (result && !cell.includes('[') ? [[cell, result]] : []))), columns, colors),
    ),
    ...section(noticeLines(told, columns, colors)),
    ...section(logs),
  ];
}

function settingLines(run: RunDetails, colors: Colors): string[] {
  const { setting, git, text } = run;
  if (!setting) return [];
  const { params, machine, versions } = setting;
  const { tunesmith, node, ...packages } = versions;
  const rows = [
    ...Object.entries(params).map(([name, value]) => [`param ${name}`, oneLine(typeof value === 'string' ? value : JSON.stringify(value))]),
    ['pipeline', `${text?.slice(0, 12)}`],
    ['commit', git ? `${commitOf(run)}${git.dirty ? ' (with uncommitted changes)' : ''}` : 'not known'],
    ['machine', `${machine.cpu}, ${machine.cores} ${machine.cores === 1 ? 'core' : 'cores'}, ${bytes(machine.memory)}, ${machine.system}`],
    ['versions', `tunesmith ${tunesmith}, Node ${node}`],
    [
      'packages',
      Object.entries(packages)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    ],
  ];
  const names = Math.max(...rows.map(([name]) => width(name!)));
  return rows.map(([name, value]) => `${colors.dim(pad(name!, names))}  ${oneLine(value!)}`);
}

function section(lines: string[]): string[] {
  return lines.length > 0 ? ['', ...lines] : [];
}
