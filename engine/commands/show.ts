/** `tunesmith show ARTIFACT`: previews a path or an output of the pipeline (`split.data` or `split data`). */

import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { histories, previews } from '../../steps/registry.ts';
import { type Cell, fileName, type Pipeline } from '../contract/cell.ts';
import { InvalidError, usage } from '../contract/errors.ts';
import { didYouMean } from '../format/did-you-mean.ts';
import { tableLines } from '../format/table.ts';
import { colorsFor, printable, printableName, printLines } from '../format/terminal-text.ts';
import { clip, oneLine, pad, width, wrap } from '../format/text.ts';
import { nearPath } from '../report/outcome.ts';
import { cellOfName, cellsNamed, cellTest, unknownCell } from '../run/select-cells.ts';
import { fileAmong, openPipeline, type PipelineOptions } from './pipeline-file.ts';
import { runNamed } from './runs.ts';

interface ShowOptions extends PipelineOptions {
  rows: number;
  limit?: number;
  sort?: string;
  columns?: string[];
  where?: string;
  asc?: true;
  desc?: true;
  tensorboard?: string;
  run?: string;
}

export default async function show(words: string[], options: ShowOptions): Promise<void> {
  if (options.sort === undefined && (options.asc || options.desc))
    throw usage(`--${options.asc ? 'asc' : 'desc'} needs --sort`, 'For example: tunesmith show evaluate.predictions --sort loss');
  if (options.run === undefined) return print(await artifactsOf(words, options), options);
  const copies = mkdtempSync(join(tmpdir(), 'tunesmith-show-'));
  try {
    await print(await artifactsOfRun(words, options.run, options, copies), options);
  } finally {
    rmSync(copies, { recursive: true, force: true });
  }
}

async function print(artifacts: Artifact[], options: ShowOptions): Promise<void> {
  if (options.tensorboard !== undefined) return writeCurves(artifacts, options.tensorboard);
  const { preview } = await previews();
  const columns = process.stdout.columns || 120;
  const colors = colorsFor(process.stdout);
  const lines: string[] = [];
  const selection = selectionOf(options);
  for (const { name, path } of artifacts) {
    for (const { title, table, lines: text = [], rest } of await preview(path, options.limit ?? options.rows, selection)) {
      if (lines.length > 0) lines.push('');
      lines.push(`${colors.bold(printableName(name))}: ${oneLine(title)}`);
      if (table && selection && !fits(table, columns)) lines.push(...recordLines(table, columns, colors.dim));
      else if (table) {
        const rows = table.rows.map((row) => row.map((cell) => clip(oneLine(cell), LONGEST)));
        lines.push(...tableLines(table.header, rows, { columns, right: (c) => table.numeric[c] === true, heading: colors.dim }));
      }
      lines.push(...text.map(printable));
      if (rest) lines.push(colors.dim(rest));
    }
  }
  if (selection && lines.length === 0)
    throw usage(
      `--${options.sort !== undefined ? 'sort' : options.where !== undefined ? 'where' : 'columns'} needs a table, and ${artifacts.map(({ name }) => name).join(', ')} is none`,
      'Tables are outputs such as data and predictions.',
    );
  printLines(lines);
}

/** Undefined without an option that selects rows or columns of a table. */
function selectionOf({ sort, asc, columns, where }: ShowOptions) {
  if (sort === undefined && columns === undefined && where === undefined) return undefined;
  return {
    sort: sort === undefined ? undefined : { column: sort, descending: asc !== true },
    columns,
    where,
  };
}

interface Table {
  header: string[];
  rows: string[][];
}

const GAP = 2;

function fits({ header, rows }: Table, columns: number): boolean {
  const widths = header.map((head, c) => Math.max(width(head), ...rows.map((row) => width(oneLine(row[c] ?? '')))));
  return widths.reduce((sum, one) => sum + one + GAP, -GAP) <= columns;
}

/** Each row as a block with one line for each column. Long texts continue on further lines. */
function recordLines({ header, rows }: Table, columns: number, heading: (text: string) => string): string[] {
  const names = header.map(printableName);
  const left = Math.min(Math.max(...names.map(width)), Math.floor(columns / 3));
  const indent = ' '.repeat(left + GAP);
  return rows.flatMap((row, r) => [
    ...(r > 0 ? [''] : []),
    ...row.flatMap((cell, c) => {
      const text = clip(printable(oneLine(cell)), LONGEST_TEXT);
      const name = heading(pad(clip(names[c]!, left), left)) + ' '.repeat(GAP);
      return wrap(text, Math.max(20, columns - left - GAP), '').map((line, i) => `${i === 0 ? name : indent}${line}`.trimEnd());
    }),
  ]);
}

/** Maximum number of characters of a text that is shown on several lines. */
const LONGEST_TEXT = 2000;

/** Maximum number of characters of a table cell, so that a long mail does not fill the screen. */
const LONGEST = 200;

/** Writes one folder for each training, because TensorBoard shows each folder as one run. */
async function writeCurves(artifacts: Artifact[], into: string): Promise<void> {
  const { exportHistory } = await histories();
  const written: string[] = [];
  for (const { name, cell, path } of artifacts) {
    const folder = join(into, fileName(cell ?? name));
    if (statSync(path).isFile() && (await exportHistory(path, folder))) written.push(nearPath(folder));
  }
  if (written.length === 0)
    throw usage(`${artifacts.map(({ name }) => name).join(', ')} has no curves`, 'Name a train step, or the file of its output `history`.');
  printLines([...written.map((folder) => `wrote ${folder}`), '', `  tensorboard --logdir ${nearPath(into)}`]);
}

interface Artifact {
  name: string;
  /** The cell that made it, if it is an output of the pipeline. */
  cell?: string;
  path: string;
}

async function artifactsOf(words: string[], options: PipelineOptions): Promise<Artifact[]> {
  // An existing path takes precedence, even if it is a pipeline file.
  if (words.length === 1 && existsSync(words[0]!)) return [{ name: nearPath(words[0]!), path: words[0]! }];
  const { file, rest } = fileAmong(words);
  const [first, second, ...others] = rest;
  if (first === undefined || others.length > 0)
    throw usage(`"${words.join(' ')}" is no artifact`, 'Give a path, or an output of the pipeline such as split.data.');
  if (second === undefined && /[/\\]/.test(first)) throw usage(`${first} does not exist`);

  const pipeline = await openPipeline(file, options, {
    none: `there is no file or folder ${first} and no pipeline here`,
    lastRun: true,
  });
  const { cells, output } = second === undefined ? parsed(first, pipeline) : { cells: named(first, pipeline), output: second };
  const all = cells.flatMap((cell) => {
    const names = Object.keys(cell.outputs);
    if (names.length === 0) throw usage(`${cell.name} has no outputs`);
    if (output !== undefined && !names.includes(output))
      throw usage(`${cell.name} has no output "${output}"`, didYouMean(output, names, 'outputs'));
    return (output === undefined ? names : [output]).map((name) => ({
      name: `${cell.name}.${name}`,
      cell: cell.name,
      path: cell.outputs[name]!.path,
    }));
  });
  const there = all.filter(({ path }) => existsSync(path));
  if (there.length === 0)
    throw usage(
      `${all[0]!.name} does not exist: ${nearPath(all[0]!.path)}`,
      `To make it, run: tunesmith run ${nearPath(pipeline.file)} --until ${cells[0]!.step}`,
    );
  return there;
}

/** Artifacts of a past run. Its cells may no longer be in the pipeline. */
async function artifactsOfRun(words: string[], run: string, options: PipelineOptions, copies: string): Promise<Artifact[]> {
  const { file, rest } = fileAmong(words);
  const [word, second, ...others] = rest;
  if (word === undefined || others.length > 0)
    throw usage('show --run needs a cell or step, and an output', 'For example: tunesmith show train.history --run 12');
  const pipeline = await openPipeline(file, options, { lastRun: true });
  const { pastOutputs } = await import('../run/past-runs.ts');
  const number = runNamed(pipeline.root, run, file ?? options.file);
  const [step, output] = second === undefined ? cellAndOutput(word) : [word, second];
  const ofStep = cellTest(step);
  const { outputs, gone } = await pastOutputs(
    pipeline,
    number,
    (cell, name) => ofStep(cellOfName(cell)) && (name === undefined || output === undefined || name === output),
    copies,
  );
  if (outputs.length === 0)
    throw usage(
      gone.length > 0
        ? `the outputs of ${gone.join(', ')} in run ${number} are no longer stored`
        : `run ${number} has no output ${rest.join(' ')}`,
      `\`tunesmith runs show ${number}\` lists its cells.`,
    );
  return outputs.map(({ cell, output, path }) => ({ name: `${cell}.${output} of run ${number}`, cell, path }));
}

/** Parses `split.data`, `train[rate=0.1].model`, or a cell alone, which means all its outputs. A cell's name may contain points. */
function parsed(word: string, pipeline: Pipeline): { cells: Cell[]; output?: string } {
  const whole = cellsNamed(pipeline, word);
  if (whole.length > 0) return { cells: whole };
  const [cell, output] = cellAndOutput(word);
  return { cells: named(cell, pipeline), output };
}

function cellAndOutput(word: string): [cell: string, output?: string] {
  const point = word.lastIndexOf('.');
  return point <= Math.max(0, word.lastIndexOf(']')) ? [word] : [word.slice(0, point), word.slice(point + 1)];
}

function named(word: string, pipeline: Pipeline): Cell[] {
  const cells = cellsNamed(pipeline, word);
  if (cells.length === 0) throw new InvalidError([unknownCell(pipeline, word)]);
  return cells;
}
