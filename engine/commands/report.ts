/** `tunesmith report [RUN | CELL…]`: writes a report about a run, or about some of its cells and all that they depend on. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { replaceFile } from '../../cache/atomic-move.ts';
import { reports } from '../../steps/registry.ts';
import type { Pipeline } from '../contract/cell.ts';
import { InvalidError } from '../contract/errors.ts';
import { canonicalJson } from '../format/scalars.ts';
import { printableName, printLines } from '../format/terminal-text.ts';
import { bytes, duration, moment } from '../format/text.ts';
import { readPipeline } from '../pipeline/index.ts';
import { environmentRows } from '../report/environment.ts';
import { graphOf, svg } from '../report/graph.ts';
import { nearPath } from '../report/outcome.ts';
import { type Project, withProject } from '../run/project.ts';
import { type RunDetails, runDetails } from '../run/records.ts';
import { cellsAbove, failedOutputs, locateOutput, outputHashes, type PastCell, type RunResults, runResults } from '../run/run-results.ts';
import { cellTest, unknownCellIn } from '../run/select-cells.ts';
import { fileAmong, projectRoot } from './pipeline-file.ts';
import { runNamed } from './runs.ts';

interface ReportOptions {
  file?: string;
  format: 'html' | 'md';
  output?: string;
  title?: string;
  /** False for --no-examples. */
  examples: number | false;
}

export default async function report(words: string[], options: ReportOptions): Promise<void> {
  const among = fileAmong(words);
  const file = among.file ?? options.file;
  const root = projectRoot(file);
  const { run, cells } = wanted(root, among.rest, file);
  const output = resolve(options.output ?? `report-${run.id}.${options.format}`);
  const scratch = mkdtempSync(join(tmpdir(), 'tunesmith-report-'));
  try {
    const pipeline = await pipelineOf(root, run, scratch);
    const files = await withProject({ root }, { readOnly: true }, async (project) => {
      const all = await runResults(run, pipeline, project);
      const results = { ...all, cells: selected(all, cells, run) };
      const { makeReport, roleOf, isGate } = await reports();
      const { artifacts, missing } = await artifactsOf(results, { run, pipeline, project, scratch, roleOf, isGate });
      return makeReport(
        {
          title: options.title ?? `${pipeline?.name ?? basename(run.pipeline)}, run ${run.id}`,
          format: options.format,
          artifacts,
          examples: options.examples || 0,
          runtime: 'onnx',
          threads: availableParallelism(),
          signal: new AbortController().signal,
          run: factsOf(run, results, { all: all.cells, pipeline }),
          missing,
        },
        picturesBeside(output),
      );
    });
    await write(files, output);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

interface Sources {
  run: RunDetails;
  pipeline: Pipeline | undefined;
  project: Project;
  /** A folder for copies. */
  scratch: string;
  roleOf: RoleOf;
  isGate: Reports['isGate'];
}

type Reports = Awaited<ReturnType<typeof reports>>;
type RoleOf = Reports['roleOf'];
type Artifacts = Parameters<Reports['makeReport']>[0]['artifacts'];

/** The outputs that the report shows, and what it lacks. */
async function artifactsOf({ cells, current }: RunResults, sources: Sources): Promise<{ artifacts: Artifacts; missing: string[] }> {
  const { run, pipeline, project, scratch, roleOf, isGate } = sources;
  const missing = current ? [] : ['The pipeline has changed since this run, so not all dependencies between its cells are known.'];
  const artifacts: Artifacts = [];
  const byName = new Map(cells.map((cell) => [cell.name, cell]));
  const roles = new Map<string, ReturnType<RoleOf>>();
  for (const cell of cells) {
    const about = { cell: cell.name, matrix: cell.matrix, above: cellsAbove(cell, byName) };
    for (const [name, content] of Object.entries(cell.outputs ?? {})) {
      // A copy of another output, such as that of `select`, is what the other one is.
      const role = roleOf(cell.uses, name) ?? roles.get(content.hash);
      if (role === undefined) continue;
      roles.set(content.hash, role);
      const place = pipeline?.cells.find((one) => one.name === cell.name)?.outputs[name]?.path;
      const located = await locateOutput({ name: cell.name, output: name, content }, { project, place, copies: scratch });
      if (located) artifacts.push({ role, name: `${cell.name}.${name}`, ...about, ...located });
      else missing.push(`${cell.name}.${name} is no longer stored.`);
    }
    if (cell.state !== 'failed') continue;
    const left = failedOutputs(cell, run, project).flatMap(({ output, path }): Artifacts => {
      const role = roleOf(cell.uses, output);
      return role !== undefined && JUDGEMENTS.has(role) ? [{ role, name: `${cell.name}.${output}`, path, failed: true, ...about }] : [];
    });
    artifacts.push(...left);
    if (isGate(cell.uses) && left.length === 0)
      missing.push(`${cell.name} failed. It left no report, or a later run or \`gc --failed\` has removed it.`);
  }
  const lost = cells.filter(({ state, outputs }) => outputs === undefined && ['ran', 'fresh', 'restored'].includes(state));
  const [uncached, removed] = [true, false].map((is) =>
    lost.filter(({ name }) => uncachedIn(pipeline, name) === is).map(({ name }) => name),
  );
  if (removed!.length > 0) missing.push(`The results of these cells are no longer stored: ${removed!.join(', ')}.`);
  if (uncached!.length > 0)
    missing.push(`These cells have \`cache: false\`, and their outputs have changed since this run: ${uncached!.join(', ')}.`);
  return { artifacts, missing };
}

const uncachedIn = (pipeline: Pipeline | undefined, name: string): boolean =>
  pipeline?.cells.find((cell) => cell.name === name)?.cache === false;

/** What a step finds out and then fails because of it. */
const JUDGEMENTS: ReadonlySet<string> = new Set(['checks', 'behavior', 'verdict']);

/** The first word may be a run; the others are cells of this run, or of the latest. */
function wanted(root: string, words: string[], file: string | undefined): { run: RunDetails; cells: string[] } {
  const [first, ...rest] = words;
  const isRun = first !== undefined && /^(\d+|latest|previous)$/.test(first);
  return { run: runDetails(root, runNamed(root, isRun ? first : 'latest', file))!, cells: isRun ? rest : words };
}

/** The pipeline as it is now, with the parameters of the run; undefined if it cannot be read. */
async function pipelineOf(root: string, { pipeline: path, setting }: RunDetails, scratch: string): Promise<Pipeline | undefined> {
  const file = resolve(root, path);
  try {
    const pipeline = await readPipeline(file, { readOnly: true });
    const changed = Object.entries(setting?.params ?? {}).filter(
      ([name, value]) => canonicalJson(value) !== canonicalJson(pipeline.params[name] ?? null),
    );
    if (changed.length === 0) return pipeline;
    const paramsFile = join(scratch, 'params.json');
    writeFileSync(paramsFile, JSON.stringify(Object.fromEntries(changed)));
    return await readPipeline(file, { paramsFile, readOnly: true });
  } catch {
    return undefined;
  }
}

/** The named cells and all that they depend on; without names, all cells. */
function selected({ cells }: RunResults, words: string[], run: RunDetails): PastCell[] {
  if (words.length === 0) return cells;
  const byName = new Map(cells.map((cell) => [cell.name, cell]));
  const names = new Set<string>();
  for (const word of words) {
    const found = cells.filter(cellTest(word));
    if (found.length === 0) throw new InvalidError([unknownCellIn(`run ${run.id} of ${printableName(run.pipeline)}`, cells, word)]);
    for (const cell of found) for (const name of [cell.name, ...cellsAbove(cell, byName)]) names.add(name);
  }
  return cells.filter(({ name }) => names.has(name));
}

/** `cells`: those of the report. `all`: those of the run. */
function factsOf(run: RunDetails, { cells, current }: RunResults, { all, pipeline }: { all: PastCell[]; pipeline: Pipeline | undefined }) {
  const byName = new Map(cells.map((cell) => [cell.name, cell]));
  const inGraph = cells.map(({ reads, waits, ...cell }) => ({
    ...cell,
    reads: reads.filter((name) => byName.has(name)),
    waits: waits.filter((name) => byName.has(name)),
  }));
  const name = pipeline?.name ?? basename(run.pipeline);
  return {
    about: [
      `run ${run.id} of ${run.pipeline}, ${moment(run.started)}${run.seconds === undefined ? '' : `, ${duration(run.seconds)}`}`,
      ...(pipeline?.description ? [pipeline.description] : []),
    ],
    ...(run.state !== 'ended' && { unfinished: unfinishedText(run, current ? pipeline : undefined, all) }),
    cells: cells.map(({ name, state, seconds, lastSeconds, why, failure, result, uses }) => ({
      cell: name,
      state,
      seconds,
      time: seconds !== undefined ? duration(seconds) : lastSeconds !== undefined ? `${duration(lastSeconds)} (last execution)` : undefined,
      why,
      failure,
      result,
      uses,
    })),
    others: all
      .filter(({ name, state }) => !byName.has(name) && ['failed', 'canceled', 'skipped'].includes(state))
      .map(({ name, state }) => ({ cell: name, state })),
    ...(cells.length > 0 && { graph: svg(graphOf({ name, cells: inGraph }, (names) => outcomeOf(names.map((one) => byName.get(one)!)))) }),
    metrics: cells.flatMap(({ step, matrix, metrics }) => metrics.map((metric) => ({ ...metric, step, matrix }))),
    params: run.setting?.params ?? {},
    environment: [
      ...(run.text === undefined ? [] : [['pipeline (SHA-256)', run.text] as [string, string]]),
      ...environmentRows(run, run.git?.commit),
    ],
    lock: cells.flatMap((cell) =>
      cell.fingerprint === undefined ? [] : [{ cell: cell.name, fingerprint: cell.fingerprint, outputs: outputHashes(cell) }],
    ),
    notices: run.notices,
  };
}

/**
 * Which cells have no record is known if the pipeline is still the same: a run records the fresh ones when it ends. The run may not
 * have selected all of them.
 */
function unfinishedText({ state }: RunDetails, pipeline: Pipeline | undefined, all: PastCell[]): string {
  const ended = new Set(all.map(({ name }) => name));
  const open = (pipeline?.cells ?? []).filter(({ name }) => !ended.has(name)).map(({ name }) => name);
  const names =
    open.length === 0
      ? ''
      : ` It has no record of these cells, which were fresh or had not ended: ${open.slice(0, 20).join(', ')}${open.length > 20 ? ' …' : ''}.`;
  return `The run ${state === 'running' ? 'is in progress' : 'was interrupted'}.${names}`;
}

/** `ran 12s`, or for several cells `3 ran, 1 fresh, 40s`. */
function outcomeOf(cells: PastCell[]): string {
  const seconds = cells.reduce((sum, cell) => sum + (cell.seconds ?? 0), 0);
  const time = seconds > 0 ? ` ${duration(seconds)}` : '';
  if (cells.length === 1) return `${cells[0]!.state}${time}`;
  const states = [...Map.groupBy(cells, ({ state }) => state)].map(([state, own]) => `${own.length} ${state}`);
  return `${states.join(', ')}${time && `,${time}`}`;
}

const picturesBeside = (output: string): string => `${basename(output).replace(/\.md$/i, '')}-pictures`;

/** The first file is the report; the others are its pictures. */
async function write(files: ReadonlyMap<string, string>, output: string): Promise<void> {
  const [[, text], ...pictures] = [...files] as [[string, string], ...[string, string][]];
  await mkdir(dirname(output), { recursive: true });
  for (const [name, picture] of pictures) {
    const path = join(dirname(output), name);
    await mkdir(dirname(path), { recursive: true });
    replaceFile(path, picture);
  }
  replaceFile(output, text);
  const more = pictures.length > 0 ? ` and ${pictures.length} pictures in ${printableName(picturesBeside(output))}/` : '';
  printLines([`wrote ${nearPath(output)} (${bytes(Buffer.byteLength(text))})${more}`]);
}
